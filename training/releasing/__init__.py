"""Publishing of a checkpoint as a release, and of a release with faster engines as its next version."""
