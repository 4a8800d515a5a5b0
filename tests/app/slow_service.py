"""A process that serves a detector which waits for a line on stdin; `test___main__.py` stops it in the middle.

Arguments: the port, and for how many seconds it drains. On stdout: `detecting` when a detection has begun.
"""

import sys
from collections.abc import Sequence

from app.__main__ import serve
from app.settings import Settings
from app.telemetry import configure_logging
from rendersight.detections import Detections
from rendersight.images import RgbImage
from tests.app.fakes import FixedEngine, app_with


class AskingEngine(FixedEngine):
    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        print("detecting", flush=True)  # noqa: T201 - the test reads it
        sys.stdin.readline()
        return super().detect(images)


if __name__ == "__main__":
    port, drain_timeout_s = int(sys.argv[1]), float((*sys.argv[2:], "90")[0])
    configure_logging("json")
    settings = {"port": port, "drain_timeout_s": drain_timeout_s}
    serve(app_with(AskingEngine(), **settings), Settings(**settings))
