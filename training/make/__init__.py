"""The verb `make`: from a 3D model to a release. `stages.py` explains how it resumes."""
