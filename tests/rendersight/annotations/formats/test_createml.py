"""CreateML: centres and sizes in px, and faults."""

import json
from pathlib import Path
from typing import Any

import pytest

from rendersight.annotations import AnnotationError, ReadOptions
from rendersight.annotations.dataset import AnnotatedDataset, read_annotations
from tests.rendersight.annotations.test_dataset import reasons, the_image, write_image

BOX = {"label": "nut", "coordinates": {"x": 10, "y": 16, "width": 10, "height": 20}}


def read_one(folder: Path, items: Any) -> AnnotatedDataset:
    write_image(folder / "a.png")
    (folder / "labels.json").write_text(json.dumps(items))
    return read_annotations(folder)


@pytest.mark.parametrize(("image", "boxes"), [("image", "annotations"), ("imagefilename", "annotation")])
def test_a_box_is_a_centre_and_a_size(tmp_path: Path, image: str, boxes: str) -> None:
    found = read_one(tmp_path, [{image: "a.png", boxes: [BOX]}])
    assert (found.format, the_image(found).boxes_xyxy.tolist()) == ("createml", [[5, 6, 15, 26]])


def test_an_image_without_annotations_is_empty(tmp_path: Path) -> None:
    assert the_image(read_one(tmp_path, [{"image": "a.png", "annotations": []}])).labels == ()


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"label": "nut"}, "accepted: an object with label and coordinates"),
        ({**BOX, "coordinates": {"x": None}}, "x is None; accepted: a number"),
        ({**BOX, "coordinates": {"x": 1, "y": 1, "width": -1, "height": 2}}, "is negative"),
    ],
)
def test_a_broken_annotation_is_a_fault(tmp_path: Path, item: dict[str, Any], message: str) -> None:
    assert message in reasons(read_one(tmp_path, [{"image": "a.png", "annotations": [item]}]))["labels.json"]


def test_an_item_without_annotations_is_a_fault(tmp_path: Path) -> None:
    found = read_one(tmp_path, [{"image": "a.png", "annotations": [BOX]}, {"image": "b.png", "boxes": []}])
    assert "item 1 is {'image': 'b.png'" in reasons(found)["labels.json"]


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="holds no CreateML file"):
        read_annotations(tmp_path, ReadOptions(format="createml"))
