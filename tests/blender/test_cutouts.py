"""Cut-outs in Blender itself: the object alone, cropped, and true to its seed."""

from pathlib import Path

import numpy as np
import pytest

from training.synthetic.composites.cutouts import read_cutouts
from training.synthetic.composites.parts import CLUTTER, OBJECTS, PartCounts, render_parts
from training.synthetic.piles import MeshObject
from training.synthetic.renderer import Workers

ROOT = Path(__file__).parent.parent.parent
PYTHON = ROOT / ".venv-render" / "bin" / "python"
PAWN = ROOT / "examples" / "pawn.obj"

pytestmark = [pytest.mark.blender, pytest.mark.timeout(300)]


def render(out: Path) -> None:
    assert PYTHON.exists(), "Blender is missing; make it with: make render-env"
    render_parts(
        [MeshObject(str(PAWN), "pawn")],
        PartCounts(objects=3, clutter=3, backdrops=0),
        out,
        workers=Workers(PYTHON, count=1, threads=2),
        progress=lambda items, **_: items,
        stop_asked=lambda: False,
    )


def test_cutouts_show_the_object_alone(tmp_path: Path) -> None:
    render(tmp_path / "first")
    pawns, clutter = read_cutouts(tmp_path / "first" / OBJECTS), read_cutouts(tmp_path / "first" / CLUTTER)

    assert [item.label for item in pawns] == ["pawn"] * 3
    assert len(clutter) == 3
    for item in (*pawns, *clutter):
        alpha = item.rgba[..., 3]
        assert max(alpha.shape) <= 256
        assert alpha[0].any()
        assert alpha[:, 0].any()
        assert (alpha == 255).mean() > 0.05
        assert item.rgba[alpha == 255][:, :3].max() > 10  # lit
    for item in pawns:
        # the bounding ball fits the picture: no side is longer than its diameter seen from the nearest camera
        assert 40 < max(item.rgba.shape[:2]) <= 256
        assert item.diameter == pytest.approx(pawns[0].diameter)

    render(tmp_path / "second")
    again = read_cutouts(tmp_path / "second" / OBJECTS)
    assert [item.rgba.shape for item in again] == [item.rgba.shape for item in pawns]
    assert np.abs(again[0].rgba.astype(int) - pawns[0].rgba).mean() < 2
