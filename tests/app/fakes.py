"""Small engines for the seam `create_app(settings, open_detector=...)`, and the app around them."""

import io
import threading
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI
from PIL import Image

from app.main import create_app
from app.settings import Settings
from model_store.detector import Detector
from model_store.manifest import InputRule
from model_store.model_info import ModelInfo
from rendersight.detections import Detections
from rendersight.images import RgbImage

CARD = ModelInfo(
    name="fruit",
    version="3",
    architecture="fasterrcnn_mobilenet_v2_fpn",
    class_names=("apple", "pear", "plum"),
    sha256="ab" * 32,
    score_floor=0.05,
    score_threshold=0.6,
    detections_per_image=100,
    input=InputRule(min_size=800, max_size=1333, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
)

FOUND = Detections.of(
    [[0, 0, 10, 10], [1, 2, 30, 40], [5, 5, 20, 20], [3, 3, 9, 9], [2, 2, 8, 8]],
    [1, 2, 3, 1, 2],
    [0.95, 0.8, 0.6, 0.3, 0.07],
)
"""Best first, as an engine answers; one score is exactly the recommended threshold."""


class FixedEngine:
    """Finds the same in every image, and remembers the images and the threads it was called on."""

    name = "fixed"
    device = "cpu"
    parallel = 1

    def __init__(self, found: Detections = FOUND) -> None:
        self.images: list[RgbImage] = []
        self.threads: set[int] = set()
        self._found = found

    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        self.images += images
        self.threads.add(threading.get_ident())
        return [self._found for _ in images]

    def detect_on_every_lane(self, image: RgbImage) -> list[Detections]:
        return self.detect([image])


class HeldEngine(FixedEngine):
    """Does not finish a detection before it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.started = threading.Event()
        self.release = threading.Event()
        self.finished = threading.Event()

    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        self.started.set()
        assert self.release.wait(60), "nobody released the detection"
        self.finished.set()
        return super().detect(images)


class FailingEngine(FixedEngine):
    """Fails in a way that nobody foresaw."""

    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        raise RuntimeError("secret internals")


def opener(engine: Any, info: ModelInfo = CARD) -> Callable[..., Detector]:
    """Return what stands in for `open_detector`."""
    return lambda *_args, **_kwargs: Detector(info, engine)


def app_with(engine: Any, *, info: ModelInfo = CARD, **settings: Any) -> FastAPI:
    return create_app(Settings(**settings), open_detector=opener(engine, info))


def encoded(image: Image.Image, image_format: str = "PNG", **options: Any) -> bytes:
    """Return an image file's bytes."""
    file = io.BytesIO()
    if image_format == "HEIF":  # is not registered with Pillow
        import pillow_heif  # noqa: PLC0415 - the environment of Ray does not have it

        pillow_heif.from_pillow(image).save(file, **options)
    else:
        image.save(file, image_format, **options)
    return file.getvalue()


PHOTO = encoded(Image.linear_gradient("L").convert("RGB").resize((60, 45)), "JPEG")
"""A JPEG of 60 x 45 px."""
