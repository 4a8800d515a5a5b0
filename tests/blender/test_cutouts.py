"""Cut-outs in Blender itself: the object alone, cropped, and true to its seed."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from training.synthetic.composites.cutouts import CutoutSpec, clutter, read_cutouts
from training.synthetic.composites.parts import CLUTTER, OBJECTS, PartCounts, render_parts
from training.synthetic.piles import MeshObject
from training.synthetic.renderer import Blender, Workers

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


CORNERS = [(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]
SIDES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
BOARD = ((4, 2, 0.1), (0, 0, 0))
CHIPS = [((0.3, 0.2, 0.2), (x, y, 0.15)) for x in (-1.5, 0, 1.5) for y in (-0.6, 0.6)]
"""Size and middle of a box."""


def boxes_obj(path: Path, boxes: Sequence[tuple[tuple[float, ...], tuple[float, ...]]]) -> str:
    """Write a mesh of boxes, each a piece of its own; its z axis is Blender's."""
    lines, count = [], 0
    for size, middle in boxes:
        for corner in CORNERS:
            x, y, z = (c * s + m for c, s, m in zip(corner, size, middle, strict=True))
            lines.append(f"v {x:g} {z:g} {-y:g}")
        lines += ["f " + " ".join(str(count + corner + 1) for corner in side) for side in SIDES]
        count += len(CORNERS)
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def aspect(blender: Blender, spec: CutoutSpec) -> float:
    """Return width / height of the picture of a thing, seen from above."""
    from_above = replace(spec, turn=(1.0, 0.0, 0.0, 0.0), pose=None, distance=8.0, elevation_deg=89.9)
    alpha = blender.ask({"cutout": asdict(from_above)})["rgba"][..., 3]
    rows, columns = np.flatnonzero((alpha > 0.5).any(axis=1)), np.flatnonzero((alpha > 0.5).any(axis=0))
    return float(np.ptp(columns) + 1) / float(np.ptp(rows) + 1)


def test_parts_of_an_object_come_on_a_body_of_another_shape(tmp_path: Path) -> None:
    board = boxes_obj(tmp_path / "board.obj", [BOARD, *CHIPS])
    spec = clutter([MeshObject(board, "board")], 1)
    with Blender(PYTHON, threads=2) as blender:
        assert aspect(blender, replace(spec, is_misassembled=False, parts=())) == pytest.approx(2, rel=0.05)
        wrong = [aspect(blender, replace(spec, seed=seed)) for seed in range(4)]
    assert np.ptp(wrong) > 0.5
    assert sum(abs(found - 2) > 0.1 for found in wrong) >= 2


def test_object_of_one_piece_has_no_parts_to_move(tmp_path: Path) -> None:
    cube = boxes_obj(tmp_path / "bar.obj", [((5, 1, 1), (0, 0, 0))])
    spec = clutter([MeshObject(cube, "bar")], 1)
    with Blender(PYTHON, threads=2) as blender:
        shown, assembly = aspect(blender, spec), aspect(blender, replace(spec, is_misassembled=False))
    assert shown == pytest.approx(assembly, rel=0.02)
    assert shown != pytest.approx(5, rel=0.1)
