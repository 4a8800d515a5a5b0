"""The worker protocol, with a small program in Blender's place: the seam is the interpreter that `Blender` starts."""

import json
import stat
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rendersight.annotations.dataset import read_annotations
from training.data.dataset import BrokenDataset
from training.synthetic.dataset import render_dataset
from training.synthetic.piles import MeshObject, draw_pile
from training.synthetic.recipes import Recipe, dice, meshes, plain
from training.synthetic.renderer import Blender, BlenderMissing, RenderFailed, Workers, check_python
from training.synthetic.scene import MAX_LABELLED, Mesh, SceneSpec

FAKE = """#!{python}
import json, os, sys
import numpy as np
print("Blender says many things")
for line in sys.stdin:
    request = json.loads(line)
    if "settle" in request:  # all things stand in one place
        count = len(request["settle"]["things"])
        np.savez(request["out"], positions=np.zeros((count, 3)), turns=np.tile((1.0, 0, 0, 0), (count, 1)),
                 scales=np.ones(count), radii=np.ones(count))
        print("@ok", flush=True)
        continue
    spec, width = request["spec"], 9
    {behaviour}
    arrays = dict(light=np.ones((64, 64, 3), np.float16), index=np.zeros((64, 64), np.uint8))
    labelled = [thing for thing in spec["things"] if thing["label"] is not None]
    for number in range(1, len(labelled) + 1):
        x = 10 * number
        arrays["index"][20:30, x : x + width] = number
        arrays[f"vertices_{{number}}"] = np.array(
            [(x, 20), (x + width, 20), (x + width, 30), (x, 30)], np.float32
        )
        arrays[f"faces_{{number}}"] = np.array([(0, 1, 2), (0, 2, 3)], np.int32)
    np.savez(request["out"], **arrays)
    print("@ok", flush=True)
"""


def fake(folder: Path, behaviour: str = "pass") -> Path:
    path = folder / "blender"
    path.write_text(FAKE.format(python=sys.executable, behaviour=behaviour))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def small(seed: int, attempt: int = 0) -> SceneSpec:
    """A scene of at most four dice."""
    spec = dice(seed, attempt)
    return SceneSpec(**{**vars(spec), "things": spec.things[:4]})


SMALL = plain(small)
PAWNS = [MeshObject("pawn.obj", "pawn")]


def few_meshes(seed: int, attempt: int, process: Blender) -> SceneSpec:
    """A scene of at most four meshes."""
    spec = meshes(PAWNS).draw(seed, attempt, process)
    return replace(spec, things=spec.labelled[:4])


def render(folder: Path, out: Path, seeds: range, *, behaviour: str = "pass", recipe: Recipe = SMALL) -> int:
    def progress(items: Any, *, total: int) -> Any:
        return items

    workers = Workers(fake(folder, behaviour), count=2, threads=1)
    return render_dataset(recipe, seeds, out, workers=workers, progress=progress, stop_asked=lambda: False)


def test_renders_a_readable_dataset(tmp_path: Path) -> None:
    out = tmp_path / "dice"
    assert render(tmp_path, out, range(6)) == 6
    found = read_annotations(out)
    assert found.faults == ()
    assert [image.name for image in found.images] == [f"{seed:06d}.jpg" for seed in range(6)]
    assert [len(image.labels) for image in found.images] == [len(small(seed).labelled) for seed in range(6)]


TINY_AT_FIRST = "width = 4 if spec['attempt'] == 0 else 9"


def test_a_mesh_too_small_to_label_is_ignored(tmp_path: Path) -> None:
    piles = [draw_pile(PAWNS, number) for number in range(2)]
    counts = [min(4, sum(isinstance(thing, Mesh) for thing in pile.falling)) for pile in piles]
    recipe = Recipe(few_meshes, views=3)
    assert render(tmp_path, tmp_path / "out", range(6), behaviour=TINY_AT_FIRST, recipe=recipe) == 6
    found = read_annotations(tmp_path / "out")
    assert [len(image.ignored) for image in found.images] == [count for count in counts for _ in range(3)]
    assert sum(counts) > 0
    assert not any(image.labels for image in found.images)
    assert {item.label for image in found.images for item in image.ignored} == {"pawn"}
    assert json.loads((tmp_path / "out" / "000000-1.scene.json").read_text())["attempt"] == 0


def test_settles_once_for_all_pictures_of_a_pile(tmp_path: Path) -> None:
    recipe = Recipe(few_meshes, views=3)
    with Blender(fake(tmp_path), threads=1) as process:
        specs = [recipe.draw(seed, 0, process) for seed in range(3)]
        assert [spec.things for spec in specs] == [specs[0].things] * 3
        assert len({spec.camera for spec in specs}) == 3


def test_a_scene_of_a_die_too_small_to_label_is_drawn_anew(tmp_path: Path) -> None:
    (seed,) = [seed for seed in range(9) if small(seed).labelled and small(seed, 1).labelled][:1]
    assert render(tmp_path, tmp_path / "out", range(seed, seed + 1), behaviour=TINY_AT_FIRST) == 1
    (image,) = read_annotations(tmp_path / "out").images
    assert (len(image.labels), image.ignored) == (len(small(seed, 1).labelled), ())
    assert json.loads((tmp_path / "out" / f"{seed:06d}.scene.json").read_text())["attempt"] == 1


def test_skips_rendered_seeds(tmp_path: Path) -> None:
    out = tmp_path / "dice"
    render(tmp_path, out, range(3))
    before = (out / "000001.jpg").read_bytes()
    assert render(tmp_path, out, range(5)) == 2
    assert (out / "000001.jpg").read_bytes() == before


DIE_ONCE = (
    "flag = os.path.join(os.path.dirname({0!r}), 'died')\n    if not os.path.exists(flag): open(flag, 'w'); os._exit(1)"
)


def test_replaces_process_that_dies(tmp_path: Path) -> None:
    out = tmp_path / "dice"
    assert render(tmp_path, out, range(4), behaviour=DIE_ONCE.format(str(tmp_path / "x"))) == 4
    assert (tmp_path / "died").exists()


def test_reports_failing_scene_and_renders_the_rest(tmp_path: Path) -> None:
    behaviour = "if spec['seed'] == 2: print('@error no such thing', flush=True); continue"
    with pytest.raises(BrokenDataset, match="000002: no such thing"):
        render(tmp_path, tmp_path / "dice", range(4), behaviour=behaviour)
    assert sorted(path.name for path in (tmp_path / "dice").glob("*.jpg")) == ["000000.jpg", "000001.jpg", "000003.jpg"]


def test_gives_up_on_hanging_process(tmp_path: Path) -> None:
    python = fake(tmp_path, "import time; time.sleep(60)")
    with Blender(python, threads=1, timeout_s=0.5) as process, pytest.raises(RenderFailed, match=r"within 0\.5 s"):
        process.render(small(0))


def crowd(count: int) -> SceneSpec:
    die = next(thing for seed in range(9) for thing in dice(seed).labelled)
    return replace(small(0), things=(die,) * count)


def test_mask_numbers_more_than_255_things(tmp_path: Path) -> None:
    behaviour = """index = np.arange(64 * 64, dtype=np.float32).reshape(64, 64) + 0.01
    nothing = {k: np.zeros((3, 2)) for n in range(1, 301) for k in (f"vertices_{n}", f"faces_{n}")}
    np.savez(request["out"], light=np.ones((64, 64, 3)), index=index, **nothing)
    print("@ok", flush=True)
    continue"""
    with Blender(fake(tmp_path, behaviour), threads=1) as process:
        rendering = process.render(crowd(300))
    assert rendering.index.ravel().tolist() == list(range(64 * 64))
    assert len(rendering.outlines) == 300


def test_rejects_scene_beyond_object_index() -> None:
    assert len(crowd(MAX_LABELLED).things) == MAX_LABELLED
    with pytest.raises(ValueError, match="the scene has 32768 labelled things, the limit is 32767"):
        crowd(MAX_LABELLED + 1)


def test_reports_last_line_of_ended_process(tmp_path: Path) -> None:
    python = fake(tmp_path, "raise ImportError('NumPy is of another Python')")
    with Blender(python, threads=1) as process, pytest.raises(RenderFailed, match="ended: ImportError: NumPy is of"):
        process.render(small(0))


def test_worker_sees_only_packages_of_its_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter has no bpy; what lies in the way would else be imported in its place."""
    (tmp_path / "bpy.py").write_text("raise SystemExit('the bpy of another Python')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with (
        Blender(Path(sys.executable), threads=1) as process,
        pytest.raises(RenderFailed, match="No module named 'bpy'"),
    ):
        process.render(small(0))
    with pytest.raises(BlenderMissing, match="No module named 'bpy'"):
        check_python(Path(sys.executable))


def test_missing_bpy_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(BlenderMissing, match="make render-env"):
        check_python(tmp_path / "nothing")
    with pytest.raises(BlenderMissing, match="make render-env"):
        check_python(Path(sys.executable))
