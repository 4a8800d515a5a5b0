"""VGG Image Annotator: its shapes, which attribute is the class, and faults."""

import json
from pathlib import Path
from typing import Any

import pytest

from rendersight.annotations import AnnotationError, ReadOptions
from rendersight.annotations.dataset import AnnotatedDataset, read_annotations
from tests.rendersight.annotations.test_dataset import reasons, the_image, write_image

RECT = {"name": "rect", "x": 5, "y": 6, "width": 10, "height": 20}


def region(shape: Any = RECT, **attributes: Any) -> dict[str, Any]:
    return {"shape_attributes": shape, "region_attributes": attributes or {"label": "nut"}}


def read_one(folder: Path, *regions: Any, project: bool = False) -> AnnotatedDataset:
    write_image(folder / "a.png")
    images = {"a.png12": {"filename": "a.png", "size": 12, "regions": list(regions), "file_attributes": {}}}
    content = {"_via_settings": {}, "_via_img_metadata": images} if project else images
    (folder / "via.json").write_text(json.dumps(content))
    return read_annotations(folder)


@pytest.mark.parametrize(
    "shape",
    [
        RECT,
        {"name": "polygon", "all_points_x": [5, 15, 9], "all_points_y": [6, 8, 26]},
        {"name": "ellipse", "cx": 10, "cy": 16, "rx": 5, "ry": 10, "theta": 0},
        {"name": "ellipse", "cx": 10, "cy": 16, "rx": 10, "ry": 5, "theta": 1.5707963},
    ],
)
@pytest.mark.parametrize("project", [False, True])
def test_gives_the_box_of_a_shape(tmp_path: Path, shape: dict[str, Any], *, project: bool) -> None:
    found = the_image(read_one(tmp_path, region(shape), project=project))
    assert found.boxes_xyxy[0].tolist() == pytest.approx([5, 6, 15, 26], abs=1e-4)


def test_a_circle_and_shapes_without_a_box(tmp_path: Path) -> None:
    circle, point = {"name": "circle", "cx": 10, "cy": 16, "r": 4}, {"name": "point", "cx": 1, "cy": 1}
    found = read_one(tmp_path, region(circle), region(point))
    assert the_image(found).boxes_xyxy.tolist() == [[6, 12, 14, 20]]
    assert dict(found.ignored_shapes) == {"point": 1}


@pytest.mark.parametrize(
    ("attributes", "label"),
    [
        ({"type": "nut"}, "nut"),
        ({"my class": "nut"}, "nut"),
        ({"colour": "red", "Name": "nut"}, "nut"),
        ({"kind": {"nut": True, "bolt": False}}, "nut"),
    ],
)
def test_finds_the_attribute_of_the_class(tmp_path: Path, attributes: dict[str, Any], label: str) -> None:
    assert the_image(read_one(tmp_path, region(**attributes))).labels == (label,)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (region(colour="red", size="big"), "no attribute of the regions is called label; there are colour, size"),
        (region(label=""), "a region's label is ''; accepted: the name of one class"),
        (region(label={"nut": True, "bolt": True}), "accepted: the name of one class"),
        (region({"name": "star"}), "'star' is not a shape; accepted: rect"),
        (region({"name": "rect", "x": "left"}), "x is 'left'; accepted: a number"),
        (region({"name": "polygon", "all_points_x": [1], "all_points_y": []}), "not two lists of one length"),
    ],
)
def test_a_broken_region_is_a_fault(tmp_path: Path, found: dict[str, Any], message: str) -> None:
    assert message in reasons(read_one(tmp_path, found))["via.json"]


def test_version_1_numbers_its_regions_and_an_image_without_regions_is_empty(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    write_image(tmp_path / "b.png")
    entries = {"a": {"filename": "a.png", "regions": {"0": region()}}, "b": {"filename": "b.png", "regions": {}}}
    (tmp_path / "via.json").write_text(
        json.dumps({key: {**one, "file_attributes": {}} for key, one in entries.items()})
    )
    assert [image.labels for image in read_annotations(tmp_path).images] == [("nut",), ()]


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="holds no VIA file"):
        read_annotations(tmp_path, ReadOptions(format="via"))
