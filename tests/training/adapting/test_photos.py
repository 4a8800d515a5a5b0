"""Photos that teach nothing are left out, and too few are refused."""

import shutil
from pathlib import Path

import pytest

from rendersight.annotations import AnnotatedImage, AnnotationError
from tests.training.conftest import draw_dataset, plain_bar
from training.adapting.photos import folds, read_photos, renumbered
from training.data.dataset import LabelledImages, read_dataset

NONE = LabelledImages((), ("disc", "square"))


def read(folder: Path, *, labelled: LabelledImages = NONE) -> tuple[list[str], list[str]]:
    """Return the names of the photos, and what was said."""
    said: list[str] = []
    photos = read_photos(folder, labelled=labelled, say=said.append, bar=plain_bar)
    return [photo.name for photo in photos], said


@pytest.fixture
def photos(hall: Path, tmp_path: Path) -> Path:
    """A copy of the photos, to spoil."""
    return shutil.copytree(hall, tmp_path / "photos")


def test_reads_no_labels(shapes: Path) -> None:
    found = read_photos(shapes, labelled=NONE, say=print, bar=plain_bar)
    assert len(found) == 10
    assert [image.labels for image in found] == [()] * 10
    assert found[0].size_wh == (96, 96)


def test_leaves_out_unreadable_photos_and_copies(photos: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"no image")
    shutil.copy(photos / "photo_00.png", photos / "photo_99.png")
    names, said = read(photos)
    assert names == [f"photo_{number:02d}.png" for number in range(6)]
    assert "left out: 1 photo that cannot be read, such as broken.jpg: " in said[0]
    assert said[1] == "left out: 1 copy of other photos"


def test_leaves_out_photos_that_are_labelled(photos: Path, few: Path) -> None:
    shutil.copy(few / "photo_01.png", photos / "the same.png")
    names, said = read(photos, labelled=read_dataset(few))
    assert "the same.png" not in names
    assert said == ["left out: 1 photo, also among the labelled ones"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shutil.rmtree, "is not a folder"),
        (lambda folder: [path.unlink() for path in folder.iterdir()], "no images in"),
        (lambda folder: [path.unlink() for path in sorted(folder.iterdir())[1:]], "has 1 photo, of which 1 can be"),
        (lambda folder: [path.write_bytes(b"") for path in folder.iterdir()], "has 6 photos, of which 0 can be"),
        (
            lambda folder: [shutil.copy(folder / "photo_00.png", path) for path in sorted(folder.iterdir())[1:]],
            "has 6 photos, of which 1 can be read and look different; accepted: at least 5",
        ),
    ],
    ids=["missing", "empty", "one", "unreadable", "copies"],
)
def test_refuses_too_few_photos(photos: Path, spoil: object, message: str) -> None:
    assert callable(spoil)
    spoil(photos)
    with pytest.raises(AnnotationError, match=message):
        read(photos)


def test_photos_that_look_alike_stay_in_one_fold(few: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(few, tmp_path / "few")
    text = (folder / "photo_00.json").read_text()
    shutil.copy(folder / "photo_00.png", folder / "photo_09.png")
    (folder / "photo_09.json").write_text(text.replace("photo_00", "photo_09"))
    parts = folds(read_dataset(folder), 2)
    assert sorted(name for part in parts for name in part) == sorted(path.name for path in folder.glob("*.png"))
    assert [part for part in parts if "photo_00.png" in part] == [part for part in parts if "photo_09.png" in part]
    assert min(map(len, parts)) >= 2


def test_one_photo_is_one_fold(tmp_path: Path) -> None:
    assert folds(read_dataset(draw_dataset(tmp_path / "one", count=1)), 2) == [["photo_00.png"]]


def test_names_are_unique_and_plain(few: Path) -> None:
    first, second = (read_dataset(few).images[0] for _ in range(2))
    assert isinstance(first, AnnotatedImage)
    assert [image.name for image in renumbered([first, second], "photos")] == ["photos/00000.png", "photos/00001.png"]
