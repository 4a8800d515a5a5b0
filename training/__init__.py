"""Training, evaluation and publishing: labelled images become a release. See `python -m training --help`."""

import model_store as _model_store  # noqa: F401 - must precede NNCF: disables the telemetry of OpenVINO and NNCF
