"""A process at a port, its argument, whose detector hangs; `test___main__.py` sees the watchdog end it.

It prints `detecting` when a detection has begun.
"""

import sys
import time
from collections.abc import Sequence

from app.observability.logging import configure_logging
from app.server import serve
from app.settings import Settings
from rendersight.detections import Detections
from rendersight.images import RgbImage
from tests.app.fakes import FixedEngine, app_with


class HangingEngine(FixedEngine):
    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        print("detecting", flush=True)  # noqa: T201 - the test reads it
        time.sleep(600)
        return super().detect(images)


if __name__ == "__main__":
    configure_logging("json")
    settings = Settings(port=int(sys.argv[1]), watchdog_s=0.5, watchdog_exit_s=1)
    serve(app_with(HangingEngine(), watchdog_s=0.5), settings)
