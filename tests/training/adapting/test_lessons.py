"""The student learns from links to photos, and no golden image gives it a gradient."""

from pathlib import Path

from model_store.store import Release
from tests.training.conftest import plain_bar
from training.adapting.lessons import write_lessons
from training.adapting.photos import read_photos
from training.data.dataset import LabelledImages, read_dataset
from training.data.split import split_by_names

NAMES = ("disc", "square")


def names(folder: Path) -> list[str]:
    return [image.name for image in read_dataset(folder, class_names=NAMES).images]


def test_lessons_are_read_as_a_dataset(shapes: Path, few: Path, hall: Path, discs: Release, tmp_path: Path) -> None:
    taught = read_photos(hall, labelled=LabelledImages((), NAMES), say=print, bar=plain_bar)
    labelled, renders = read_dataset(few).images, read_dataset(shapes).images
    folder = tmp_path / "lessons"
    held_out = write_lessons(
        folder, taught=taught, labelled=labelled[:1], renders=renders[:2], release=discs, class_names=NAMES
    )
    learned, held = split_by_names(read_dataset(folder, class_names=NAMES), held_out)
    assert len(held.images) == len(discs.manifest.golden)
    assert [image.labels for image in held.images] == [()] * len(held.images)
    parts = [image.name.partition("/")[0] for image in learned.images]
    assert {part: parts.count(part) for part in parts} == {
        "photos": 6,
        "labelled-0": 1,
        "labelled-1": 1,  # a quarter of the photos
        "renders": 2,
    }
    shown = next(image for image in learned.images if image.name.startswith("labelled-1"))
    assert shown.labels == labelled[0].labels
    assert all(path.is_symlink() for path in folder.rglob("*.png"))


def test_labelled_photos_are_repeated_a_few_times_at_most(
    few: Path, hall: Path, discs: Release, tmp_path: Path
) -> None:
    taught = read_photos(hall, labelled=LabelledImages((), NAMES), say=print, bar=plain_bar)
    common = {"renders": (), "release": discs, "class_names": NAMES}
    write_lessons(tmp_path / "many", taught=list(taught) * 20, labelled=read_dataset(few).images[:1], **common)
    assert len([name for name in names(tmp_path / "many") if name.startswith("labelled-")]) == 8
    write_lessons(tmp_path / "none", taught=taught, labelled=[], **common)
    assert not [name for name in names(tmp_path / "none") if name.startswith("labelled-")]


def test_lessons_of_a_stopped_command_stay(few: Path, hall: Path, discs: Release, tmp_path: Path) -> None:
    taught = read_photos(hall, labelled=LabelledImages((), NAMES), say=print, bar=plain_bar)
    common = {"taught": taught, "labelled": (), "renders": (), "release": discs, "class_names": NAMES}
    first = write_lessons(tmp_path / "lessons", **common)
    assert write_lessons(tmp_path / "lessons", **common) == first
