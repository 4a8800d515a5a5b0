"""The verb `inspect` on the command line; `convert` is in `test_conversion.py`."""

import io
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from rendersight import heif, images
from training.cli import main


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run where results may lie."""
    monkeypatch.chdir(tmp_path)


def test_inspect_prints_counts_and_writes_a_page_and_a_sheet(shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(shapes), "--sheet", "a/sheet.jpg", "--report", "b/report.html"]) == 0
    captured = capsys.readouterr()
    assert "10 images" in captured.out
    assert "2 images without objects" in captured.out
    assert "warning: balance: 2 classes have fewer than 20 boxes" in captured.out
    with Image.open("a/sheet.jpg") as sheet:
        assert sheet.width > 1000
    assert Path("b/report.html").read_text("utf-8").startswith("<!doctype html>")
    assert "report: b/report.html" in captured.err


@pytest.mark.parametrize("name", ["sheet.heic", "sheet.txt"])
def test_refuses_a_sheet_in_a_format_that_is_not_written(
    shapes: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(["inspect", str(shapes), "--sheet", name]) == 2
    assert f"{name} is not the name of an image file" in capsys.readouterr().err


def test_the_results_lie_in_runs_under_the_dataset_s_name(shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(shapes)]) == 0
    assert sorted(path.name for path in Path("runs/inspect").iterdir()) == [f"{shapes.name}.html", f"{shapes.name}.jpg"]


def test_inspect_prints_boxes_and_findings_as_json(shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = ["--architecture", "fasterrcnn_mobilenet_v2_fpn", "--set", "min_size=96"]
    assert main(["inspect", str(shapes), "--json", *network]) == 0
    data = json.loads(capsys.readouterr().out)
    written = json.loads((shapes / "photo_00.json").read_text())
    first = data["images"][0]
    assert (first["name"], first["width"], first["height"]) == ("photo_00.png", 96, 96)
    assert [item["box"] for item in first["objects"]] == [
        [*shape["points"][0], *shape["points"][1]] for shape in written["shapes"]
    ]
    assert (data["format"], data["network"]["min_size"]) == ("labelme", 96)
    assert {finding["check"] for finding in data["findings"]} == {"balance"}


def test_inspect_counts_and_draws_ignored_boxes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (100, 100), "white").save(tmp_path / "a.png")
    box = {"label": "nut", "points": [[10, 10], [30, 40]], "shape_type": "rectangle"}
    hidden = {**box, "label": "smudge", "points": [[50, 50], [90, 80]], "flags": {"ignore": True}}
    (tmp_path / "a.json").write_text(json.dumps({"shapes": [box, hidden]}))
    assert main(["inspect", str(tmp_path), "--sheet", "sheet.png", "--report", "report.html"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("1 images, 1 boxes, 1 ignored box, 0 images without objects\n\n  nut      1\n\nbox size")
    assert "<b>1</b>ignored boxes" in Path("report.html").read_text("utf-8")
    drawn = np.asarray(Image.open("sheet.png"))
    assert (drawn[40:98, 50:102] == 128).all(axis=2).sum() > 50  # below the object's coloured box
    assert main(["inspect", str(tmp_path), "--json"]) == 0
    (image,) = json.loads(capsys.readouterr().out)["images"]
    assert image["ignored"] == [{"label": "smudge", "box": [50, 50, 90, 80]}]
    assert [item["label"] for item in image["objects"]] == ["nut"]


@pytest.mark.parametrize("depth", ["12 bits", "10 bits in colour", "float"])
def test_images_of_more_than_8_bits_show_their_contrast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], depth: str
) -> None:
    ramp = np.linspace(0, 4095, 64 * 48).reshape(48, 64)
    if depth == "float":
        Image.fromarray(ramp.astype(np.float32)).save(tmp_path / "a.tif")
    elif depth == "12 bits":
        Image.fromarray(ramp.astype(np.uint16)).save(tmp_path / "a.png")
    else:
        cv2.imwrite(str(tmp_path / "a.png"), np.stack([ramp / 4] * 3, axis=2).astype(np.uint16))
    assert main(["inspect", str(tmp_path)]) == 0
    assert "exposure" not in capsys.readouterr().out


@pytest.mark.parametrize("is_readable", [True, False])
def test_inspect_names_heic_photos_that_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_readable: bool
) -> None:
    monkeypatch.setattr(heif, "IS_READABLE", is_readable)
    if not is_readable:
        monkeypatch.setattr(images, "WEB_FORMATS", ("JPEG", "PNG"))
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
    (tmp_path / "IMG_0.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(300))
    reason = (
        "the HEIC has a box that is cut short" if is_readable else "HEIC is not read here: convert the photo to JPEG"
    )
    assert main(["inspect", str(tmp_path)]) == 2
    assert f"IMG_0.HEIC: {reason}" in capsys.readouterr().out


def test_heic_photos_are_read_with_the_plugin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pillow_heif.from_pillow(Image.linear_gradient("L").convert("RGB")).save(tmp_path / "IMG_0.HEIC")
    (tmp_path / "IMG_0.json").write_text(
        '{"shapes": [{"label": "nut", "points": [[9, 9], [99, 99]], "shape_type": "rectangle"}], '
        '"imagePath": "IMG_0.HEIC", "imageData": null}'
    )
    assert main(["inspect", str(tmp_path)]) == 0
    assert "1 images, 1 boxes" in capsys.readouterr().out


def test_inspect_names_images_that_show_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (40, 30), (9, 9, 9)).save(tmp_path / "a.png")
    assert main(["inspect", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "warning: exposure: As read, 1 image shows next to nothing: nearly black 1.\n  a.png\n" in out


def test_inspect_reports_every_fault_and_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.png").write_bytes(b"no image")
    assert main(["inspect", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert "a.json: not JSON" in captured.out
    assert "b.png: " in captured.out
    assert "2 files of" in captured.err
    assert "a.json: not JSON" in Path("runs/inspect", f"{tmp_path.name}.html").read_text("utf-8")


def test_a_dataset_is_compared_with_another_one(shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("other").mkdir()
    with Image.open(shapes / "photo_03.png") as photo:
        photo.save("other/again.jpg", quality=60)
    assert main(["inspect", str(shapes), "--against", "other"]) == 0
    assert "warning: leaks: 1 image is also in other." in capsys.readouterr().out
    assert main(["inspect", str(shapes), "--against", "nowhere"]) == 2


def test_a_network_that_does_not_exist_is_told(shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(shapes), "--architecture", "yolo"]) == 2
    assert "'yolo' is unknown" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_progress(shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["inspect", str(shapes)]) == 0
    assert f"read {shapes.name}:" in terminal.getvalue()
    assert "contact sheet:   0%" in terminal.getvalue()
