"""The folder of parts: objects, clutter and backdrops."""

from pathlib import Path
from typing import Any

import pytest

from tests.training.fake_blender import fake
from training.data.dataset import BrokenDataset
from training.synthetic.composites.cutouts import read_cutouts
from training.synthetic.composites.parts import BACKDROPS, CLUTTER, OBJECTS, PartCounts, render_parts
from training.synthetic.piles import MeshObject
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


def test_failed_cutouts_do_not_keep_the_rest_from_being_rendered(tmp_path: Path) -> None:
    """A cut-out of nothing fails."""
    blender = fake(tmp_path)
    blender.write_text(blender.read_text().replace("np.full((32, 32, 4), 0.5", "np.full((32, 32, 4), 0.0"))
    with pytest.raises(BrokenDataset) as caught:
        render_parts(
            [MeshObject("nut.obj", "nut")],
            PartCounts(objects=1, clutter=1, backdrops=2),
            tmp_path / "parts",
            workers=Workers(blender, count=1, threads=1),
            progress=lambda items, **_: items,
            stop_asked=lambda: False,
        )
    assert len(caught.value.faults) == 2
    assert len(list((tmp_path / "parts" / BACKDROPS).glob("*.jpg"))) == 2
