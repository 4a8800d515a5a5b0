"""Cut-outs: drawn from seeds, rendered by a worker, written and read."""

import stat
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from training.data.dataset import BrokenDataset
from training.synthetic.composites.cutouts import clutter, develop, draw, read_cutouts, render_cutouts
from training.synthetic.piles import MeshObject
from training.synthetic.renderer import Workers

OBJECTS = [MeshObject("nut.obj", "nut"), MeshObject("bolt.obj", "bolt")]

FAKE = """#!{python}
import json, sys
import numpy as np
for line in sys.stdin:
    request = json.loads(line)
    spec = request["cutout"]
    rgba = np.zeros((spec["size_px"], spec["size_px"], 4), np.float16)
    {behaviour}
    np.savez(request["out"], rgba=rgba, diameter=np.float32(25), is_plain=True)
    print("@ok", flush=True)
"""


def render(folder: Path, seeds: range, *, behaviour: str = "rgba[40:60, 30:90] = (0.5, 0.1, 0.1, 1)") -> Path:
    """Render cut-outs with a small program in Blender's place."""
    program = folder / "blender"
    program.write_text(FAKE.format(python=sys.executable, behaviour=behaviour))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def progress(items: Any, *, total: int) -> Any:
        return items

    out = folder / "out"
    workers = Workers(program, count=1, threads=1)
    render_cutouts(partial(draw, OBJECTS), seeds, out, workers=workers, progress=progress, stop_asked=lambda: False)
    return out


def test_same_seed_gives_same_cutout() -> None:
    assert draw(OBJECTS, 7) == draw(OBJECTS, 7)
    assert draw(OBJECTS, 7) != draw(OBJECTS, 9)
    assert clutter(OBJECTS, 7) == clutter(OBJECTS, 7)


def test_objects_take_turns() -> None:
    assert [draw(OBJECTS, seed).label for seed in range(4)] == ["nut", "bolt", "nut", "bolt"]


def test_most_objects_rest_and_the_others_are_turned_at_random() -> None:
    drawn = [draw(OBJECTS, seed) for seed in range(200)]
    at_rest = [spec for spec in drawn if spec.pose is not None]
    assert 0.5 < len(at_rest) / len(drawn) < 0.8
    assert all(spec.turn[1:3] == (0, 0) for spec in at_rest)  # about the vertical
    assert any(spec.turn[1] for spec in drawn if spec.pose is None)


def test_rotations_are_unit_quaternions() -> None:
    for seed in range(20):
        assert np.linalg.norm(draw(OBJECTS, seed).turn) == pytest.approx(1)


def test_clutter_shows_a_shape_an_assembly_or_an_object_put_together_wrongly() -> None:
    shape, first, parts, second = (clutter(OBJECTS, seed) for seed in (4, 5, 6, 7))
    assert len(shape.parts) == 1
    assert len(parts.parts) > 1
    assert not shape.is_misassembled
    assert not parts.is_misassembled
    assert first.is_misassembled
    assert second.is_misassembled
    assert {first.source, second.source} == {"nut.obj", "bolt.obj"}
    assert {first.label, second.label} == {""}
    assert first.parts  # shown if the mesh has no parts
    assert draw(OBJECTS, 3).parts == ()


def test_rendered_cutouts_are_cropped_and_know_their_size(tmp_path: Path) -> None:
    first, second = read_cutouts(render(tmp_path, range(2)))

    assert first.rgba.shape == (20, 60, 4)
    assert first.rgba[..., 3].min() == 255
    assert first.is_plain
    assert (first.label, first.source, first.diameter) == ("nut", "nut.obj", 25)
    assert (second.label, second.source) == ("bolt", "bolt.obj")
    assert 200 < first.diameter_px <= 256


def test_cutouts_that_exist_are_kept(tmp_path: Path) -> None:
    out = render(tmp_path, range(1))
    before = (out / "000000.png").stat().st_mtime_ns
    render(tmp_path, range(3))

    assert (out / "000000.png").stat().st_mtime_ns == before
    assert len(list(out.glob("*.png"))) == 3


def test_empty_cutout_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(BrokenDataset, match=r"nut\.obj shows nothing"):
        render(tmp_path, range(1), behaviour="pass")


def test_rejects_other_pictures_all_at_once(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4)).save(tmp_path / "000000.png")
    (tmp_path / "000001.png").write_bytes(b"no picture")
    with pytest.raises(BrokenDataset, match=r"000000\.png: not a cut-out(.|\n)*000001\.png: not a cut-out"):
        read_cutouts(tmp_path)


def test_missing_folder_holds_no_cutouts(tmp_path: Path) -> None:
    assert read_cutouts(tmp_path / "nowhere") == []


def test_develop_by_hand() -> None:
    light = np.array([[[0.1, 0.05, 0.0, 0.5], [0.0, 0.0, 0.0, 0.0], [9.0, 9.0, 9.0, 1.0]]], np.float32)
    half, empty, bright = develop(light)[0]

    # 0.2 linear is 124 in sRGB, 0.1 is 89; alpha stays linear
    assert half.tolist() == [124, 89, 0, 128]
    assert empty.tolist() == [0, 0, 0, 0]
    assert bright.tolist() == [255, 255, 255, 255]
