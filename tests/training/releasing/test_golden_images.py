"""Golden images hold clear objects of every class, and wrong input shows in them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_store import golden
from model_store.golden import GoldenDetections
from rendersight.annotations import AnnotatedImage
from rendersight.detections import Detections
from rendersight.images import RgbImage
from training.releasing import golden_images
from training.releasing.golden_images import MAX_IMAGES, choose

SIZE = 96
THRESHOLD = 0.5


class ColourEngine:
    """Finds three objects whose place depends on the contrast of the blue channel."""

    name, device, parallel = "torch-fp32", "cpu", 1

    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        return [self._found(image) for image in images]

    def detect_on_every_lane(self, image: RgbImage) -> list[Detections]:
        return self.detect([image])

    def _found(self, image: RgbImage) -> Detections:
        shift = image[..., 2].std() / 20
        corners = 5 + shift + 8 * np.arange(3)
        boxes = np.stack([corners, corners, corners + 7, corners + 7], 1)
        return Detections.of(boxes, [1, 2, 3], [0.95, 0.95, 0.95])


def striped(colour: tuple[int, int, int]) -> RgbImage:
    """Return an image in which columns of the colour and black ones take turns."""
    pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
    pixels[:, ::2] = colour
    return pixels


def images_of(folder: Path, colours: Sequence[tuple[int, int, int]]) -> list[AnnotatedImage]:
    found = []
    for number, colour in enumerate(colours):
        path = folder / f"{number}.png"
        Image.fromarray(striped(colour)).save(path)
        found.append(AnnotatedImage(path.name, path, None, (SIZE, SIZE), np.zeros((0, 4), np.float32), ()))
    return found


def chosen(images: Sequence[AnnotatedImage], found: Sequence[Detections]) -> list[tuple[int, ...]]:
    kept = choose(images, found, ColourEngine(), score_threshold=THRESHOLD)
    return [tuple(int(value) for value in pixels[0, 0]) for pixels in kept]


def test_prefers_images_where_wrong_input_shows(tmp_path: Path) -> None:
    colours = [(90, 90, 90), (10, 90, 200), (91, 90, 90)]
    images = images_of(tmp_path, colours)
    found = ColourEngine().detect([np.array(Image.open(image.image_path or "")) for image in images])
    assert chosen(images, found)[0] == (10, 90, 200)


def test_stops_at_the_most_images(tmp_path: Path) -> None:
    images = images_of(tmp_path, [(10, 90, 200)] * (MAX_IMAGES + 3))
    found = [Detections.of([(20, 20, 30, 30)], [1], [0.95])] * len(images)
    assert len(chosen(images, found)) == MAX_IMAGES


def test_stops_when_there_are_enough_objects_of_every_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = images_of(tmp_path, [(10, 90, 200)] * 4)
    found = ColourEngine().detect([striped((10, 90, 200))] * 4)
    monkeypatch.setattr(golden_images, "_ENOUGH_OBJECTS", 6)
    assert len(chosen(images, found)) == 2


@pytest.mark.parametrize(
    ("scores", "expected"), [([[], [0.6, 0.55], [0.6]], 1), ([[], [], []], 0)], ids=["nothing clear", "nothing"]
)
def test_without_clear_objects_the_image_with_most_detections_is_kept(
    tmp_path: Path, scores: list[list[float]], expected: int
) -> None:
    colours = [(1, 1, 1), (2, 2, 2), (3, 3, 3)]
    found = [
        Detections.of([(10.0 * i, 0, 10.0 * i + 8, 8) for i in range(len(item))], [1] * len(item), item)
        for item in scores
    ]
    assert chosen(images_of(tmp_path, colours), found) == [colours[expected]]


def test_written_images_are_what_the_engine_finds_in_the_files(tmp_path: Path) -> None:
    pixels = [striped(colour) for colour in ((10, 90, 200), (60, 60, 60))]
    written = golden_images.write(tmp_path, pixels, ColourEngine(), score_threshold=THRESHOLD)
    assert [image.file for image in written] == ["golden.jpg", "golden-2.jpg"]
    for image in written:
        (found,) = ColourEngine().detect([np.array(Image.open(tmp_path / image.file))])
        moved = golden.compare([GoldenDetections(image, (SIZE, SIZE), found)], score_threshold=THRESHOLD)
        assert (len(moved.labels), moved.box, moved.extra) == (3, pytest.approx(0, abs=1e-6), 0)
