"""Which image a name means, and which folder a file stands for."""

from pathlib import Path

import pytest

from rendersight.annotations import AnnotationError
from rendersight.annotations.index import IMAGE_FOLDERS, LABEL_FOLDERS, FileIndex, counterparts
from tests.rendersight.annotations.test_dataset import write_image


def test_an_image_is_found_in_the_likeliest_folder_first(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_image(tmp_path / folder / "a.png")
    index = FileIndex(tmp_path)
    assert index.image_named("a.png", [tmp_path, tmp_path / "two"]) == tmp_path / "two" / "a.png"
    assert index.image_named("old/one/a.png", [tmp_path]) == tmp_path / "one" / "a.png"
    with pytest.raises(AnnotationError, match="several images have this name"):
        index.image_named("a.png", [tmp_path])
    with pytest.raises(AnnotationError, match="no such image file"):
        index.image_named("", [tmp_path])


@pytest.mark.parametrize("written", ["Große 1.PNG", "große%201.png", "images/große 1.png", "große 1"])
def test_finds_an_image_written_otherwise(tmp_path: Path, written: str) -> None:
    path = write_image(tmp_path / "große 1.png")
    assert FileIndex(tmp_path).image_named(written, [tmp_path]) == path


def test_finds_an_image_whose_name_macos_has_decomposed(tmp_path: Path) -> None:
    path = write_image(tmp_path / "cafe\u0301.png")
    assert FileIndex(tmp_path).image_named("Caf\u00e9.PNG", [tmp_path]) == path


def test_a_file_that_describes_a_dataset_stands_for_its_folder(tmp_path: Path) -> None:
    inside = tmp_path / "annotations" / "x.json"
    inside.parent.mkdir()
    inside.write_text("{}")
    assert FileIndex(inside).root == tmp_path
    (tmp_path / "y.json").write_text("{}")
    assert FileIndex(tmp_path / "y.json").root == tmp_path
    assert FileIndex(tmp_path / "y.json").with_suffix(".json") == [tmp_path / "y.json"]


@pytest.mark.parametrize(
    ("folder", "mirrors"),
    [
        ("images/train", ["labels/train"]),
        ("Images", ["LABELS"]),
        ("train_images", ["train_labels"]),
        ("val_images", []),
        ("images/x/images", ["images/x/labels"]),
        (".", ["annotations", "labels"]),
        ("photos/deep", ["annotations/deep", "labels/deep"]),
    ],
)
def test_a_folder_of_labels_mirrors_one_of_images(tmp_path: Path, folder: str, mirrors: list[str]) -> None:
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for name in (*mirrors, "other", "test_labels"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    found = counterparts(tmp_path / folder, tmp_path, names=IMAGE_FOLDERS, others=LABEL_FOLDERS)
    assert [path.relative_to(tmp_path).as_posix() for path in found] == mirrors
