"""COCO files: the usual layouts, boxes worked out by hand, and every fault at once."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from rendersight.annotations import AnnotatedImage, LabelledBox, ReadOptions
from rendersight.annotations.dataset import AnnotatedDataset, read_annotations
from rendersight.annotations.writing import write_dataset
from tests.rendersight.annotations.test_dataset import reasons, the_image, write_image

NO_BOXES = np.zeros((0, 4), np.float32)
CATEGORIES = ({"id": 7, "name": "dog"}, {"id": 3, "name": "cat"})


def image(number: int = 1, name: str = "a.png", **keys: Any) -> dict[str, Any]:
    return {"id": number, "file_name": name, "width": 40, "height": 30, **keys}


def annotation(number: int = 1, image_id: int = 1, **keys: Any) -> dict[str, Any]:
    return {"id": number, "image_id": image_id, "category_id": 7, "bbox": [5, 6, 10, 20], "iscrowd": 0, **keys}


def write_coco(path: Path, images: Any = (), annotations: Any = (), categories: Any = CATEGORIES, **keys: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"images": list(images), "annotations": list(annotations), "categories": list(categories), **keys}
    path.write_text(json.dumps(document), "utf-8")
    return path


def read_one(folder: Path, *annotations: Any) -> AnnotatedDataset:
    write_image(folder / "a.png")
    write_coco(folder / "labels.json", [image()], annotations or [annotation()])
    return read_annotations(folder)


class TestBoxes:
    def test_a_bbox_is_a_corner_and_a_size_in_continuous_px(self, tmp_path: Path) -> None:
        found = read_one(tmp_path, annotation(bbox=[0.5, 6, 10.25, 24]))
        assert the_image(found).boxes_xyxy.tolist() == [[0.5, 6, 10.75, 30]]
        assert the_image(found).labels == ("dog",)
        assert found.misfits == ()

    def test_classes_are_declared_in_the_order_of_their_ids(self, tmp_path: Path) -> None:
        assert read_one(tmp_path).class_names == ("cat", "dog")

    @pytest.mark.parametrize("bbox", [None, []])
    def test_a_missing_bbox_is_the_extent_of_all_polygons(self, tmp_path: Path, bbox: Any) -> None:
        outline = [[1, 2, 9, 4, 5, 8], [20, 3, 30, 3, 25, 12.5]]
        found = read_one(tmp_path, annotation(bbox=bbox, segmentation=outline))
        assert the_image(found).boxes_xyxy.tolist() == [[1, 2, 30, 12.5]]

    def test_crowds_are_ignored_boxes_and_masks_without_a_bbox_are_counted(self, tmp_path: Path) -> None:
        rle = {"counts": [10, 5], "size": [30, 40]}
        found = read_one(
            tmp_path,
            annotation(1, iscrowd=1, segmentation=rle, bbox=[0, 0, 50, 10]),
            annotation(2, bbox=None, segmentation=rle),
            annotation(3, segmentation=rle),
            annotation(4, ignore=1, bbox=[20, 0, 2, 3], category_id=3),
        )
        image = the_image(found)
        assert (image.boxes_xyxy.tolist(), image.labels) == ([[5, 6, 15, 26]], ("dog",))
        assert image.ignored_xyxy.tolist() == [[0, 0, 40, 10], [20, 0, 22, 3]]
        assert [item.label for item in image.ignored] == ["dog", "cat"]
        assert dict(found.ignored_shapes) == {"rle": 1}
        assert [misfit.beyond_px for misfit in found.misfits] == [10]

    def test_an_ignored_box_of_no_class_adds_no_class(self, tmp_path: Path) -> None:
        box = LabelledBox("smudge", (1, 2, 3, 4))
        image = AnnotatedImage("a.png", write_image(tmp_path / "a.png"), None, (40, 30), NO_BOXES, (), ignored=(box,))
        write_dataset([image], tmp_path / "out", format="coco", class_names=("dog",))
        found = read_annotations(tmp_path / "out")
        assert found.class_names == ("dog",)
        assert [item.label for item in the_image(found).ignored] == ["__ignore__"]

    def test_boxes_are_clipped_and_those_outside_dropped(self, tmp_path: Path) -> None:
        found = read_one(tmp_path, annotation(bbox=[-4, 6, 10, 20]), annotation(bbox=[50, 1, 5, 5]), annotation())
        assert the_image(found).boxes_xyxy.tolist() == [[0, 6, 6, 26], [5, 6, 15, 26]]
        assert found.dropped == 1
        assert [(misfit.beyond_px, misfit.is_kept) for misfit in found.misfits] == [(4, True), (15, False)]

    def test_an_image_without_annotations_has_no_objects(self, tmp_path: Path) -> None:
        write_image(tmp_path / "a.png")
        write_coco(tmp_path / "labels.json", [image()])
        assert the_image(read_annotations(tmp_path)).boxes_xyxy.shape == (0, 4)


class TestLayouts:
    def test_the_layout_of_the_coco_download(self, tmp_path: Path) -> None:
        for part in ("train2017", "val2017"):
            write_image(tmp_path / part / "0.png")
            write_coco(tmp_path / "annotations" / f"instances_{part}.json", [image(name="0.png")], [annotation()])
        write_coco(tmp_path / "annotations" / "captions_val2017.json", categories=())
        (tmp_path / "annotations" / "captions_val2017.json").write_text('{"images": [], "annotations": []}')
        found = read_annotations(tmp_path)
        assert [(item.name, item.splits) for item in found.images] == [
            ("train2017/0.png", ("train",)),
            ("val2017/0.png", ("val",)),
        ]
        assert found.faults == ()

    def test_the_layout_of_roboflow(self, tmp_path: Path) -> None:
        for part in ("train", "valid", "test"):
            write_image(tmp_path / part / f"{part}.png")
            write_coco(tmp_path / part / "_annotations.coco.json", [image(name=f"{part}.png")], [annotation()])
        found = read_annotations(tmp_path)
        assert [item.splits for item in found.images] == [("test",), ("train",), ("val",)]

    @pytest.mark.parametrize("written", ["images/a.png", "images\\a.png", "a.png", "/data/old/a.png", "C:\\old\\a.png"])
    def test_the_file_itself_may_be_given_and_finds_its_images(self, tmp_path: Path, written: str) -> None:
        write_image(tmp_path / "images" / "a.png")
        path = write_coco(tmp_path / "annotations" / "x.json", [image(name=written)], [annotation()])
        found = read_annotations(path)
        assert the_image(found).name == "images/a.png"
        assert found.format == "coco"

    def test_a_path_does_not_lead_out_of_the_dataset(self, tmp_path: Path) -> None:
        write_image(tmp_path / "secret.png")
        write_coco(tmp_path / "set" / "x.json", [image(name="../secret.png"), image(2, str(tmp_path / "secret.png"))])
        found = read_annotations(tmp_path / "set")
        assert [fault.reason.rpartition(": ")[2] for fault in found.faults] == ["no such image file"] * 2

    def test_a_name_that_several_files_have_is_told_by_its_folders(self, tmp_path: Path) -> None:
        for folder in ("x/one", "x/two"):
            write_image(tmp_path / folder / "a.png")
        write_coco(tmp_path / "labels.json", [image(name="two/a.png"), image(2, "a.png")])
        found = read_annotations(tmp_path)
        assert [item.name for item in found.images] == ["x/two/a.png"]
        assert "several images have this name: x/one/a.png, x/two/a.png" in reasons(found)["labels.json"]

    def test_images_that_no_file_lists_are_not_in_the_dataset(self, tmp_path: Path) -> None:
        write_image(tmp_path / "stray.png")
        found = read_one(tmp_path)
        assert found.unlisted == ("stray.png",)
        assert the_image(found).name == "a.png"

    def test_an_image_in_two_files_is_one_image_of_two_splits(self, tmp_path: Path) -> None:
        write_image(tmp_path / "a.png")
        for part in ("train", "val"):
            write_coco(tmp_path / f"{part}.json", [image()], [annotation()])
        assert set(the_image(read_annotations(tmp_path)).splits) == {"train", "val"}

    def test_files_that_disagree_about_an_image_are_a_fault(self, tmp_path: Path) -> None:
        write_image(tmp_path / "a.png")
        write_coco(tmp_path / "instances.json", [image()], [annotation()])
        write_coco(tmp_path / "keypoints.json", [image()], [])
        assert (
            "a.png that instances.json lists with other objects"
            in reasons(read_annotations(tmp_path))["keypoints.json"]
        )
        assert read_annotations(tmp_path / "instances.json").faults == ()


@pytest.mark.parametrize("number", [1.0, 2.5, "one"])
def test_an_id_may_be_any_number_or_text(tmp_path: Path, number: float | str) -> None:
    write_image(tmp_path / "a.png")
    write_coco(
        tmp_path / "labels.json",
        [image(number)],  # type: ignore[arg-type]
        [annotation(image_id=int(number) if number == 1 else number, category_id=number)],  # type: ignore[arg-type]
        [{"id": number, "name": "dog"}],
    )
    found = read_annotations(tmp_path)
    assert found.faults == ()
    assert the_image(found).labels == ("dog",)


class TestFaults:
    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "40.5"])
    @pytest.mark.parametrize("key", ["width", "id"])
    def test_a_number_that_is_not_finite_is_a_fault(self, tmp_path: Path, key: str, number: str) -> None:
        write_image(tmp_path / "a.png")
        path = write_coco(tmp_path / "labels.json", [image(**{key: "HERE"})] if key == "width" else [image("HERE")])
        path.write_text(path.read_text().replace('"HERE"', number))
        if key == "id" and number == "40.5":
            assert read_annotations(tmp_path).faults == ()
        else:
            (fault,) = read_annotations(tmp_path).faults
            assert fault.reason.startswith(f"images[0]: {key} is {float(number)!r}; accepted: a ")

    def test_all_are_reported_at_once_with_their_place(self, tmp_path: Path) -> None:
        write_image(tmp_path / "a.png")
        write_image(tmp_path / "b.png")
        write_image(tmp_path / "good.png")
        write_coco(
            tmp_path / "labels.json",
            [
                image(),
                image(1, "b.png"),
                image(2, "lost.png"),
                image(3, "good.png"),
                image(4, "b.png", width="wide"),
                image(5, "good.png"),
                {"id": 6},
                None,
            ],
            [
                annotation(1, category_id=99),
                annotation(2, image_id=77),
                annotation(3, bbox=[1, 2, 3]),
                annotation(4, bbox=[1, 2, -3, 4]),
                annotation(5, bbox=[1, 2, float("nan"), 4]),
                annotation(6, bbox=None),
                annotation(7, bbox=None, segmentation=[[1, 2, 3, 4]]),
                annotation(8, image_id=3),
                "no object",
            ],
            [*CATEGORIES, {"id": 7, "name": "twice"}, {"id": 8, "name": " "}],
        )
        found = read_annotations(tmp_path)
        assert [item.name for item in found.images] == ["good.png"]
        assert [fault.reason for fault in found.faults] == [
            "categories[2]: id is 7; accepted: a number that no other one has",
            "categories[3]: name is ' '; accepted: a name",
            "images[1]: id is 1; accepted: a number that no other image has",
            "images[2]: file_name 'lost.png': no such image file",
            "images[4]: width is 'wide'; accepted: a whole number",
            "images[5]: good.png is listed twice; list each image once",
            "images[6]: file_name is None; accepted: a file's name",
            "images[7]: id is None; accepted: a number that no other image has",
            "annotations[0] (a.png): category_id is 99, which categories does not list; add it there",
            "annotations[1]: image_id is 77, which images does not list; add it there",
            "annotations[2] (a.png): bbox is [1, 2, 3]; accepted: [x, y, width, height], the last two not negative",
            "annotations[3] (a.png): bbox is [1, 2, -3, 4]; accepted: [x, y, width, height], the last two not negative",
            "annotations[4] (a.png): bbox is [1, 2, nan, 4]; accepted: a list of finite numbers",
            "annotations[5] (a.png): has neither bbox nor segmentation; add one of them",
            "annotations[6] (a.png): segmentation holds 4 numbers; accepted: x and y of three points or more",
            "annotations[8]: image_id is None, which images does not list; add it there",
        ]

    def test_a_size_that_is_not_the_image_s(self, tmp_path: Path) -> None:
        write_image(tmp_path / "a.png", size_wh=(30, 40))
        write_coco(tmp_path / "labels.json", [image()])
        assert reasons(read_annotations(tmp_path)) == {
            "labels.json": "width x height is 40x30, but the upright image is 30x40"
        }

    def test_the_size_of_an_image_that_is_stored_lying_names_both(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg", exif=exif)
        write_coco(tmp_path / "labels.json", [image(name="a.jpg")], [annotation()])
        (reason,) = reasons(read_annotations(tmp_path)).values()
        assert "40x30, but the upright image is 30x40" in reason
        assert "stored as 40x30 and turned by its EXIF orientation 6" in reason
        write_coco(tmp_path / "labels.json", [image(name="a.jpg", width=30, height=40)], [annotation()])
        assert the_image(read_annotations(tmp_path)).size_wh == (30, 40)

    @pytest.mark.parametrize("text", ["{", "[]", '{"images": [], "annotations": []}', "[" * 100_000])
    def test_a_file_that_is_none(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "x.json").write_text(text)
        (fault,) = read_annotations(tmp_path / "x.json", ReadOptions(format="coco")).faults
        assert fault.file == "x.json"
        assert fault.reason.startswith(("not JSON", "is not a COCO file", 'has no list "categories"'))


def test_cocos_own_program_reads_what_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = read_one(tmp_path / "source", annotation(), annotation(2, category_id=3, bbox=[0, 0, 40, 30]))
    write_dataset(found.images, tmp_path / "out", format="coco", class_names=("dog", "cat"))
    coco = COCO(str(tmp_path / "out" / "annotations" / "instances.json"))
    boxes = {coco.cats[item["category_id"]]["name"]: item["bbox"] for item in coco.loadAnns(coco.getAnnIds())}
    assert boxes == {"dog": [5, 6, 10, 20], "cat": [0, 0, 40, 30]}
    assert coco.getCatIds(["dog"]) == [1]
