"""Training, evaluation and publishing of detectors: annotated images in, a release out; `python -m training --help`."""
