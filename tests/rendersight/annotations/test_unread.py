"""Every file of a folder is used, or named with the reason."""

from collections import Counter
from pathlib import Path

import pytest

from rendersight.annotations import AnnotationError, ReadOptions
from rendersight.annotations.dataset import read_annotations
from tests.rendersight.annotations.test_dataset import reasons, the_image, write_image, write_json


def labelme_set(folder: Path) -> Path:
    write_image(folder / "a.png")
    write_json(folder / "a.json")
    return folder


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("tasks.json", '[{"annotations": [{"result": [{"value": {"rectanglelabels": ["x"]}}]}]}]', "Label Studio"),
        ("export.json", '[{"data_row": {"id": "1"}, "projects": {}, "objects": []}]', "Labelbox"),
        ("ann.json", '{"objects": [{"classTitle": "x", "points": {"exterior": []}}]}', "Supervisely"),
        ("labels.json", '[{"name": "a.jpg", "labels": [{"box2d": {"x1": 1}}]}]', "BDD100K"),
        ("found.json", '[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]', "list of detections"),
        ("strange.json", '{"items": [{"polygon": [1, 2, 3]}]}', "in no format that is read"),
        ("kitti.txt", "Car 0.00 0 -1.5 1 2 3 4 1.5 1.6 3.7 1 2 3 -1.5\n", "KITTI"),
        ("dota.txt", "1.0 2.0 9.0 2.0 9.0 8.0 1.0 8.0 plane 0\n", "DOTA"),
        ("numbers.txt", "0 0.5 0.5 0.25 0.25\n", "in no format that is read"),
        ("a.txt", "a photo of a dog\n", "in no format that is read"),
        ("data.tfrecord", "binary", "TFRecord is not read"),
        ("digitStruct.mat", "binary", "MATLAB"),
        ("min.json", '[{"image": "a.png", "label": [{"x": 1, "rectanglelabels": ["x"]}]}]', "Label Studio"),
        (
            "plain.json",
            '[{"file": "a.png", "annotations": []}, {"annotations": [1]}]',
            "no format",
        ),
        ("nested.xml", "<annotations2><bndbox/></annotations2>", "in no format that is read"),
        (
            "wider_face_train_bbx_gt.txt",
            "0--Parade/a.jpg\n1\n449 330 122 149 0 0 0 0 0 0\n",
            "in no format that is read",
        ),
        (
            "imglab.xml",
            "<dataset><images><image file='a.png'><box top='1'/></image></images></dataset>",
            "in no format",
        ),
        ("c.dng", "binary", "camera's raw format"),
    ],
)
def test_a_label_file_or_photo_that_is_not_read_is_a_fault(
    tmp_path: Path, name: str, content: str, reason: str
) -> None:
    (labelme_set(tmp_path) / name).write_text(content)
    found = read_annotations(tmp_path)
    assert list(reasons(found)) == [name]
    assert reason in reasons(found)[name]
    assert "--ignore-unread" in reasons(found)[name]
    without = read_annotations(tmp_path, ReadOptions(ignore_unread=True))
    assert the_image(without).labels == ("six",)
    assert [fault.file for fault in without.unused] == [name]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("README.md", "# bbox and labels"),
        ("notes.txt", "3 photos are blurred\n"),
        ("list.json", "[1, 2]"),
        ("a.scene.json", '{"things": [{"label": "six", "points": []}]}'),
        ("captions.json", '{"annotations": [{"caption": "a dog"}]}'),
        ("settings.yaml", "names: of settings"),
        ("model.obj", "v 1 2 3"),
    ],
)
def test_another_file_is_named_and_no_fault(tmp_path: Path, name: str, content: str) -> None:
    (labelme_set(tmp_path) / name).write_text(content)
    found = read_annotations(tmp_path)
    assert the_image(found).labels == ("six",)
    assert [str(fault) for fault in found.unused] == [f"{name}: is not a label file"]


def test_a_photo_in_a_format_that_is_not_read_may_be_left_out(tmp_path: Path) -> None:
    (labelme_set(tmp_path) / "b.png").write_bytes(b"no image")
    assert list(reasons(read_annotations(tmp_path))) == ["b.png"]
    found = read_annotations(tmp_path, ReadOptions(ignore_unread=True))
    assert the_image(found).name == "a.png"
    assert [fault.file for fault in found.unused] == ["b.png"]


def test_a_raw_file_beside_its_jpeg_and_an_archive_are_only_named(tmp_path: Path) -> None:
    for name in ("a.dng", "set.zip"):
        (labelme_set(tmp_path) / name).write_text("binary")
    found = read_annotations(tmp_path)
    assert found.faults == ()
    assert [str(fault) for fault in found.unused] == [
        "a.dng: is not read; there is an image of its stem",
        "set.zip: is an archive; unpack it if it holds labels",
    ]


@pytest.mark.parametrize(
    ("suffix", "label"),
    [
        (".json", '{"shapes": [{"label": "x", "points": [[1, 1], [9, 9]], "shape_type": "rectangle"}]}'),
        (
            ".xml",
            "<annotation><object><name>x</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax>"
            "</bndbox></object></annotation>",
        ),
        (".txt", "0 0.5 0.5 0.2 0.2"),
    ],
)
def test_an_empty_label_file_says_that_there_is_no_object(tmp_path: Path, suffix: str, label: str) -> None:
    for name, content in (("a", label), ("b", "")):
        write_image(tmp_path / f"{name}.png")
        (tmp_path / f"{name}{suffix}").write_text(content)
    found = read_annotations(tmp_path)
    assert (found.faults, found.unused) == ((), ())
    assert [len(image.labels) for image in found.images] == [1, 0]


def test_a_folder_of_two_formats_is_refused_and_half_of_it_is_no_negative(tmp_path: Path) -> None:
    labelme_set(tmp_path / "one")
    write_image(tmp_path / "two" / "b.png")
    xml = '<annotations><image name="b.png"><box label="x" xtl="1" ytl="1" xbr="9" ybr="9"/></image></annotations>'
    (tmp_path / "two" / "annotations.xml").write_text(xml)
    with pytest.raises(AnnotationError, match=r"LabelMe \(one/a\.json\) and CVAT for images \(two/annotations\.xml\)"):
        read_annotations(tmp_path)
    found = read_annotations(tmp_path, ReadOptions(format="labelme"))
    assert (found.faults, found.unlabelled) == ((), ("two/b.png",))
    assert [fault.reason for fault in found.unused] == ["is cvat, and --format labelme leaves it out"]


def test_an_image_without_a_label_file_is_left_out_if_others_have_one(tmp_path: Path) -> None:
    write_image(labelme_set(tmp_path) / "b.png")
    found = read_annotations(tmp_path)
    assert (the_image(found).name, found.unlabelled) == ("a.png", ("b.png",))
    found = read_annotations(tmp_path, ReadOptions(negatives=True))
    assert ([image.labels for image in found.images], found.unlabelled) == ([("six",), ()], ())
    (tmp_path / "a.json").unlink()
    assert len(read_annotations(tmp_path).images) == 2  # no image has one


@pytest.mark.parametrize(("label", "counted", "ignored"), [("__ignore__", 0, 1), ("_background_", 1, 0)])
def test_reserved_labels_are_no_classes(tmp_path: Path, label: str, counted: int, ignored: int) -> None:
    shape = {"label": label, "points": [[1, 1], [9, 9]], "shape_type": "rectangle"}
    write_image(tmp_path / "a.png")
    write_json(tmp_path / "a.json", shape, {**shape, "label": "nut"})
    found = read_annotations(tmp_path)
    assert the_image(found).labels == ("nut",)
    assert found.ignored_shapes == Counter({label: counted})
    assert len(the_image(found).ignored_xyxy) == ignored
    (tmp_path / "a.json").unlink()
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.2 0.2\n")
    (tmp_path / "classes.txt").write_text(f"{label}\nnut\n")
    yolo = read_annotations(tmp_path)
    assert (the_image(yolo).labels, yolo.class_names) == (("nut",), ("nut",))
