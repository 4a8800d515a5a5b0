"""CSV: the layouts that are known, and faults."""

from pathlib import Path

import pytest

from rendersight.annotations import AnnotationError, ReadOptions
from rendersight.annotations.dataset import AnnotatedDataset, read_annotations
from tests.rendersight.annotations.test_dataset import reasons, the_image, write_image

VIA_HEADER = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
VIA_ROW = 'a.png,9,{},1,0,"{""name"":""rect"",""x"":5,""y"":6,""width"":10,""height"":20}","{""label"":""nut""}"'


def read_one(folder: Path, text: str) -> AnnotatedDataset:
    write_image(folder / "a.png")
    (folder / "boxes.csv").write_text(text)
    return read_annotations(folder)


@pytest.mark.parametrize(
    "text",
    [
        "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,40,30,nut,5,6,15,26\n",
        "image_path,x1,y1,x2,y2,label\na.png,5,6,15,26,nut\n",
        "image,label,x,y,width,height\na.png,nut,5,6,10,20\n",
        "label_name,bbox_x,bbox_y,bbox_width,bbox_height,image_name,image_width,image_height\nnut,5,6,10,20,a.png,40,30\n",
        "a.png,5,6,15,26,nut\n",
        "nut,5,6,10,20,a.png,40,30\n",
        "UNASSIGNED,gs://bucket/a.png,nut,0.125,0.2,,,0.375,0.8666667,,\n",
        f"{VIA_HEADER}\n{VIA_ROW}\n",
        f"#{VIA_HEADER}\n{VIA_ROW}\n",
    ],
)
def test_reads_a_layout(tmp_path: Path, text: str) -> None:
    found = read_one(tmp_path, text)
    assert (found.format, the_image(found).labels) == ("csv", ("nut",))
    assert the_image(found).boxes_xyxy[0].tolist() == pytest.approx([5, 6, 15, 26], abs=1e-4)


@pytest.mark.parametrize(
    "text", ["epoch,loss\n1,0.5\n", "image,label\na.png,nut\n", "", "a,b,c,d,e,f\n", "filename,xmin,xmax\na.png,1,2\n"]
)
def test_another_table_is_not_taken_for_boxes(tmp_path: Path, text: str) -> None:
    assert read_one(tmp_path, text).format == "labelme"


def test_an_image_without_regions_in_vias_csv_is_empty(tmp_path: Path) -> None:
    assert the_image(read_one(tmp_path, VIA_HEADER + '\na.png,9,"{}",0,0,"{}","{}"\n')).labels == ()


def test_an_image_without_a_row_needs_negatives_and_an_empty_row_is_enough(tmp_path: Path) -> None:
    write_image(tmp_path / "b.png")
    assert read_one(tmp_path, "a.png,5,6,15,26,nut\n").unlabelled == ("b.png",)
    found = read_one(tmp_path, "a.png,5,6,15,26,nut\nb.png,,,,,\n")
    assert (found.faults, [image.labels for image in found.images]) == ((), [("nut",), ()])


@pytest.mark.parametrize(("word", "splits"), [("train", ("train",)), ("VALIDATION", ("val",)), ("", ())])
def test_a_column_gives_the_split(tmp_path: Path, word: str, splits: tuple[str, ...]) -> None:
    found = read_one(tmp_path, f"split,filename,class,xmin,ymin,xmax,ymax\n{word},a.png,nut,5,6,15,26\n")
    assert the_image(found).splits == splits


def test_pixels_may_count_from_1(tmp_path: Path) -> None:
    read_one(tmp_path, "a.png,6,7,15,26,nut\n")
    found = read_annotations(tmp_path, ReadOptions(pixel_origin=1))
    assert the_image(found).boxes_xyxy.tolist() == [[5, 6, 15, 26]]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.png,5,6,left,26,nut", "image 'a.png': line 2: x1 is 'left'; accepted: a number"),
        ("a.png,5,6,15,26,", "line 2: the label is empty"),
        ("a.png,5,6,15", "line 2 has 4 columns; accepted: 6"),
        ("lost.png,5,6,15,26,nut", "image 'lost.png': no such image file"),
    ],
)
def test_a_broken_row_is_a_fault(tmp_path: Path, row: str, message: str) -> None:
    found = read_one(tmp_path, f"filename,xmin,ymin,xmax,ymax,class\n{row}\n")
    assert message in reasons(found)["boxes.csv"]


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="holds no CSV"):
        read_annotations(tmp_path, ReadOptions(format="csv"))
