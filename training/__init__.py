"""Training, evaluation and publishing of detectors: annotated images in, a release out; `python -m training --help`."""

import model_store as _model_store  # noqa: F401 - before NNCF: it keeps OpenVINO and NNCF from reporting home
