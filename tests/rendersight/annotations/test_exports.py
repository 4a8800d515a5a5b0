"""One small export of each tool in the table of docs/datasets.md, made as that tool writes it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rendersight.annotations import AnnotationError, ReadOptions
from rendersight.annotations.dataset import read_annotations
from tests.rendersight.annotations.test_dataset import BOX, write_image, write_json

PAGE = Path(__file__).parents[3] / "docs" / "datasets.md"
LINE = "0 0.25 0.5333333333 0.25 0.6666666667\n"  # of 40 x 30 px: x 5 to 15, y 6 to 26
READ = ReadOptions()


def write(path: Path, text: str | Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if isinstance(text, str) else json.dumps(text), "utf-8")


def coco(*names: str, **changes: Any) -> dict[str, Any]:
    return {
        "images": [{"id": i, "file_name": name, "width": 40, "height": 30} for i, name in enumerate(names, 1)],
        "annotations": [
            {
                "id": i,
                "image_id": i,
                "category_id": 1,
                "bbox": [5, 6, 10, 20],
                "iscrowd": 0,
                "segmentation": [],
                **changes,
            }
            for i, _ in enumerate(names, 1)
        ],
        "categories": [{"id": 1, "name": "nut", "supercategory": ""}],
    }


def voc(name: str, box: str = "<bndbox><xmin>5</xmin><ymin>6</ymin><xmax>15</xmax><ymax>26</ymax></bndbox>") -> str:
    return (
        f"<annotation><filename>{name}</filename><size><width>40</width><height>30</height><depth>3</depth></size>"
        f"<object><name>nut</name><difficult>0</difficult>{box}</object></annotation>"
    )


def cvat(*images: str) -> str:
    box = '<box label="nut" source="manual" occluded="0" xtl="5.00" ytl="6.00" xbr="15.00" ybr="26.00" z_order="0"/>'
    items = (f'<image id="0" {image} width="40" height="30">{box}</image>' for image in images)
    labels = "<meta><task><labels><label><name>nut</name></label></labels></task></meta>"
    head = '<?xml version="1.0" encoding="utf-8"?>'
    return f"{head}<annotations><version>1.1</version>{labels}{''.join(items)}</annotations>"


def photos(folder: Path, *names: str) -> None:
    for name in names:
        write_image(folder / name)


def labelme(folder: Path) -> None:
    photos(folder, "a.png")
    write_json(folder / "a.json", {"label": "nut", "points": [[5, 6], [15, 26]], "shape_type": "rectangle"})


def x_anylabeling(folder: Path) -> None:
    photos(folder, "a.png")
    corners = [[5, 6], [15, 6], [15, 26], [5, 26]]
    shape = {
        "label": "nut",
        "points": corners,
        "shape_type": "rectangle",
        "score": None,
        "difficult": False,
        "flags": {},
    }
    write_json(folder / "a.json", shape, version="2.4.0")


def labelimg_yolo(folder: Path) -> None:
    photos(folder, "images/a.png")
    write(folder / "labels" / "a.txt", LINE)
    write(folder / "labels" / "classes.txt", "nut\n")


def labelimg_voc(folder: Path) -> None:
    photos(folder, "a.png")
    write(folder / "a.xml", voc("a.png"))


def makesense_yolo(folder: Path) -> None:
    photos(folder, "a.png")
    write(folder / "a.txt", LINE)


def makesense_csv(folder: Path) -> None:
    photos(folder, "a.png")
    write(folder / "labels.csv", "nut,5,6,10,20,a.png,40,30\n")


def cvat_images(folder: Path) -> None:
    photos(folder, "images/Train/a.png", "images/Validation/b.png")
    images = ('name="Train/a.png" subset="Train"', 'name="Validation/b.png" subset="Validation"')
    write(folder / "annotations.xml", cvat(*images))


def cvat_video(folder: Path) -> None:
    photos(folder, "images/frame_000000.png")
    box = '<box frame="0" outside="0" occluded="0" keyframe="1" xtl="5" ytl="6" xbr="15" ybr="26" z_order="0"/>'
    write(folder / "annotations.xml", f'<annotations><track id="0" label="nut">{box}</track></annotations>')


def cvat_yolo(folder: Path) -> None:
    photos(folder, "obj_train_data/a.png", "obj_valid_data/b.png")
    write(folder / "obj.data", "classes = 1\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\n")
    write(folder / "obj.names", "nut\n")
    for part, name in (("train", "a"), ("valid", "b")):
        write(folder / f"{part}.txt", f"data/obj_{part}_data/{name}.png\n")
        write(folder / f"obj_{part}_data" / f"{name}.txt", LINE)


def cvat_coco(folder: Path) -> None:
    photos(folder, "images/default/a.png")
    write(folder / "annotations" / "instances_default.json", coco("a.png", attributes={"occluded": False}))


def cvat_labelme(folder: Path) -> None:
    photos(folder, "a.png")
    points = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in ((5, 6), (15, 6), (15, 26), (5, 26)))
    write(folder / "a.xml", voc("a.png", f"<deleted>0</deleted><polygon>{points}</polygon>"))


def roboflow_yolo(folder: Path) -> None:
    write(
        folder / "data.yaml",
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 1\nnames: ['nut']\n",
    )
    write(folder / "README.roboflow.txt", "\nNuts - v1\n==========\nThis dataset was exported via roboflow.com\n")
    for part, name in (("train", "a"), ("valid", "b")):
        photos(folder, f"{part}/images/{name}.png")
        write(folder / part / "labels" / f"{name}.txt", LINE)


def roboflow_coco(folder: Path) -> None:
    for part, name in (("train", "a"), ("valid", "b")):
        photos(folder, f"{part}/{name}.png")
        write(folder / part / "_annotations.coco.json", coco(f"{name}.png"))


def roboflow_csv(folder: Path) -> None:
    for part, name in (("train", "a"), ("valid", "b")):
        photos(folder, f"{part}/{name}.png")
        header = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
        write(folder / part / "_annotations.csv", f"{header}{name}.png,40,30,nut,5,6,15,26\n")


def createml(folder: Path) -> None:
    photos(folder, "a.png")
    box = {"label": "nut", "coordinates": {"x": 10, "y": 16, "width": 10, "height": 20}}
    write(folder / "_annotations.createml.json", [{"image": "a.png", "annotations": [box]}])


def label_studio_yolo(folder: Path) -> None:
    photos(folder, "images/1f2e-a.png")
    write(folder / "labels" / "1f2e-a.txt", LINE)
    write(folder / "classes.txt", "nut\n")
    write(folder / "notes.json", {"categories": [{"id": 0, "name": "nut"}], "info": {"year": 2026, "version": "1.0"}})


def label_studio_json(folder: Path) -> None:
    photos(folder, "a.png")
    value = {"x": 12.5, "y": 20, "width": 25, "height": 66.7, "rectanglelabels": ["nut"]}
    write(folder / "project-1.json", [{"annotations": [{"result": [{"original_width": 40, "value": value}]}]}])


def via(folder: Path) -> None:
    photos(folder, "a.png")
    region = {
        "shape_attributes": {"name": "rect", "x": 5, "y": 6, "width": 10, "height": 20},
        "region_attributes": {"type": "nut"},
    }
    write(
        folder / "via.json", {"a.png99": {"filename": "a.png", "size": 99, "regions": [region], "file_attributes": {}}}
    )


def via_coco(folder: Path) -> None:
    photos(folder, "a.png")
    write(folder / "via_coco.json", coco("a.png", image_id="1", segmentation=[5, 6, 15, 6, 15, 26, 5, 26]))


def ultralytics(folder: Path) -> None:
    data = "path: /home/somebody/datasets/nuts\ntrain: images/train\nval: images/val\nnames:\n  0: nut\n"
    write(folder / "nuts.yaml", data)
    for part, name in (("train", "a"), ("val", "b")):
        photos(folder, f"images/{part}/{name}.png")
        write(folder / "labels" / part / f"{name}.txt", LINE)
        write(folder / "labels" / f"{part}.cache", "binary")


def yolo_mark(folder: Path) -> None:
    photos(folder, "data/img/a.png")
    write(folder / "data" / "img" / "a.txt", LINE)
    write(folder / "data" / "obj.names", "nut\n")
    write(folder / "data" / "obj.data", "classes= 1\ntrain  = data/train.txt\nvalid  = data/train.txt\n")


def open_images(folder: Path) -> None:
    photos(folder, "a.png")
    header = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded\n"
    write(folder / "boxes.csv", f"{header}a,xclick,nut,1,0.125,0.375,0.2,0.8666666667,0\n")


def retinanet(folder: Path) -> None:
    photos(folder, "images/a.png")
    write(folder / "annotations.csv", "images/a.png,5,6,15,26,nut\n")


def supervisely(folder: Path) -> None:
    photos(folder, "ds/img/a.png")
    item = {
        "classTitle": "nut",
        "geometryType": "rectangle",
        "points": {"exterior": [[5, 6], [15, 26]], "interior": []},
    }
    write(folder / "ds" / "ann" / "a.png.json", {"description": "", "objects": [item]})


def kitti(folder: Path) -> None:
    photos(folder, "image_2/000000.png")
    write(folder / "label_2" / "000000.txt", "nut 0.00 0 -10 5.00 6.00 15.00 26.00 -1 -1 -1 -1000 -1000 -1000 -10\n")


def tensorflow(folder: Path) -> None:
    photos(folder, "a.png")
    write(folder / "train.tfrecord", "binary")


TRAIN_VAL = [("train",), ("val",)]
NONE: list[tuple[str, ...]] = [()]

# row of the table -> how the export is written, the options that the row names, the splits of its images
READABLE: dict[str, tuple[Callable[[Path], None], ReadOptions, list[tuple[str, ...]]]] = {
    "LabelMe": (labelme, READ, NONE),
    "X-AnyLabeling": (x_anylabeling, READ, NONE),
    "labelImg, YOLO": (labelimg_yolo, READ, NONE),
    "labelImg, Pascal VOC": (labelimg_voc, ReadOptions(pixel_origin=0), NONE),
    "makesense.ai, YOLO": (makesense_yolo, ReadOptions(class_names=("nut",)), NONE),
    "makesense.ai, CSV": (makesense_csv, READ, NONE),
    "CVAT, CVAT for images 1.1": (cvat_images, READ, TRAIN_VAL),
    "CVAT, YOLO 1.1": (cvat_yolo, READ, TRAIN_VAL),
    "CVAT, COCO 1.0": (cvat_coco, READ, NONE),
    "CVAT, LabelMe 3.0": (cvat_labelme, READ, NONE),
    "Roboflow, YOLO": (roboflow_yolo, READ, TRAIN_VAL),
    "Roboflow, COCO": (roboflow_coco, READ, TRAIN_VAL),
    "Roboflow, TensorFlow CSV": (roboflow_csv, READ, TRAIN_VAL),
    "CreateML": (createml, READ, NONE),
    "Label Studio, YOLO": (label_studio_yolo, READ, NONE),
    "VGG Image Annotator, JSON": (via, READ, NONE),
    "VGG Image Annotator, COCO": (via_coco, READ, NONE),
    "Ultralytics": (ultralytics, READ, TRAIN_VAL),
    "Darknet, Yolo_mark": (yolo_mark, READ, NONE),
    "Open Images": (open_images, READ, NONE),
    "keras-retinanet, CSV": (retinanet, READ, NONE),
}
# row of the table -> how the export is written, and a part of the message
REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "CVAT, CVAT for video": (cvat_video, "export the task as CVAT for images 1.1"),
    "Label Studio, JSON": (label_studio_json, "export it as YOLO or COCO"),
    "Supervisely": (supervisely, "export it as COCO or Pascal VOC"),
    "KITTI": (kitti, "convert it to YOLO or COCO"),
    "TensorFlow, TFRecord": (tensorflow, "export another format"),
}


@pytest.mark.parametrize("name", READABLE)
def test_reads_an_export(tmp_path: Path, name: str) -> None:
    make, options, splits = READABLE[name]
    make(tmp_path)
    found = read_annotations(tmp_path, options)
    assert found.faults == ()
    assert [image.labels for image in found.images] == [("nut",)] * len(splits)
    assert [image.splits for image in found.images] == splits
    for image in found.images:
        assert image.boxes_xyxy[0].tolist() == pytest.approx(BOX, abs=1e-4)


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_an_export_and_says_what_to_do(tmp_path: Path, name: str) -> None:
    make, message = REFUSED[name]
    make(tmp_path)
    try:
        told = " ".join(fault.reason for fault in read_annotations(tmp_path).faults)
    except AnnotationError as error:
        told = str(error)
    assert message in told


def test_the_docs_have_a_row_for_each_export() -> None:
    table = PAGE.read_text("utf-8").partition("| your tool's export |")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|$", table, re.MULTILINE))
    assert set(rows) == {*READABLE, *REFUSED}
    for name, (_, options, _) in READABLE.items():
        assert ("--pixel-origin" in rows[name]) == (options.pixel_origin is not None)
        assert ("--labels" in rows[name]) == bool(options.class_names)
