"""From a mesh to a release by the command itself, at the smallest sizes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from model_store import store

ROOT = Path(__file__).parent.parent.parent

PRESET = """
architecture = "fasterrcnn_mobilenet_v2_fpn"
weights = "none"
min_size = 128
max_size = 128
rois_per_image = 16
epochs = 1
batch_size = 2
crop_px = 96
composites = 4
hold_out = 2
"""


@pytest.mark.blender
@pytest.mark.timeout(300)
def test_a_mesh_becomes_a_release(tmp_path: Path) -> None:
    preset = tmp_path / "tiny.toml"
    preset.write_text(PRESET)
    words = [
        "make",
        ROOT / "examples" / "pawn.obj",
        "--label",
        "pawn",
        "--cutouts",
        "3",
        "--count",
        "5",
        "--preset",
        preset,
    ]
    words += ["--blender", ROOT / ".venv-render" / "bin" / "python", "--device", "cpu", "--store", tmp_path / "store"]
    command = [sys.executable, "-m", "training", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    release = store.find(tmp_path / "store", "pawn@1")
    assert release.manifest.class_names == ("pawn",)
    assert "curl -F image=@runs/make/pawn/renders/00000" in done.stderr.splitlines()[-1]
    assert (tmp_path / "runs" / "make" / "pawn" / "composites.jpg").is_file()
    assert (tmp_path / "runs" / "make" / "pawn" / "report" / "figures.json").is_file()
