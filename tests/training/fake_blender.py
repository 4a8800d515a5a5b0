"""A small program in Blender's place, at the seam that production uses, and what is trained on its pictures."""

import stat
import sys
from pathlib import Path

from training.config import TrainConfig

ROOT = Path(__file__).parent.parent.parent
PAWN = ROOT / "examples" / "pawn.obj"

FAKE = """#!{python}
import json, sys
import numpy as np
if "-c" in sys.argv:  # the question whether bpy is there
    sys.exit({rc})
for line in sys.stdin:
    request = json.loads(line)
    if "cutout" in request:
        np.savez(request["out"], rgba=np.full((32, 32, 4), 0.5, np.float16), diameter=np.float32(1), is_plain=True)
        print("@ok", flush=True)
        continue
    if "settle" in request:  # nothing moves
        things = request["settle"]["things"]
        arrays = dict(
            positions=[(*thing["position"], 0.5)[:3] for thing in things],
            turns=[thing.get("turn", (1, 0, 0, 0)) for thing in things],
            scales=[1.0 for thing in things],
            radii=[0.5 for thing in things],
        )
        shapes = dict(positions=(-1, 3), turns=(-1, 4), scales=-1, radii=-1)
        np.savez(request["out"], **{{name: np.reshape(arrays[name], shapes[name]) for name in arrays}})
        print("@ok", flush=True)
        continue
    spec = request["spec"]
    {behaviour}
    labelled = [thing for thing in spec["things"] if thing["label"] is not None]
    light, index = np.full((96, 96, 3), 0.2, np.float16), np.zeros((96, 96), np.uint8)
    arrays = dict(light=light, index=index)
    for number, thing in enumerate(labelled, 1):
        y, x = 2 + 11 * ((number - 1) // 8), 2 + 11 * ((number - 1) % 8)
        index[y : y + 9, x : x + 9] = number
        light[y : y + 9, x : x + 9] = (0.9, 0.1, 0.1) if thing["label"] == "disc" else (0.1, 0.1, 0.9)
        arrays[f"vertices_{{number}}"] = np.array([(x, y), (x + 9, y), (x + 9, y + 9), (x, y + 9)], np.float32)
        arrays[f"faces_{{number}}"] = np.array([(0, 1, 2), (0, 2, 3)], np.int32)
    np.savez(request["out"], **arrays)
    print("@ok", flush=True)
"""

COUNT = 6
CONFIG = TrainConfig(
    architecture="fasterrcnn_mobilenet_v2_fpn",
    weights="none",
    min_size=96,
    max_size=96,
    rois_per_image=16,
    epochs=1,
    batch_size=2,
    hold_out=2,
    warmup_steps=2,
)


def fake(folder: Path, *, behaviour: str = "pass", rc: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "blender"
    path.write_text(FAKE.format(python=sys.executable, behaviour=behaviour, rc=rc))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path
