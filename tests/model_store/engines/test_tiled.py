from collections.abc import Sequence

import numpy as np

from model_store.engines.tiled import TiledEngine
from model_store.manifest import InputRule
from rendersight.detections import Detections
from rendersight.images import RgbImage

RULE = InputRule(min_size=80, max_size=133, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


class BrightestEngine:
    """Finds one object, a square of 10 px around the brightest pixel, in every image that has one."""

    name = "brightest"
    device = "cpu"
    parallel = 2

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        self.shapes += [image.shape for image in images]
        return [self._found(image[..., 0]) for image in images]

    def detect_on_every_lane(self, image: RgbImage) -> list[Detections]:
        return self.detect([image]) * 2

    def _found(self, image: np.ndarray) -> Detections:
        y, x = np.unravel_index(image.argmax(), image.shape)
        if not image[y, x]:
            return Detections.of([], [], [])
        return Detections.of([[x - 5, y - 5, x + 5, y + 5]], [1], [image[y, x] / 255])


def test_finds_what_only_a_tile_shows() -> None:
    image = np.zeros((300, 400, 3), np.uint8)
    image[50, 60], image[250, 330] = 200, 100
    inner = BrightestEngine()
    engine = TiledEngine(inner, 4, resized_hw=RULE.resized_hw)
    (found,) = engine.detect([image])
    assert found.boxes_xyxy.tolist() == [[55, 45, 65, 55], [325, 245, 335, 255]]
    assert engine.tile_count(300, 400) == 4
    assert inner.shapes[0] == (300, 400, 3)
    assert len(inner.shapes) == 5


def test_small_images_stay_whole() -> None:
    inner = BrightestEngine()
    engine = TiledEngine(inner, "auto", resized_hw=RULE.resized_hw)
    images = [np.zeros((60, 70, 3), np.uint8), np.zeros((300, 400, 3), np.uint8)]
    assert [len(found) for found in engine.detect(images)] == [0, 0]
    assert engine.tile_count(60, 70) == 0
    assert len(inner.shapes) == 2 + engine.tile_count(300, 400)
    assert (engine.name, engine.device, engine.parallel) == ("brightest", "cpu", 2)
    assert len(engine.detect_on_every_lane(images[0])) == 2
