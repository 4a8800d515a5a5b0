"""The verb `adapt`: teach a release the photos of one place. `stages.py` explains how it resumes."""
