"""Converting a dataset: whole or not at all, every fault first, and the same training data in any format."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from rendersight.annotations.formats import WRITABLE
from training.cli import main
from training.data.dataset import read_dataset
from training.data.split import own_split, trainable


def paths_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def numbers(folder: Path, **options: str) -> list[tuple[list[list[float]], tuple[str, ...]]]:
    data = read_dataset(folder, **options)
    return [(image.boxes_xyxy.round(4).tolist(), image.labels) for image in data.images]


@pytest.mark.parametrize("to", WRITABLE)
def test_a_converted_dataset_trains_as_the_one_it_was_made_from(
    shapes: Path, tmp_path: Path, to: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(shapes), str(tmp_path / "out"), "--to", to]) == 0
    captured = capsys.readouterr()
    boxes = sum(len(item[1]) for item in numbers(shapes))
    assert captured.out.startswith(f"10 images, {boxes} boxes, read as labelme\n  disc  ")
    assert f"written as {to}: {tmp_path / 'out'}" in captured.err
    assert numbers(tmp_path / "out") == numbers(shapes)
    assert main(["convert", str(tmp_path / "out"), str(tmp_path / "back"), "--to", "labelme", "--link"]) == 0
    assert read_dataset(tmp_path / "back").fingerprint() == read_dataset(shapes).fingerprint()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back", "out"]  # no draft stays


def test_labels_give_the_order_of_the_classes(shapes: Path, tmp_path: Path) -> None:
    flags = ["--to", "coco", "--labels", "square,never,disc"]
    assert main(["convert", str(shapes), str(tmp_path / "out"), *flags]) == 0
    document = json.loads((tmp_path / "out" / "annotations" / "instances.json").read_text())
    assert [(one["id"], one["name"]) for one in document["categories"]] == [(1, "square"), (2, "never"), (3, "disc")]
    assert main(["convert", str(tmp_path / "out"), str(tmp_path / "yolo"), "--to", "yolo"]) == 0
    assert "0: square\n  1: never\n  2: disc" in (tmp_path / "yolo" / "data.yaml").read_text()


def test_all_faults_are_told_before_anything_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "source"
    source.mkdir()
    Image.new("RGB", (20, 20)).save(source / "good.png")
    (source / "broken.png").write_bytes(b"no image")
    (source / "bad.json").write_text("{")
    shape = {"label": "dragn", "points": [[1, 1], [9, 9]], "shape_type": "rectangle"}
    (source / "good.json").write_text(json.dumps({"shapes": [shape, {**shape, "label": "six "}]}))
    flags = ["--to", "yolo", "--labels", "dragon,six "]
    assert main(["convert", str(source), str(tmp_path / "a" / "out"), *flags]) == 2
    told = capsys.readouterr().err
    for part in ("bad.json: not JSON", "broken.png: not an image", "'dragn' is not a class", "label 'six ' "):
        assert part in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("full", "is not empty"),
        ("full/file", "is a file"),
        ("SHAPES", "is not empty"),
        ("SHAPES/inside", "lies inside"),
    ],
)
def test_a_target_that_holds_something_is_refused(
    shapes: Path, tmp_path: Path, target: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    before = paths_in(shapes)
    path = str(shapes) + target.removeprefix("SHAPES") if target.startswith("SHAPES") else str(tmp_path / target)
    assert main(["convert", str(shapes), path, "--to", "voc"]) == 2
    assert message in capsys.readouterr().err
    assert paths_in(shapes) == before
    assert paths_in(tmp_path) == {"full/file"}


def test_an_empty_folder_is_filled_and_readable_for_others(shapes: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert main(["convert", str(shapes), str(tmp_path / "out"), "--to", "voc"]) == 0
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_source_of_several_formats_needs_from(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(shapes), str(tmp_path / "both"), "--to", "labelme"]) == 0
    (tmp_path / "both" / "photo_00.xml").write_text("<annotation></annotation>")
    assert main(["convert", str(tmp_path / "both"), str(tmp_path / "out"), "--to", "coco"]) == 2
    assert "LabelMe (photo_00.json) and Pascal VOC" in capsys.readouterr().err
    assert (
        main(["convert", str(tmp_path / "both"), str(tmp_path / "out"), "--to", "coco", "--from", "voc", "--negatives"])
        == 0
    )
    assert "10 images, 0 boxes, read as voc" in capsys.readouterr().out


def write_splits(shapes: Path, folder: Path) -> Path:
    """The shapes as YOLO, divided into train, val and test."""
    assert main(["convert", str(shapes), str(folder), "--to", "yolo"]) == 0
    names = [path.name for path in sorted((folder / "images").iterdir())]
    parts = {"train": names[:5], "val": names[5:8], "test": names[8:]}
    for split, part in parts.items():
        (folder / f"{split}.txt").write_text("".join(f"./images/{name}\n" for name in part))
    data = "train: train.txt\nval: val.txt\ntest: test.txt\nnames: [disc, square]\n"
    (folder / "data.yaml").write_text(data)
    return folder


def test_splits_are_kept_and_what_is_lost_is_told(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_splits(shapes, tmp_path / "yolo")
    for to in ("coco", "voc", "labelme"):
        assert main(["convert", str(source), str(tmp_path / to), "--to", to]) == 0
    out = capsys.readouterr().out
    assert out.count("splits: test 2, train 5, val 3") == 3
    assert out.count("not written: splits of images, which the format cannot hold: 10") == 1
    for to in ("coco", "voc"):
        assert len(read_dataset(tmp_path / to).of_split("val").images) == 3


def test_a_dataset_s_own_split_is_followed(shapes: Path, tmp_path: Path) -> None:
    data = read_dataset(write_splits(shapes, tmp_path / "yolo"))
    parts = own_split(data)
    assert parts is not None
    assert [len(part.images) for part in parts] == [5, 3]
    assert len(trainable(data).images) == 5
    assert own_split(read_dataset(shapes)) is None
    (tmp_path / "yolo" / "data.yaml").write_text("train: train.txt\nval: train.txt\nnames: [disc, square]\n")
    assert own_split(read_dataset(tmp_path / "yolo")) is None


@pytest.mark.parametrize("command", [["inspect"], ["train", "--out", "run"], ["convert", "--to", "voc", "out"]])
def test_labels_that_are_not_understood_stop_a_command(
    shapes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "set"
    shutil.copytree(shapes, source)
    (source / "more.json").write_text('{"objects": [{"classTitle": "x"}]}')
    verb, *rest = command
    assert main([verb, str(source), *rest]) == 2
    told = "".join(capsys.readouterr())
    assert "more.json: looks like Supervisely" in told
    assert not (tmp_path / "run").exists()
    if verb != "train":
        assert main([verb, str(source), *rest, "--ignore-unread"]) == 0


def test_images_without_a_label_file_are_told_and_not_used(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "set"
    shutil.copytree(shapes, source)
    Image.new("RGB", (20, 20)).save(source / "bare.png")
    assert len(read_dataset(source).images) == 10
    assert "not used: 1 image of" in (told := capsys.readouterr().err)
    assert "bare.png. If they show no object, pass --negatives" in told
    assert main(["inspect", str(source)]) == 0
    assert "warning: unlabelled: 1 image has no label file" in capsys.readouterr().out
    assert main(["inspect", str(source), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unlabelled"] == ["bare.png"]
    for name, flags, count in (("without", [], 10), ("with", ["--negatives"], 11)):
        assert main(["convert", str(source), str(tmp_path / name), "--to", "labelme", *flags]) == 0
        assert len(list((tmp_path / name).glob("*.json"))) == count
    assert "not written: images without a label file (--negatives writes them): 1" in capsys.readouterr().out


def test_what_a_format_cannot_hold_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "set"
    source.mkdir()
    Image.new("RGB", (20, 20)).save(source / "a.png")
    box = {"label": "nut", "points": [[1, 1], [9, 9]], "shape_type": "rectangle"}
    outline = {**box, "points": [[1, 1], [9, 1], [9, 12]], "shape_type": "polygon", "flags": {"blurred": True}}
    (source / "a.json").write_text(json.dumps({"shapes": [{**box, "difficult": True}, outline]}))
    (source / "notes.md").write_text("mine")
    for to in ("voc", "yolo"):
        assert main(["convert", str(source), str(tmp_path / to), "--to", to, "--labels", "nut,bolt"]) == 0
    voc, yolo = capsys.readouterr().out.split("read as labelme")[1:]
    for told in (voc, yolo):
        assert "not written: outlines; the boxes around them are: 1" in told
        assert "not written: the flag 'blurred', which the format cannot hold: 1" in told
        assert "not written: files that are not read: 1" in told
    ignored = "not written: ignored boxes, which the format cannot hold; what they show is background there: 1"
    assert ignored not in voc
    assert ignored in yolo
    assert "'difficult'" not in voc + yolo
    assert "not written: classes without a box, which the format cannot hold: 1" in voc
    assert "classes without a box" not in yolo
    assert "<difficult>1</difficult>" in (tmp_path / "voc" / "Annotations" / "a.xml").read_text()


def test_ignored_boxes_stay_and_their_losses_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "set"
    source.mkdir()
    Image.new("RGB", (20, 20)).save(source / "a.png")
    box = {"label": "nut", "points": [[1, 1], [9, 9]], "shape_type": "rectangle"}
    hidden = {**box, "flags": {"ignore": True, "blurred": True}}
    (source / "a.json").write_text(json.dumps({"shapes": [box, hidden, {**hidden, "label": "smudge"}]}))
    assert main(["convert", str(source), str(tmp_path / "coco"), "--to", "coco"]) == 0
    told = capsys.readouterr().out
    assert "1 images, 1 boxes, 2 ignored boxes, read as labelme" in told
    assert "not written: labels of ignored boxes that are not classes; __ignore__ is: 1" in told
    assert "not written: the flag 'blurred', which the format cannot hold: 2" in told
    assert "the flag 'ignore'" not in told
    (image,) = read_dataset(tmp_path / "coco").images
    assert [item.label for item in image.ignored] == ["nut", "__ignore__"]
