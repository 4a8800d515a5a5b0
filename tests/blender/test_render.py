"""Blender itself, on small pictures: boxes fit the pixels, seeds repeat, every mesh format is read."""

import itertools
import json
import math
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.synthetic.annotate import annotate
from training.synthetic.camera import project
from training.synthetic.recipes import dice
from training.synthetic.renderer import Blender, RenderFailed
from training.synthetic.scene import Mesh, Quaternion, SceneSpec, Surface

ROOT = Path(__file__).parent.parent.parent
PYTHON = ROOT / ".venv-render" / "bin" / "python"
PAWN = ROOT / "examples" / "pawn.obj"

pytestmark = [pytest.mark.blender, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def blender() -> Iterator[Blender]:
    assert PYTHON.exists(), "Blender is missing; make it with: make render-env"
    with Blender(PYTHON, threads=2) as process:
        yield process


def small(spec: SceneSpec) -> SceneSpec:
    """The same scene in a picture of a quarter of the width."""
    return replace(spec, camera=replace(spec.camera, size_px=160))


def a_scene_of(count: int, draw: object) -> SceneSpec:
    """The first scene with at least so many labelled things and nothing that could hide them."""
    for seed in range(200):
        spec = draw(seed)  # type: ignore[operator]
        labelled = spec.labelled
        if len(labelled) >= count:
            return replace(spec, things=labelled[:count], tray=None)
    raise AssertionError("no such scene")


def test_boxes_of_dice_fit_the_pixels(blender: Blender) -> None:
    spec = small(a_scene_of(4, dice))
    rendering = blender.render(spec)
    assert rendering.light.shape == (160, 160, 3)
    assert np.isfinite(rendering.light).all()
    assert rendering.light.mean() > 0
    for number, thing in enumerate(spec.things, 1):
        middle = project(spec.camera, (*thing.position, thing.size[2] / 2))
        assert middle is not None
        rows, columns = np.nonzero(rendering.index == number)
        outline = rendering.outlines[number - 1].vertices
        assert columns.min() <= middle[0] <= columns.max() + 1
        assert rows.min() <= middle[1] <= rows.max() + 1
        # what is seen lies within the projected mesh, and reaches its edge unless something hides or cuts it
        assert outline[:, 0].min() - 1 <= columns.min()
        assert columns.max() <= outline[:, 0].max() + 1
        assert outline[:, 1].min() - 1 <= rows.min()
        assert rows.max() <= outline[:, 1].max() + 1


def test_the_same_spec_gives_the_same_pixels(blender: Blender) -> None:
    spec = small(a_scene_of(2, dice))
    first, second = blender.render(spec), blender.render(spec)
    np.testing.assert_array_equal(first.index, second.index)
    np.testing.assert_allclose(first.light, second.light, rtol=1e-2, atol=1e-3)


def write_stl(path: Path, vertices: np.ndarray, faces: np.ndarray) -> None:
    lines = ["solid pawn"]
    for face in faces:
        corners = "\n".join("vertex {:g} {:g} {:g}".format(*vertices[i]) for i in face)
        lines.append(f"facet normal 0 0 0\nouter loop\n{corners}\nendloop\nendfacet")
    path.write_text("\n".join([*lines, "endsolid pawn\n"]))


def write_ply(path: Path, vertices: np.ndarray, faces: np.ndarray) -> None:
    header = (
        f"ply\nformat ascii 1.0\nelement vertex {len(vertices)}\nproperty float x\nproperty float y\n"
        f"property float z\nelement face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    rows = ["{:g} {:g} {:g}".format(*vertex) for vertex in vertices]
    rows += ["3 {} {} {}".format(*face) for face in faces]
    path.write_text(header + "\n".join(rows) + "\n")


def write_glb(path: Path, vertices: np.ndarray, faces: np.ndarray) -> None:
    points, indices = vertices.astype("<f4"), faces.astype("<u4")
    data = points.tobytes() + indices.tobytes()
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "buffers": [{"byteLength": len(data)}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": points.nbytes},
            {"buffer": 0, "byteOffset": points.nbytes, "byteLength": indices.nbytes},
        ],
        "accessors": [
            {
                "bufferView": 0,
                "componentType": 5126,
                "count": len(points),
                "type": "VEC3",
                "min": points.min(axis=0).tolist(),
                "max": points.max(axis=0).tolist(),
            },
            {"bufferView": 1, "componentType": 5125, "count": indices.size, "type": "SCALAR"},
        ],
    }
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(data), b"BIN\0") + data
    path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)


def pawn() -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and triangles (F, 3) of the example mesh."""
    lines = [line.split() for line in PAWN.read_text().splitlines()]
    vertices = np.array([[float(value) for value in line[1:]] for line in lines if line[0] == "v"])
    faces = [[int(value) - 1 for value in line[1:]] for line in lines if line[0] == "f"]
    return vertices, np.array([(face[0], a, b) for face in faces for a, b in itertools.pairwise(face[1:])])


def a_scene_with(path: Path, *, turn: Quaternion = (1.0, 0.0, 0.0, 0.0)) -> SceneSpec:
    """Two meshes of the pawn's size side by side, seen from above; the picture is 14 units wide."""
    spec = small(dice(1))
    surface = Surface("plain", (0.6, 0.3, 0.1), (0.0, 0.0, 0.0), scale=1.0, roughness=0.6)
    pair = [Mesh("pawn", str(path), (x, 0.0, 0.6), turn, 1 / 1.18, surface) for x in (-1.5, 1.5)]
    camera = replace(spec.camera, position=(0.0, 0.5, 14.0), focal_mm=36.0)
    return replace(spec, things=tuple(pair), tray=None, camera=camera)


@pytest.mark.parametrize("suffix", [".obj", ".stl", ".ply", ".glb"])
def test_a_mesh_of_every_format_stands_in_the_scene(blender: Blender, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"pawn{suffix}"
    if suffix == ".obj":
        path.write_bytes(PAWN.read_bytes())
    else:
        {".stl": write_stl, ".ply": write_ply, ".glb": write_glb}[suffix](path, *pawn())
    spec = a_scene_with(path)
    rendering = blender.render(spec)
    found = annotate(rendering.index, rendering.outlines, ["pawn", "pawn"], may_hide=False)
    assert [item.label for item in found] == ["pawn", "pawn"]
    for item, thing in zip(found, spec.labelled, strict=True):
        assert isinstance(thing, Mesh)
        middle = project(spec.camera, thing.position)
        assert middle is not None
        x0, y0, x1, y1 = item.box_xyxy
        assert (x0 + x1) / 2 == pytest.approx(middle[0], abs=1.5)
        assert (y0 + y1) / 2 == pytest.approx(middle[1], abs=1.5)
        assert 0.7 < max(x1 - x0, y1 - y0) * 14 / 160 < 1.1  # 0.76 from above, 1 from the side
        assert item.visible > 0.8


def test_a_mesh_is_turned_by_its_quaternion(blender: Blender) -> None:
    half = math.sqrt(0.5)
    upright, lying = (annotated(blender, a_scene_with(PAWN, turn=turn)) for turn in ((1, 0, 0, 0), (half, half, 0, 0)))
    # the pawn is 1.18 tall and 0.9 wide; Blender turns y of an OBJ up
    assert (upright[3] - upright[1]) / (upright[2] - upright[0]) == pytest.approx(1, abs=0.15)
    assert (lying[3] - lying[1]) / (lying[2] - lying[0]) == pytest.approx(1.18 / 0.9, abs=0.15)


def annotated(blender: Blender, spec: SceneSpec) -> tuple[float, float, float, float]:
    rendering = blender.render(spec)
    return annotate(rendering.index, rendering.outlines, ["pawn", "pawn"], may_hide=False)[0].box_xyxy


def test_a_file_without_a_mesh_is_refused_and_the_process_replaced(blender: Blender, tmp_path: Path) -> None:
    path = tmp_path / "empty.obj"
    path.write_text("# nothing\n")
    with pytest.raises(RenderFailed, match="holds no mesh"):
        blender.render(a_scene_with(path))
    assert blender.render(small(a_scene_of(1, dice))).index.max() == 1
