"""Releases and the engines that run them, used by the service and by training."""

import sys
from typing import Any

# OpenVINO (on import) and NNCF use this package, if present, to report each use to their makers. A detector must not
# report. Both libraries treat an import error as refused consent.
_modules: dict[str, Any] = sys.modules
_modules.setdefault("openvino_telemetry", None)
