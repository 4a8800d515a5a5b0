"""Pascal VOC: pixels counted from 1, the devkit's layout, and every fault at once."""

from pathlib import Path
from typing import Literal

import pytest
from PIL import Image

from rendersight.annotations import AnnotationError, ReadOptions
from rendersight.annotations.dataset import AnnotatedDataset, read_annotations
from rendersight.annotations.writing import write_dataset
from tests.rendersight.annotations.test_dataset import reasons, the_image, write_image


def box(
    xmin: object = 6, ymin: object = 7, xmax: object = 15, ymax: object = 26, *, name: str = "dog", more: str = ""
) -> str:
    corners = f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"
    return f"<object><name>{name}</name>{more}<bndbox>{corners}</bndbox></object>"


def write_xml(path: Path, *objects: str, filename: str = "", size: str = "", head: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    name = f"<filename>{filename}</filename>" if filename else ""
    path.write_text(f"{head}<annotation>{name}{size}{''.join(objects)}</annotation>", "utf-8")
    return path


def size(width: int, height: int) -> str:
    return f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"


def read_one(folder: Path, *objects: str) -> AnnotatedDataset:
    write_image(folder / "a.png")
    write_xml(folder / "a.xml", *objects)
    return read_annotations(folder)


class TestBoxes:
    def test_pixels_count_from_1_and_the_last_one_is_inside(self, tmp_path: Path) -> None:
        # the pixels of columns 6 to 15 and rows 7 to 26, counted from 1, cover x 5 to 15 and y 6 to 26
        found = read_one(tmp_path, box(6, 7, 15, 26))
        assert the_image(found).boxes_xyxy.tolist() == [[5, 6, 15, 26]]
        assert the_image(found).labels == ("dog",)
        assert "pass --pixel-origin 0" in found.remarks[0]

    def test_the_whole_image_and_a_single_pixel(self, tmp_path: Path) -> None:
        found = read_one(tmp_path, box(1, 1, 40, 30), box(40, 30, 40, 30))
        assert the_image(found).boxes_xyxy.tolist() == [[0, 0, 40, 30], [39, 29, 40, 30]]
        assert found.misfits == ()

    def test_one_coordinate_below_1_tells_that_the_program_counts_from_0(self, tmp_path: Path) -> None:
        write_image(tmp_path / "b.png")
        write_xml(tmp_path / "b.xml", box(0, 7.5, 15, 26))
        found = read_one(tmp_path, box(6, 7, 15, 26))
        assert [image.boxes_xyxy.tolist() for image in found.images] == [[[6, 7, 15, 26]], [[0, 7.5, 15, 26]]]
        assert "counts pixels from 0" in found.remarks[0]

    @pytest.mark.parametrize(("origin", "left"), [(0, 6), (1, 5)])
    def test_the_pixel_origin_decides(self, tmp_path: Path, origin: Literal[0, 1], left: int) -> None:
        read_one(tmp_path, box(6, 7, 15, 26))
        found = read_annotations(tmp_path, ReadOptions(pixel_origin=origin))
        assert the_image(found).boxes_xyxy.tolist() == [[left, left + 1, 15, 26]]
        assert found.remarks == ()

    @pytest.mark.parametrize("folders", [("images", "annotations"), ("img", "xmls"), ("JPEGImages", "Annotations")])
    def test_an_image_lies_in_the_folder_beside(self, tmp_path: Path, folders: tuple[str, str]) -> None:
        for part in ("train", "test"):
            write_image(tmp_path / part / folders[0] / "0.png")
            write_xml(tmp_path / part / folders[1] / "0.xml", box())
        found = read_annotations(tmp_path)
        assert found.faults == ()
        assert [image.splits for image in found.images] == [("test",), ("train",)]

    def test_deleted_objects_are_none_and_misplaced_ones_a_fault(self, tmp_path: Path) -> None:
        assert the_image(read_one(tmp_path, box(more="<deleted>1</deleted>"), box())).labels == ("dog",)
        (tmp_path / "a.xml").write_text("<annotation><objects><item><bndbox/></item></objects></annotation>")
        assert "not in elements <object>" in reasons(read_annotations(tmp_path))["a.xml"]

    def test_difficult_objects_are_ignored_unless_told_otherwise(self, tmp_path: Path) -> None:
        flags = "<truncated>{}</truncated><difficult>{}</difficult>"
        found = the_image(read_one(tmp_path, box(more=flags.format(0, 1)), box(more=flags.format(1, 0))))
        assert found.flags == (frozenset({"truncated"}),)
        assert (len(found.boxes_xyxy), len(found.ignored_xyxy)) == (1, 1)
        found = the_image(read_annotations(tmp_path, ReadOptions(with_difficult=True)))
        assert found.flags == (frozenset({"difficult"}), frozenset({"truncated"}))
        assert (len(found.boxes_xyxy), len(found.ignored_xyxy)) == (2, 0)

    def test_parts_of_an_object_are_none(self, tmp_path: Path) -> None:
        part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
        assert the_image(read_one(tmp_path, box(more=part))).labels == ("dog",)


class TestLayouts:
    def test_the_devkit(self, tmp_path: Path) -> None:
        base = tmp_path / "VOC2007"
        for name in ("000001", "000002", "000003"):
            write_image(base / "JPEGImages" / f"{name}.png")
            write_xml(base / "Annotations" / f"{name}.xml", box(), filename=f"{name}.jpg")
        write_image(base / "SegmentationClass" / "000001.png")
        for split, lines in {"train": "000001\n", "val": "000002\r\n", "trainval": "000001\n000002\n"}.items():
            path = base / "ImageSets" / "Main" / f"{split}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(lines.encode())
        (base / "ImageSets" / "Main" / "dog_train.txt").write_text("000001  1\n")
        found = read_annotations(tmp_path)
        assert found.faults == ()
        assert [(image.name, set(image.splits)) for image in found.images] == [
            ("VOC2007/JPEGImages/000001.png", {"train", "trainval"}),
            ("VOC2007/JPEGImages/000002.png", {"val", "trainval"}),
            ("VOC2007/JPEGImages/000003.png", set()),
        ]
        assert found.unlisted == ("VOC2007/SegmentationClass/000001.png",)

    def test_images_beside_their_xml_in_folders_of_a_split(self, tmp_path: Path) -> None:
        for part in ("train", "valid"):
            write_image(tmp_path / part / "a.png")
            write_xml(tmp_path / part / "a.xml", box())
        assert [image.splits for image in read_annotations(tmp_path).images] == [("train",), ("val",)]

    def test_an_image_of_another_stem_is_the_one_that_filename_names(self, tmp_path: Path) -> None:
        write_image(tmp_path / "photos" / "IMG_1.png")
        write_xml(tmp_path / "labels" / "1.xml", box(), filename="IMG_1.png")
        assert the_image(read_annotations(tmp_path)).name == "photos/IMG_1.png"

    def test_an_image_without_xml_among_those_with_one_is_not_used(self, tmp_path: Path) -> None:
        write_image(tmp_path / "b.png")
        assert read_one(tmp_path, box()).unlabelled == ("b.png",)
        found = read_annotations(tmp_path, ReadOptions(negatives=True))
        assert [image.labels for image in found.images] == [("dog",), ()]

    def test_other_xml_is_passed_over(self, tmp_path: Path) -> None:
        (tmp_path / "model.xml").write_text("<net/>")
        assert the_image(read_one(tmp_path, box())).name == "a.png"


class TestFaults:
    def test_all_are_reported_at_once(self, tmp_path: Path) -> None:
        for name in ("good", "bare", "swapped", "word", "size", "long", "broken", "nameless"):
            write_image(tmp_path / f"{name}.png")
        write_xml(tmp_path / "good.xml", box())
        write_xml(tmp_path / "bare.xml", "<object><name>dog</name></object>")
        write_xml(tmp_path / "swapped.xml", box(), box(20, 7, 15, 26))
        write_xml(tmp_path / "word.xml", box("six"))
        write_xml(tmp_path / "size.xml", size=size(30, 40))
        write_xml(tmp_path / "long.xml", size=size("9" * 5000, 40))  # type: ignore[arg-type]
        write_xml(tmp_path / "nameless.xml", box(name=" "))
        write_xml(tmp_path / "lost.xml", box(), filename="nowhere.jpg")
        (tmp_path / "broken.xml").write_text("<annotation>")
        (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
        (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("ghost\n")
        found = read_annotations(tmp_path)
        assert [image.name for image in found.images] == ["good.png"]
        told = reasons(found)
        assert told["bare.xml"] == "object 1 (dog): has neither bndbox nor polygon; draw its box"
        assert told["swapped.xml"] == "object 2 (dog): bndbox 20 7 15 26 ends before it begins"
        assert told["word.xml"] == "object 1 (dog): xmin is 'six'; accepted: a number"
        assert told["size.xml"] == "size is 30x40, but the upright image is 40x30"
        assert told["long.xml"].startswith("width is '99999")
        assert told["nameless.xml"] == "object 1 ( ): has no name"
        assert told["lost.xml"] == "no image of this stem; filename 'nowhere.jpg': no such image file"
        assert told["broken.xml"].startswith("not XML: no element found")
        assert told["ImageSets/Main/val.txt"] == "lists 'ghost', but there is no usable image of this name"

    def test_an_unknown_size_is_none_and_a_lying_image_is_named_so(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 8
        Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg", exif=exif)
        write_xml(tmp_path / "a.xml", box(), size=size(0, 0))
        assert the_image(read_annotations(tmp_path)).size_wh == (30, 40)
        write_xml(tmp_path / "a.xml", box(), size=size(40, 30))
        assert "EXIF orientation 8" in reasons(read_annotations(tmp_path))["a.xml"]

    @pytest.mark.parametrize(
        "head",
        [
            '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;">]>',
            '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>',
            '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd">',
        ],
    )
    def test_document_types_are_refused(self, tmp_path: Path, head: str) -> None:
        write_image(tmp_path / "a.png")
        write_xml(tmp_path / "a.xml", box(name="&x;" if "ENTITY" in head else "dog"), head=head)
        assert "<!DOCTYPE>" in reasons(read_annotations(tmp_path))["a.xml"]

    def test_two_xml_of_one_image(self, tmp_path: Path) -> None:
        write_xml(tmp_path / "b.xml", box(), filename="a.png")
        assert reasons(read_one(tmp_path, box()))["b.xml"] == "a.png is the image of a.xml already; remove one"

    def test_no_xml_at_all(self, tmp_path: Path) -> None:
        with pytest.raises(AnnotationError, match="holds no Pascal VOC file"):
            read_annotations(tmp_path, ReadOptions(format="voc"))


def test_a_written_file_has_the_devkits_numbers(tmp_path: Path) -> None:
    found = read_one(tmp_path / "source", box(6, 7, 15, 26))
    write_dataset(found.images, tmp_path / "out", format="voc", class_names=("dog",))
    text = (tmp_path / "out" / "Annotations" / "a.xml").read_text()
    for part in ("<width>40</width>", "<xmin>6</xmin>", "<ymin>7</ymin>", "<xmax>15</xmax>", "<ymax>26</ymax>"):
        assert part in text
