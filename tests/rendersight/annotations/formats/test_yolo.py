"""YOLO: shares of the upright image, data.yaml's ways to name images, and every fault at once."""

from pathlib import Path

import pytest
import yaml
from PIL import Image

from rendersight.annotations import AnnotationError, ReadOptions
from rendersight.annotations.dataset import AnnotatedDataset, read_annotations
from rendersight.annotations.formats.yolo_labels import label_path
from rendersight.annotations.writing import write_dataset
from tests.rendersight.annotations.test_dataset import the_image, write_image

LINE = "1 0.25 0.5333333333 0.25 0.6666666667\n"  # of 40 x 30 px: x 5 to 15, y 6 to 26
BOX = [5, 6, 15, 26]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def read_one(
    folder: Path, labels: str = LINE, data: str = "train: images\nval:\nnames: [cat, dog]\n"
) -> AnnotatedDataset:
    write_image(folder / "images" / "a.png")
    write(folder / "labels" / "a.txt", labels)
    write(folder / "data.yaml", data)
    return read_annotations(folder)


class TestBoxes:
    def test_centre_and_size_in_shares_of_the_image(self, tmp_path: Path) -> None:
        found = read_one(tmp_path)
        assert the_image(found).boxes_xyxy[0].tolist() == pytest.approx(BOX, abs=1e-5)
        assert the_image(found).labels == ("dog",)
        assert found.class_names == ("cat", "dog")

    def test_shares_are_of_the_upright_image(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        (tmp_path / "images").mkdir()
        Image.new("RGB", (40, 30)).save(tmp_path / "images" / "a.jpg", exif=exif)
        write(tmp_path / "labels" / "a.txt", "0 0.5 0.5 0.5 0.5\n")
        write(tmp_path / "data.yaml", "train: images\nnames: [cat]\n")
        assert the_image(read_annotations(tmp_path)).boxes_xyxy.tolist() == [[7.5, 10, 22.5, 30]]

    def test_the_line_of_a_segment_gives_its_extent(self, tmp_path: Path) -> None:
        found = read_one(tmp_path, "0 0.25 0.2 0.5 0.1 0.75 0.9\n")
        assert the_image(found).boxes_xyxy[0].tolist() == pytest.approx([10, 3, 30, 27], abs=1e-5)

    def test_the_points_of_a_pose_are_left_out(self, tmp_path: Path) -> None:
        data = "train: images\nnames: [cat, dog]\nkpt_shape: [2, 3]\n"
        found = read_one(tmp_path, LINE.strip() + " 0.1 0.1 2 0.9 0.9 2\n", data)
        assert the_image(found).boxes_xyxy[0].tolist() == pytest.approx(BOX, abs=1e-5)

    def test_points_of_a_pose_without_kpt_shape_are_a_fault(self, tmp_path: Path) -> None:
        (fault,) = read_one(tmp_path, LINE.strip() + " 0.1 0.1 2 0.9 0.9 2\n").faults
        assert "data.yaml needs kpt_shape" in fault.reason

    def test_an_empty_label_file_means_no_objects_and_none_needs_negatives(self, tmp_path: Path) -> None:
        write_image(tmp_path / "images" / "b.png")
        assert read_one(tmp_path, "\n").unlabelled == ("images/b.png",)
        found = read_annotations(tmp_path, ReadOptions(negatives=True))
        assert (found.faults, [image.labels for image in found.images]) == ((), [(), ()])

    def test_a_box_beyond_the_edge_is_clipped(self, tmp_path: Path) -> None:
        found = read_one(tmp_path, "0 1 0.5 0.5 0.5\n")
        assert the_image(found).boxes_xyxy.tolist() == [[30, 7.5, 40, 22.5]]
        assert [misfit.beyond_px for misfit in found.misfits] == [10]


class TestData:
    @pytest.mark.parametrize(
        "names", ["[no, on]", "{0: no, 1: on}", "\n  0: no\n  1: on", "['no', \"on\"]", "{1: on, 0: no}"]
    )
    def test_names_are_text_whatever_yaml_would_make_of_it(self, tmp_path: Path, names: str) -> None:
        assert read_one(tmp_path, data=f"train: images\nnames: {names}\n").class_names == ("no", "on")

    @pytest.mark.parametrize(
        ("train", "val"),
        [
            ("images/train", "images/val"),
            ("train/images", "valid/images"),
            ("../train/images", "../valid/images"),  # as Roboflow writes them
            ("[images/train]", "[images/val]"),
        ],
    )
    def test_splits_are_folders(self, tmp_path: Path, train: str, val: str) -> None:
        for place, name in ((train, "a"), (val, "b")):
            folder = tmp_path / place.strip("[]").removeprefix("../")
            path = write_image(folder / f"{name}.png")
            write(label_path(path), LINE)
        write(tmp_path / "data.yaml", f"train: {train}\nval: {val}\ntest: ../nowhere\nnames: [cat, dog]\n")
        found = read_annotations(tmp_path)
        assert found.faults == ()
        assert sorted((Path(image.name).name, image.splits, image.labels) for image in found.images) == [
            ("a.png", ("train",), ("dog",)),
            ("b.png", ("val",), ("dog",)),
        ]
        assert "'../nowhere' is neither a folder" in found.remarks[0]

    def test_splits_are_lists(self, tmp_path: Path) -> None:
        for name in "ab":
            write_image(tmp_path / "images" / f"{name}.png")
            write(tmp_path / "labels" / f"{name}.txt", LINE)
        write(tmp_path / "train.txt", "./images/a.png\n\n")
        write(tmp_path / "val.txt", f"data\\images\\a.png\r\n{tmp_path / 'images' / 'b.png'}\n")
        data = "train: train.txt\nval: val.txt\nnames: [cat, dog]\n"
        found = read_one(tmp_path, data=data)
        assert found.faults == ()
        assert [(image.name, image.splits) for image in found.images] == [
            ("images/a.png", ("train", "val")),
            ("images/b.png", ("val",)),
        ]

    @pytest.mark.parametrize("root", ["../set", ".", "/home/somebody/datasets/set"])
    def test_path_is_the_root_where_there_is_such_a_folder(self, tmp_path: Path, root: str) -> None:
        read_one(tmp_path / "set")
        data = write(tmp_path / "set" / "coco8.yaml", f"path: {root}\ntrain: images\nval: images\nnames: [cat, dog]\n")
        found = read_annotations(data)
        assert the_image(found).name == "images/a.png"

    def test_a_folder_with_classes_txt_alone(self, tmp_path: Path) -> None:
        write_image(tmp_path / "a.png")
        write(tmp_path / "a.txt", LINE)
        write(tmp_path / "classes.txt", "cat\ndog\n")
        found = read_annotations(tmp_path)
        assert (found.format, the_image(found).labels) == ("yolo", ("dog",))

    @pytest.mark.parametrize("written", ["nuts-1/train/images", "/content/nuts-1/train/images", "train\\\\images"])
    def test_a_path_of_another_folder_is_shortened(self, tmp_path: Path, written: str) -> None:
        write_image(tmp_path / "train" / "images" / "a.png")
        write(tmp_path / "train" / "labels" / "a.txt", LINE)
        write(tmp_path / "data.yaml", f'train: "{written}"\nnames: [cat, dog]\n')
        assert the_image(read_annotations(tmp_path)).labels == ("dog",)

    def test_a_lone_val_part_is_still_val(self, tmp_path: Path) -> None:
        assert the_image(read_one(tmp_path, data="val: images\nnames: [cat, dog]\n")).splits == ("val",)

    def test_names_that_are_text_are_the_only_fault(self, tmp_path: Path) -> None:
        found = read_one(tmp_path, data="train: images\nnames: cat\n")
        assert [str(fault) for fault in found.faults] == [
            "data.yaml: names is 'cat'; accepted: a list of names, such as names: [nut, bolt]"
        ]

    def test_has_no_pixel_origin(self, tmp_path: Path) -> None:
        read_one(tmp_path)
        with pytest.raises(AnnotationError, match="--pixel-origin does not apply"):
            read_annotations(tmp_path, ReadOptions(pixel_origin=1))

    def test_images_that_no_split_holds_are_told(self, tmp_path: Path) -> None:
        write_image(tmp_path / "more" / "b.png")
        assert read_one(tmp_path).unlisted == ("more/b.png",)


class TestFolders:
    """Datasets without data.yaml, as labelImg, makesense.ai, Darknet and CVAT write them."""

    @pytest.mark.parametrize(
        ("image", "label", "names"),
        [
            ("images/a.png", "labels/a.txt", "labels/classes.txt"),
            ("images/a.png", "labels/a.txt", "classes.txt"),
            ("Images/a.png", "Labels/a.TXT", "Classes.txt"),
            ("image/a.png", "label/a.txt", "labels.txt"),
            ("my_images/a.png", "my_labels/a.txt", "classes.txt"),
            ("images-new/x/a.png", "labels-new/x/a.txt", "classes.txt"),
            ("img/x/a.png", "labels/x/a.txt", "obj.names"),
            ("a.png", "labels/a.txt", "labels/classes.txt"),
            ("a.png", "a.txt", "data.names"),
            ("data/obj/a.png", "data/obj/a.txt", "data/obj.names"),
            ("JPEGImages/a.png", "annotations/a.txt", "predefined_classes.txt"),
            ("a.png", "a.txt", "_darknet.labels"),
        ],
    )
    def test_finds_labels_and_names(self, tmp_path: Path, image: str, label: str, names: str) -> None:
        write_image(tmp_path / image)
        write(tmp_path / label, LINE)
        write(tmp_path / names, "cat\ndog\n\n")
        found = read_annotations(tmp_path)
        assert (found.format, found.class_names, found.unused) == ("yolo", ("cat", "dog"), ())
        assert the_image(found).labels == ("dog",)

    def test_takes_names_from_a_yaml_without_splits(self, tmp_path: Path) -> None:
        write_image(tmp_path / "a.png")
        write(tmp_path / "a.txt", LINE)
        write(tmp_path / "data.yaml", "nc: 2\nnames: [cat, dog]\n")
        write(tmp_path / "other.yaml", "names: of something\n")
        found = read_annotations(tmp_path)
        assert (the_image(found).labels, [fault.file for fault in found.unused]) == (("dog",), ["other.yaml"])

    def test_takes_names_from_the_options_else_numbers(self, tmp_path: Path) -> None:
        write_image(tmp_path / "a.png")
        write(tmp_path / "a.txt", LINE)
        found = read_annotations(tmp_path)
        assert the_image(found).labels == ("1",)
        assert "name them with --labels" in found.remarks[0]
        named = read_annotations(tmp_path, ReadOptions(class_names=("cat", "dog")))
        assert (the_image(named).labels, named.remarks) == (("dog",), ())
        assert "class 1 has no name" in read_annotations(tmp_path, ReadOptions(class_names=("cat",))).faults[0].reason

    def test_accepts_the_same_names_twice_and_refuses_different_ones(self, tmp_path: Path) -> None:
        for part in ("train", "val"):
            write_image(tmp_path / part / "images" / "a.png")
            write(tmp_path / part / "labels" / "a.txt", LINE)
            write(tmp_path / part / "labels" / "classes.txt", "cat\ndog\n")
        found = read_annotations(tmp_path)
        assert [(image.splits, image.labels) for image in found.images] == [
            (("train",), ("dog",)),
            (("val",), ("dog",)),
        ]
        write(tmp_path / "classes.txt", "dog\ncat\n")
        with pytest.raises(AnnotationError, match="give different class names"):
            read_annotations(tmp_path)
        (tmp_path / "classes.txt").write_bytes("größe\n".encode("latin-1"))
        with pytest.raises(AnnotationError, match=r"^classes\.txt: is not UTF-8"):
            read_annotations(tmp_path)

    @pytest.mark.parametrize("listed", ["a.png", "data/a.png", "./a.png", "C:\\old\\a.png"])
    def test_reads_lists_as_splits(self, tmp_path: Path, listed: str) -> None:
        for name in "ab":
            write_image(tmp_path / f"{name}.png")
            write(tmp_path / f"{name}.txt", LINE)
        write(tmp_path / "valid.txt", f"{listed}\n")
        found = read_annotations(tmp_path)
        assert [image.splits for image in found.images] == [("val",), ()]
        write(tmp_path / "valid.txt", "a.png\nlost.png\n")
        assert [fault.file for fault in read_annotations(tmp_path).faults] == ["valid.txt"]

    def test_a_label_file_away_from_its_image_is_a_fault(self, tmp_path: Path) -> None:
        write_image(tmp_path / "a.png")
        write(tmp_path / "elsewhere" / "a.txt", LINE)
        assert "elsewhere/a.txt: is the label file of no image" in str(read_annotations(tmp_path).faults[0])


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        ("images/a.png", "labels/a.txt"),
        ("images/train/a.b.png", "labels/train/a.b.txt"),
        ("images/x/images/a.png", "images/x/labels/a.txt"),
        ("photos/a.png", "photos/a.txt"),
        ("photos/images", "photos/images.txt"),
    ],
)
def test_where_labels_lie(image: str, labels: str) -> None:
    assert label_path(Path("/set", image)) == Path("/set", labels)


class TestFaults:
    def test_all_are_reported_at_once(self, tmp_path: Path) -> None:
        lines = {
            "good": LINE,
            "strange": "7 0.5 0.5 0.1 0.1\n",
            "px": "0 12 15 10 20\n",
            "word": "dog 0.5 0.5 0.1 0.1\n",
            "short": f"{LINE}0 0.5 0.5\n",
            "scored": "0 0.5 0.5 0.1 0.1 0.9\n",
            "negative": "0 0.5 0.5 -0.001 0.1\n",
            "nan": "0 nan 0.5 0.1 0.1\n",
        }
        for name, text in lines.items():
            write_image(tmp_path / "images" / f"{name}.png")
            write(tmp_path / "labels" / f"{name}.txt", text)
        write_image(tmp_path / "images" / "good.bmp")
        write(tmp_path / "labels" / "lost.txt", LINE)
        write(tmp_path / "labels" / "notes.txt", "these are the labels\n")
        write(tmp_path / "val.txt", "images/ghost.png\n")
        found = read_one(tmp_path, data="train: images\nval: [val.txt, nowhere]\nnc: 3\nnames: [cat, dog]\n")
        assert [image.name for image in found.images] == ["images/a.png", "images/good.bmp"]
        assert [str(fault) for fault in found.faults] == [
            "data.yaml: nc is '3', but there are 2 names; correct one of them",
            "data.yaml: val: 'nowhere' is neither a folder nor a list of images",
            "images/good.png: has the same stem as good.bmp; a label file cannot belong to both, so rename or remove "
            "one",
            "labels/lost.txt: is a label file, but there is no image of this stem",
            "labels/nan.txt: line 1: 'nan 0.5 0.1 0.1' is beyond 0 to 1; accepted: fractions of the image's size",
            "labels/negative.txt: line 1: width -0.001 or height 0.1 is negative; accepted: 0 or more",
            "labels/px.txt: line 1: '12 15 10 20' is beyond 0 to 1; accepted: fractions of the image's size",
            "labels/scored.txt: line 1: there are 5 numbers after the class; accepted: 4 for a box, x and y of three "
            "or more points for an outline",
            "labels/short.txt: line 2: there are 2 numbers after the class; accepted: 4 for a box, x and y of three "
            "or more points for an outline",
            "labels/strange.txt: line 1: class 7 has no name; the classes with a name are 0 to 1",
            "labels/word.txt: line 1: 'dog 0.5 0.5 0.1 0.1' is not a class and numbers",
            "val.txt: line 1: 'images/ghost.png': no such image file",
        ]

    @pytest.mark.parametrize(
        "names", ["3", "[]", "[[a], b]", "{x: a}", "&a [*a]", pytest.param(f"{{{'9' * 5000}: a}}", id="huge")]
    )
    def test_names_that_are_none(self, tmp_path: Path, names: str) -> None:
        assert any(
            "names" in fault.reason for fault in read_one(tmp_path, data=f"train: images\nnames: {names}").faults
        )

    @pytest.mark.parametrize(
        "text", ["names: [", "names: !!python/object/apply:os.getcwd []\ntrain: images", "[" * 400]
    )
    def test_a_yaml_that_is_none_makes_no_object(self, tmp_path: Path, text: str) -> None:
        path = write(tmp_path / "data.yaml", text)
        assert {fault.file for fault in read_annotations(path).faults} == {"data.yaml"}

    def test_neither_data_yaml_nor_names(self, tmp_path: Path) -> None:
        with pytest.raises(AnnotationError, match=r"holds neither a data\.yaml .* nor label files"):
            read_annotations(tmp_path, ReadOptions(format="yolo"))


def test_what_is_written_is_plain_yolo(tmp_path: Path) -> None:
    found = read_one(tmp_path / "source", LINE.replace("0.5333333333", "0.5"))
    write_dataset(found.images, tmp_path / "out", format="yolo", class_names=("dog", "no"))
    assert (tmp_path / "out" / "labels" / "images" / "a.txt").exists() is False
    data = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())
    assert data == {"train": "images", "val": None, "names": {0: "dog", 1: "no"}}
    (label,) = (tmp_path / "out").rglob("*.txt")
    assert label.read_text() == "0 0.25 0.5 0.25 0.6666666667\n"
