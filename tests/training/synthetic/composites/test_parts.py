"""The folder of parts: objects, clutter and backdrops."""

import stat
import sys
from pathlib import Path
from typing import Any

from training.synthetic.composites.cutouts import read_cutouts
from training.synthetic.composites.parts import BACKDROPS, CLUTTER, OBJECTS, PartCounts, render_parts
from training.synthetic.recipes import MeshObject
from training.synthetic.renderer import Workers

FAKE = """#!{python}
import json, sys
import numpy as np
for line in sys.stdin:
    request = json.loads(line)
    if "cutout" in request:
        np.savez(request["out"], rgba=np.full((32, 32, 4), 0.5, np.float16), diameter=np.float32(1))
    else:
        np.savez(request["out"], light=np.full((64, 64, 3), 0.2, np.float16), index=np.zeros((64, 64), np.uint8))
    print("@ok", flush=True)
"""


def test_parts_are_rendered_into_three_folders(tmp_path: Path) -> None:
    program = tmp_path / "blender"
    program.write_text(FAKE.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def progress(items: Any, *, total: int) -> Any:
        return items

    render_parts(
        [MeshObject("nut.obj", "nut")],
        PartCounts(objects=3, clutter=2, backdrops=2),
        tmp_path / "parts",
        workers=Workers(program, count=1, threads=1),
        progress=progress,
        stop_asked=lambda: False,
    )

    assert [cutout.label for cutout in read_cutouts(tmp_path / "parts" / OBJECTS)] == ["nut"] * 3
    assert len(read_cutouts(tmp_path / "parts" / CLUTTER)) == 2
    assert len(list((tmp_path / "parts" / BACKDROPS).glob("*.jpg"))) == 2
