"""An application for Ray Serve with an engine that is slow or hangs, depending on the photo's width."""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rendersight.detections import Detections
from rendersight.images import RgbImage
from tests.app.fakes import FixedEngine, opener

HANGS_PX = 13
SLOW_PX = 21
SLOW_S = 1.0


class Engine(FixedEngine):
    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        for image in images:
            if image.shape[1] == HANGS_PX:
                threading.Event().wait()
            if image.shape[1] == SLOW_PX:
                time.sleep(SLOW_S)
        return super().detect(images)


def build(given: Mapping[str, Any]) -> Any:
    from deploy.ray.service import application  # noqa: PLC0415 - the tests' own environment has no Ray

    return application(given, open_detector=opener(Engine()))
