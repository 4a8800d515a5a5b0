"""A process that serves a detector which waits for a line on stdin; `test___main__.py` stops it in the middle.

Arguments: the port; for how many seconds it drains, may be without progress, and then still lives. On stdout:
`detecting` when a detection has begun.
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
    configure_logging("json")
    names = ("port", "drain_timeout_s", "watchdog_s", "watchdog_exit_s")
    settings = dict(zip(names, map(float, sys.argv[1:]), strict=False))
    serve(app_with(AskingEngine(), **settings), Settings.model_validate(settings))
