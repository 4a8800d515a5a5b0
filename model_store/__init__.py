"""Releases and how they are run: manifest, store, architectures, engines; used by the service and by training alike."""

import sys
from typing import Any

# OpenVINO, from its import on, and NNCF report each use to their makers through this package if it is there. A detector
# tells nobody what it does; both take a package that cannot be imported for a consent refused.
_modules: dict[str, Any] = sys.modules
_modules.setdefault("openvino_telemetry", None)
