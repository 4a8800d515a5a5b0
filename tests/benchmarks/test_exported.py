"""Exported files are measured beside our own engines."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.exported import main
from rendersight.images import RgbImage


@pytest.mark.long
def test_prints_a_row_for_each_file_and_engine(
    tiny_store: Path, noise: Callable[..., RgbImage], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(2):
        path = tmp_path / f"{seed}.png"
        Image.fromarray(noise(64, 96, seed)).save(path)
        shapes = [{"label": "bee", "shape_type": "rectangle", "points": [[10, 10], [40, 50]]}]
        path.with_suffix(".json").write_text(json.dumps({"shapes": shapes, "imagePath": path.name, "imageData": None}))
    folder = str(tmp_path)
    main(["tiny", "--store", str(tiny_store), "--calibration", folder, "--data", folder, "--cores", "1"])
    title, head, *rows = capsys.readouterr().out.splitlines()
    assert title == f"cores: 1; images: 2 of {folder}"
    assert head.split() == ["mAP", "AP50", "ms", "MB"]
    assert [row[:32].strip() for row in rows] == ["ONNX Runtime, fp32", "ONNX Runtime, int8", "our torch-fp32"]
    exact, _, eager = (row[32:].split() for row in rows)
    assert exact[:2] == eager[:2]
    assert float(rows[1].split()[-1]) < 0.4 * float(rows[0].split()[-1])  # MB
