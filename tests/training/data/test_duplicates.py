"""Copies of a photo are found whatever was done to the file; different photos of one scene are not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from rendersight.annotations import AnnotatedImage
from training.data.duplicates import Look, alike, groups, look_at


def scene(*, seed: int = 0, disc_xy: tuple[int, int] = (60, 50)) -> Image.Image:
    """A desk with a few things on it, and a disc that may lie elsewhere."""
    rng = np.random.default_rng(seed)
    ground = np.linspace(90, 160, 200)[None, :, None] + rng.normal(0, 3, (160, 200, 3))
    image = Image.fromarray(ground.clip(0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(6):
        x, y = rng.integers(0, 150, 2).tolist()
        pen.rectangle((x, y, x + 30, y + 20), fill=tuple(rng.integers(0, 255, 3).tolist()))
    pen.ellipse((disc_xy[0], disc_xy[1], disc_xy[0] + 24, disc_xy[1] + 24), fill=(250, 250, 250))
    return image


def looks(folder: Path, *pictures: Image.Image, quality: int = 95) -> list[Look]:
    found = []
    for number, picture in enumerate(pictures):
        path = folder / f"{number}.jpg"
        picture.save(path, quality=quality if number else 95)
        found.append(AnnotatedImage(path.name, path, None, picture.size, np.zeros((0, 4), np.float32), ()))
    return look_at(found)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        lambda image: image.resize((100, 80)),
        lambda image: image.resize((500, 390)),
        lambda image: ImageEnhance.Brightness(image).enhance(0.8),
        lambda image: ImageEnhance.Contrast(image).enhance(0.7),
        lambda image: image.convert("L"),
    ],
)
def test_finds_copy(tmp_path: Path, change: Callable[[Image.Image], Image.Image]) -> None:
    assert alike(looks(tmp_path, scene(), change(scene()), quality=50)) == [(0, 1)]


@pytest.mark.parametrize("other", [scene(seed=1), scene(disc_xy=(110, 90)), scene().transpose(Image.Transpose(0))])
def test_tells_photos_of_one_desk_apart(tmp_path: Path, other: Image.Image) -> None:
    assert alike(looks(tmp_path, scene(), other)) == []


def test_flat_pictures_match_only_as_files(tmp_path: Path) -> None:
    white, grey = Image.new("RGB", (40, 30), "white"), Image.new("RGB", (40, 30), "grey")
    found = looks(tmp_path, white, grey, white)
    assert alike(found) == [(0, 2)]
    assert [look.is_flat for look in found] == [True] * 3


def test_compares_two_datasets(tmp_path: Path) -> None:
    one, two = looks(tmp_path, scene(), scene(seed=1), scene()), looks(tmp_path, scene(seed=2), scene(seed=1))
    assert alike(one, two) == [(1, 1)]
    assert alike([], two) == alike(one, []) == alike([]) == []


def test_compares_in_blocks(tmp_path: Path) -> None:
    (first,) = looks(tmp_path, scene())
    other = replace(first, bits=-first.bits, sha256="other")
    assert alike([other] * 2100 + [first], [first]) == [(2100, 0)]


def test_applies_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    scene().transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    image = AnnotatedImage("turned", tmp_path / "turned.jpg", None, (200, 160), np.zeros((0, 4), np.float32), ())
    (turned,) = look_at([image])
    assert turned.orientation == 6
    assert alike([*looks(tmp_path, scene()), turned]) == [(0, 1)]


def test_merges_pairs_into_groups() -> None:
    assert groups([(0, 3), (5, 6), (3, 7), (6, 8), (1, 2)]) == [[0, 3, 7], [1, 2], [5, 6, 8]]
    assert groups([]) == []
