"""The verb `cutouts`, with a small program in Blender's place, and a training with what it made."""

from pathlib import Path

import pytest

from tests.training.fake_blender import PAWN, fake
from training.cli import main
from training.records.run_folder import RunRecord, read_metrics

FEW = ["--count", "3", "--clutter", "2", "--backdrops", "1", "--workers", "1"]


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    program = fake(tmp_path)
    out = tmp_path / "parts"
    assert main(["cutouts", str(PAWN), "--label", "disc", "--blender", str(program), "--out", str(out), *FEW]) == 0
    return out


def test_writes_three_kinds_of_parts(parts: Path) -> None:
    counts = {name: len([*(parts / name).glob("*.[pj][np]g")]) for name in ("objects", "clutter", "backdrops")}
    assert counts == {"objects": 3, "clutter": 2, "backdrops": 1}


def test_run_trains_on_images_and_composites(shapes: Path, parts: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    small = ["min_size=96", "max_size=96", "crop_px=96", "composites=3", "rois_per_image=16"]
    command = ["train", str(shapes), "--out", str(out), "--composites-from", str(parts), "--weights", "none"]
    command += ["--architecture", "fasterrcnn_mobilenet_v2_fpn", "--epochs", "1"]
    assert main([*command, *(part for item in small for part in ("--set", item))]) == 0
    assert len(read_metrics(out)) == 1


@pytest.mark.parametrize("given", [["--composites-from", "x"], ["--set", "composites=9", "--set", "crop_px=96"]])
def test_rejects_half_of_the_two_flags(
    shapes: Path, tmp_path: Path, given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(shapes), "--out", str(tmp_path / "run"), "--weights", "none", *given]) == 2
    assert "one of them is missing" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_preset_of_make_trains_without_composites(shapes: Path, tmp_path: Path) -> None:
    preset = tmp_path / "mixed.toml"
    preset.write_text("composites = 9\ncrop_px = 96\nmin_size = 96\nmax_size = 96\nrois_per_image = 16\n")
    command = ["train", str(shapes), "--out", str(tmp_path / "run"), "--preset", str(preset), "--weights", "none"]
    assert main([*command, "--architecture", "fasterrcnn_mobilenet_v2_fpn", "--epochs", "1"]) == 0
    assert RunRecord.read(tmp_path / "run").config.composites == 0


def test_rejects_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cutouts", "dice", "--out", str(tmp_path / "x")]) == 2
    assert "dice is a recipe; cutouts takes mesh files (.glb " in capsys.readouterr().err


def test_missing_cutouts_leave_no_run_folder(shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    command = ["train", str(shapes), "--out", str(out), "--composites-from", str(tmp_path / "nowhere")]
    command += ["--architecture", "fasterrcnn_mobilenet_v2_fpn", "--weights", "none"]
    assert main([*command, "--set", "composites=3", "--set", "crop_px=96"]) == 2
    assert "holds no cut-outs; make them with" in capsys.readouterr().err
    assert not out.exists()
