"""CVAT for images 1.1: its shapes, splits and faults."""

from pathlib import Path

import pytest

from rendersight.annotations import AnnotationError, ReadOptions
from rendersight.annotations.dataset import AnnotatedDataset, read_annotations
from tests.rendersight.annotations.test_dataset import reasons, the_image, write_image

BOX = '<box label="nut" occluded="0" xtl="5" ytl="6" xbr="15" ybr="26"/>'


def read_one(folder: Path, *shapes: str, attributes: str = "") -> AnnotatedDataset:
    write_image(folder / "images" / "a.png")
    image = f'<image id="0" name="a.png" width="40" height="30" {attributes}>{"".join(shapes)}</image>'
    (folder / "annotations.xml").write_text(f"<annotations><version>1.1</version>{image}</annotations>")
    return read_annotations(folder)


@pytest.mark.parametrize(
    ("shape", "box"),
    [
        (BOX, [5, 6, 15, 26]),
        (BOX.replace("<box", '<box rotation="90"'), [0, 11, 20, 21]),
        ('<polygon label="nut" points="5.00,6.00;15.00,8.00;9.00,26.00"/>', [5, 6, 15, 26]),
        ('<ellipse label="nut" cx="10" cy="16" rx="5" ry="10"/>', [5, 6, 15, 26]),
        ('<mask label="nut" rle="1, 2" left="5" top="6" width="10" height="20"/>', [5, 6, 15, 26]),
    ],
)
def test_gives_the_box_of_a_shape(tmp_path: Path, shape: str, box: list[float]) -> None:
    assert the_image(read_one(tmp_path, shape)).boxes_xyxy[0].tolist() == pytest.approx(box, abs=1e-5)


def test_counts_shapes_without_a_box_and_keeps_flags(tmp_path: Path) -> None:
    difficult = '<attribute name="difficult">true</attribute>'
    found = read_one(
        tmp_path,
        '<polyline label="nut" points="1,1;2,2"/>',
        '<points label="nut" points="1,1"/>',
        f'<box label="nut" occluded="1" xtl="5" ytl="6" xbr="15" ybr="26">{difficult}</box>',
        '<tag label="nut"/>',
    )
    assert dict(found.ignored_shapes) == {"polyline": 1, "points": 1, "tag": 1}
    (ignored,) = the_image(found).ignored
    assert (ignored.label, ignored.flags) == ("nut", {"occluded", "difficult"})


@pytest.mark.parametrize(
    ("subset", "splits"), [("Train", ("train",)), ("Validation", ("val",)), ("Test", ("test",)), ("default", ())]
)
def test_a_subset_is_a_split(tmp_path: Path, subset: str, splits: tuple[str, ...]) -> None:
    assert the_image(read_one(tmp_path, BOX, attributes=f'subset="{subset}"')).splits == splits


def test_images_are_those_of_the_file(tmp_path: Path) -> None:
    write_image(tmp_path / "stray.png")
    found = read_one(tmp_path)
    assert (the_image(found).labels, found.unlisted) == ((), ("stray.png",))
    assert the_image(read_annotations(tmp_path / "annotations.xml")).name == "images/a.png"


def test_pixels_may_count_from_1(tmp_path: Path) -> None:
    read_one(tmp_path, BOX)
    found = read_annotations(tmp_path, ReadOptions(pixel_origin=1))
    assert the_image(found).boxes_xyxy.tolist() == [[4, 5, 15, 26]]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            '<box label="nut" xtl="5" ytl="6" xbr="15"/>',
            "image 'a.png': shape 1 (nut): ybr is None; accepted: a number",
        ),
        (BOX.replace('label="nut"', ""), "has no label"),
        ('<polygon label="nut" points="1,1;2,2"/>', "three points or more"),
        ('<blob label="nut"/>', "'blob' is not a shape; accepted: box, polygon"),
    ],
)
def test_a_broken_shape_is_a_fault(tmp_path: Path, shape: str, message: str) -> None:
    assert message in reasons(read_one(tmp_path, shape))["annotations.xml"]


def test_a_lost_image_a_repeated_one_and_no_file_at_all(tmp_path: Path) -> None:
    read_one(tmp_path, BOX)
    path = tmp_path / "annotations.xml"
    images = '<image name="a.png"/><image name="a.png"/><image name="lost.png"/>'
    path.write_text(f"<annotations>{images}</annotations>")
    assert [fault.reason for fault in read_annotations(tmp_path).faults] == [
        "image 'a.png': is listed twice; list each image once",
        "image 'lost.png': no such image file",
    ]
    path.unlink()
    with pytest.raises(AnnotationError, match="holds no CVAT file"):
        read_annotations(tmp_path, ReadOptions(format="cvat"))
