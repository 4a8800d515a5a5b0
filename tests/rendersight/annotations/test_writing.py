"""What is written in any format is read back as it was: boxes, labels, sizes, names, splits."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rendersight.annotations import AnnotatedImage, LabelledBox, ReadOptions
from rendersight.annotations.dataset import AnnotatedDataset, read_annotations
from rendersight.annotations.formats import WRITABLE
from rendersight.annotations.writing import copy_image, link_image, renamed, unwritable, write_dataset
from tests.rendersight.annotations.test_dataset import RECTANGLE, encoded, write_image, write_json

TOLERANCE_PX = {"labelme": 0.0, "coco": 0.0, "voc": 0.0, "yolo": 1e-5}
WORD = st.text("aZ09é漢🎲_-. &'\"#%", min_size=1, max_size=8).filter(
    lambda word: word == word.strip() and not word.startswith(".") and not word.endswith(".")
)
LABEL = st.text("aZ09é漢🎲_-. &<>'\"#:{}[],!", min_size=1, max_size=8).filter(lambda word: word == word.strip())
SPLITS = st.sampled_from([(), ("train",), ("val",), ("test",), ("train", "val")])


@st.composite
def boxes(draw: st.DrawFn, size_wh: tuple[int, int]) -> list[float]:
    """A box in thousandths of a px: finer ones may move by 1e-9 px, as the files hold so many decimals."""
    (x0, x1), (y0, y1) = (
        sorted(draw(st.lists(st.integers(0, side * 1000), min_size=2, max_size=2, unique=True))) for side in size_wh
    )
    return [x0 / 1000, y0 / 1000, x1 / 1000, y1 / 1000]


@st.composite
def photos(draw: st.DrawFn) -> AnnotatedImage:
    size_wh = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    found = draw(st.lists(boxes(size_wh), max_size=4))
    labels = draw(st.lists(LABEL, min_size=len(found), max_size=len(found)))
    name = "/".join([*draw(st.lists(WORD, max_size=2)), draw(WORD) + ".png"])
    return AnnotatedImage(
        name,
        None,
        None,
        size_wh,
        np.array(found, np.float32).reshape(-1, 4),
        tuple(labels),
        splits=draw(SPLITS),
        ignored=tuple(LabelledBox(draw(LABEL), tuple(box)) for box in draw(st.lists(boxes(size_wh), max_size=2))),
    )


def key_of(image: AnnotatedImage) -> str:
    return str(Path(image.name).with_suffix("")).lower()


@contextmanager
def on_disk(found: list[AnnotatedImage]) -> Iterator[tuple[list[AnnotatedImage], Path]]:
    """Give images files of their sizes, and a folder to write to."""
    with tempfile.TemporaryDirectory() as folder:
        made = []
        for number, image in enumerate(found):
            path = write_image(Path(folder) / "source" / f"{number}.png", size_wh=image.size_wh)
            made.append(replace(image, image_path=path))
        yield made, Path(folder) / "target"


@pytest.mark.parametrize("name", WRITABLE)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_what_is_written_is_read_as_it_was(name: str, data: st.DataObject) -> None:
    found = data.draw(st.lists(photos(), min_size=1, max_size=3, unique_by=key_of))
    class_names = tuple(sorted({label for image in found for label in image.labels} | {"never seen"}, reverse=True))
    with on_disk(found) as (images, target):
        assert unwritable(images, name) == []
        write_dataset(images, target, format=name, class_names=class_names)
        read = read_annotations(target)
    assert (read.faults, read.misfits, read.format) == ((), (), name)
    written = {image.name: image for image in found}
    again = {image.name: image for image in renamed(read.images)}
    if len(found) == 1 and "/" in found[0].name:  # one folder around all may be called images
        assert len(again) == 1
        again = dict(zip(written, again.values(), strict=True))
    assert set(again) == set(written)
    for key, image in written.items():
        assert again[key].size_wh == image.size_wh
        assert again[key].labels == image.labels
        np.testing.assert_allclose(again[key].boxes_xyxy, image.boxes_xyxy, rtol=0, atol=TOLERANCE_PX[name])
        ignored = image.ignored if name != "yolo" else ()
        kept = [item.label if name != "coco" or item.label in class_names else "__ignore__" for item in ignored]
        assert [item.label for item in again[key].ignored] == kept
        assert again[key].ignored_xyxy.tolist() == (image.ignored_xyxy.tolist() if kept else [])
        if name != "labelme" and len({split for image in found for split in image.splits}) > 1:
            assert set(again[key].splits) == set(image.splits)
    assert name not in ("coco", "yolo") or read.class_names == class_names


def one_of_each(folder: Path) -> AnnotatedDataset:
    """A LabelMe folder with a photo in a sub-folder, an empty one, and one that its JSON embeds."""
    write_image(folder / "tray 1" / "große.png")
    write_json(folder / "tray 1" / "große.json", {**RECTANGLE, "flags": {"truncated": True}})
    write_image(folder / "empty.png")
    write_json(folder / "embedded.json", imageData=encoded("red"))
    return read_annotations(folder, ReadOptions(negatives=True))


@pytest.mark.parametrize("name", WRITABLE)
def test_an_embedded_image_becomes_a_file(tmp_path: Path, name: str) -> None:
    found = renamed(one_of_each(tmp_path / "source").images)
    write_dataset(found, tmp_path / "target", format=name, class_names=("six",))
    read = read_annotations(tmp_path / "target")
    assert read.faults == ()
    assert [(image.name, image.labels) for image in renamed(read.images)] == [
        ("embedded.png", ("six",)),
        ("empty.png", ()),
        ("tray 1/große.png", ("six",)),
    ]
    assert all(image.boxes_xyxy.tolist() == [[5, 6, 15, 26]] for image in read.images if image.labels)


@pytest.mark.parametrize(("name", "flags"), [("labelme", {"truncated"}), ("voc", {"truncated"}), ("coco", set())])
def test_flags_stay_where_the_format_has_a_place_for_them(tmp_path: Path, name: str, flags: set[str]) -> None:
    found = renamed(one_of_each(tmp_path / "source").images)
    write_dataset(found, tmp_path / "target", format=name, class_names=("six",))
    image = renamed(read_annotations(tmp_path / "target").images)[-1]
    assert set().union(*image.flags) == flags


@pytest.mark.parametrize("first", ["labelme", "coco", "voc"])
def test_an_ignored_box_passes_through_every_format(tmp_path: Path, first: str) -> None:
    write_image(tmp_path / "labelme" / "a.png")
    ignored = {**RECTANGLE, "points": [[1, 2], [3.25, 4]], "flags": {"ignore": True}}
    write_json(tmp_path / "labelme" / "a.json", ignored, RECTANGLE)
    folder = tmp_path / "labelme"
    for number, name in enumerate((first, "voc", "coco", "labelme")):
        found = renamed(read_annotations(folder).images)
        folder = tmp_path / str(number)
        write_dataset(found, folder, format=name, class_names=("six",))
    (image,) = read_annotations(folder).images
    assert (image.labels, image.boxes_xyxy.tolist()) == (("six",), [[5, 6, 15, 26]])
    assert [item.label for item in image.ignored] == ["six"]
    assert image.ignored_xyxy.tolist() == [[1, 2, 3.25, 4]]


def test_an_embedded_image_with_an_orientation_is_written_as_it_is_shown(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    write_json(tmp_path / "source" / "a.json", imageData=encoded("red", "JPEG", exif=exif))
    found = renamed(read_annotations(tmp_path / "source").images)
    write_dataset(found, tmp_path / "target", format="voc", class_names=("six",))
    (image,) = read_annotations(tmp_path / "target").images
    assert image.size_wh == (40, 30)


@pytest.mark.parametrize("place", [copy_image, link_image])
def test_images_are_copied_or_linked(tmp_path: Path, place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "source" / "a.png")
    monkeypatch.chdir(tmp_path)
    write_dataset(
        read_annotations(Path("source")).images, Path("target"), format="yolo", class_names=("six",), place_image=place
    )
    target = tmp_path / "target" / "images" / "a.png"
    assert target.is_symlink() == (place is link_image)
    shutil.move("target", "elsewhere")
    assert len(read_annotations(Path("elsewhere")).images) == 1
    assert (tmp_path / "source" / "a.png").is_file()


def test_names_lose_the_folder_that_another_format_put_around_them(tmp_path: Path) -> None:
    image = AnnotatedImage("images/a.png", tmp_path / "a.png", None, (9, 9), np.zeros((0, 4), np.float32), ())
    beside = replace(image, name="images/sub/b.png")
    assert [item.name for item in renamed([image, beside])] == ["a.png", "sub/b.png"]
    assert [item.name for item in renamed([image, replace(image, name="b.png")])] == ["images/a.png", "b.png"]
    assert [item.name for item in renamed([replace(image, name="../photos/a.png")])] == ["photos/a.png"]
    assert renamed([]) == []


def test_images_that_would_share_a_file_are_faults(tmp_path: Path) -> None:
    image = AnnotatedImage("a.png", tmp_path / "a.png", None, (9, 9), np.zeros((0, 4), np.float32), ())
    twins = [image, replace(image, name="a.jpg")]
    assert [str(fault) for fault in unwritable(twins, "voc")] == [
        "a.jpg: would share a file with a.png, which has the same stem; rename one"
    ]
    assert unwritable(twins, "coco") == []
    assert [fault.file for fault in unwritable([image, image], "coco")] == ["a.png"]


@pytest.mark.parametrize(("name", "label"), [("a\nb.png", "six"), ("a.png", "six\n"), ("a.png", " six")])
def test_what_a_list_or_an_xml_cannot_hold_is_a_fault(tmp_path: Path, name: str, label: str) -> None:
    image = AnnotatedImage(name, tmp_path / "a.png", None, (9, 9), np.array([[0, 0, 5, 5]], np.float32), (label,))
    (fault,) = unwritable([image], "yolo")
    assert "control characters" in fault.reason


def test_the_numbers_are_those_that_a_person_would_write(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    write_json(tmp_path / "a.json", {**RECTANGLE, "points": [[12.3, 5], [20.1, 7.25]]})
    found = read_annotations(tmp_path).images
    write_dataset(found, tmp_path / "coco", format="coco", class_names=("six",))
    write_dataset(found, tmp_path / "voc", format="voc", class_names=("six",))
    annotation = json.loads((tmp_path / "coco" / "annotations" / "instances.json").read_text())["annotations"][0]
    assert annotation["bbox"] == [12.3, 5.0, 7.8, 2.25]
    text = (tmp_path / "voc" / "Annotations" / "a.xml").read_text()
    assert "<xmin>13.3</xmin>" in text
    assert "<ymin>6</ymin>" in text
    assert "<xmax>20.1</xmax>" in text
