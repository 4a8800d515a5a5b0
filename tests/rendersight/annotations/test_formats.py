"""Which format a dataset is in is told by what lies there, and several marks are an error."""

from pathlib import Path

import pytest

from rendersight.annotations import AnnotationError, ReadOptions
from rendersight.annotations.dataset import read_annotations
from rendersight.annotations.formats import WRITABLE
from rendersight.annotations.writing import renamed, write_dataset
from tests.rendersight.annotations.test_dataset import write_image, write_json


def write_all(folder: Path) -> Path:
    """The same photo in every format, a folder each."""
    write_image(folder / "source" / "a.png")
    write_json(folder / "source" / "a.json")
    found = renamed(read_annotations(folder / "source").images)
    for name in WRITABLE:
        write_dataset(found, folder / name, format=name, class_names=("six",))
    return folder


def test_each_is_recognised(tmp_path: Path) -> None:
    for name in WRITABLE:
        found = read_annotations(write_all(tmp_path) / name)
        assert (found.format, found.faults, len(found.images)) == (name, (), 1)


def test_several_are_an_error_that_names_what_was_found(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    write_json(tmp_path / "a.json")
    (tmp_path / "a.xml").write_text("<annotation><object/></annotation>")
    with pytest.raises(AnnotationError) as caught:
        read_annotations(tmp_path)
    assert "LabelMe (a.json) and Pascal VOC (a.xml)" in str(caught.value)
    assert "--format" in str(caught.value)
    assert read_annotations(tmp_path, ReadOptions(format="labelme")).faults == ()


def test_the_dataset_s_own_file_decides_as_well(tmp_path: Path) -> None:
    root = write_all(tmp_path)
    (root / "coco" / "annotations" / "instances.json").rename(root / "yolo" / "instances.json")
    with pytest.raises(AnnotationError, match=r"COCO .* and YOLO"):
        read_annotations(root / "yolo")
    assert read_annotations(root / "yolo" / "data.yaml").format == "yolo"
    assert read_annotations(root / "yolo" / "instances.json").format == "coco"


def test_a_file_of_no_format_and_an_unknown_name(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"shapes": []}')
    with pytest.raises(AnnotationError, match=r"a\.json describes no dataset"):
        read_annotations(tmp_path / "a.json")
    with pytest.raises(AnnotationError, match="'kitti' is not a format; accepted: labelme, coco, voc, yolo"):
        read_annotations(tmp_path, ReadOptions(format="kitti"))


def test_images_alone_are_a_dataset_without_objects(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "classes.txt").write_text("six\n")
    (tmp_path / "settings.yaml").write_text("names: of settings\n")
    found = read_annotations(tmp_path)
    assert (found.format, [image.labels for image in found.images]) == ("labelme", [()])


def test_hidden_shapes_behind_an_embedded_image_are_found(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "b.json").write_text('{"imageData": "' + "A" * 9000 + '", "shapes": []}')
    (tmp_path / "a.xml").write_text("<annotation/>")
    with pytest.raises(AnnotationError, match=r"LabelMe \(b\.json\)"):
        read_annotations(tmp_path)
