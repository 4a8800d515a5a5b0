"""The folder of parts: objects, clutter and backdrops."""

from pathlib import Path
from typing import Any

from tests.training.fake_blender import fake
from training.synthetic.composites.cutouts import read_cutouts
from training.synthetic.composites.parts import BACKDROPS, CLUTTER, OBJECTS, PartCounts, render_parts
from training.synthetic.recipes import MeshObject
from training.synthetic.renderer import Workers


def test_parts_are_rendered_into_three_folders(tmp_path: Path) -> None:
    def progress(items: Any, *, total: int) -> Any:
        return items

    render_parts(
        [MeshObject("nut.obj", "nut")],
        PartCounts(objects=3, clutter=2, backdrops=2),
        tmp_path / "parts",
        workers=Workers(fake(tmp_path), count=1, threads=1),
        progress=progress,
        stop_asked=lambda: False,
    )

    assert [cutout.label for cutout in read_cutouts(tmp_path / "parts" / OBJECTS)] == ["nut"] * 3
    assert len(read_cutouts(tmp_path / "parts" / CLUTTER)) == 2
    assert len(list((tmp_path / "parts" / BACKDROPS).glob("*.jpg"))) == 2
