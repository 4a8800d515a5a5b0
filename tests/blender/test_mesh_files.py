"""Mesh files in Blender: their colours are seen, and files that they name and that are not there are errors."""

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.blender.test_render import PYTHON, small
from training.synthetic.recipes import dice
from training.synthetic.renderer import Blender, RenderFailed, Rendering
from training.synthetic.scene import Mesh, Surface

pytestmark = [pytest.mark.blender, pytest.mark.timeout(300)]

CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
SIDES = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])


@pytest.fixture(scope="module")
def blender() -> Iterator[Blender]:
    assert PYTHON.exists(), "Blender is missing; make it with: make render-env"
    with Blender(PYTHON, threads=2) as process:
        yield process


def obj(path: Path, *, colour: str = "", library: str = "") -> None:
    """Write a cube, with the same colour at each corner, or with the material `skin` of a library."""
    lines = [f"mtllib {library}", "usemtl skin"] if library else []
    lines += [f"v {x:g} {y:g} {z:g} {colour}" for x, y, z in CORNERS]
    lines += ["vt 0.1 0.1", "vt 0.9 0.1", "vt 0.9 0.9", "vt 0.1 0.9"]
    lines += ["f " + " ".join(f"{corner + 1}/{number}" for number, corner in enumerate(side, 1)) for side in SIDES]
    path.write_text("\n".join(lines) + "\n")


def ply(path: Path, *, colour: tuple[int, int, int] | None = None, texture: str = "") -> None:
    """Write a cube as MeshLab does: with a colour at each corner, or with a texture in a comment."""
    header = ["ply", "format ascii 1.0", *([f"comment TextureFile {texture}"] if texture else []), "element vertex 8"]
    header += [f"property float {axis}" for axis in ("x", "y", "z", *(("s", "t") if texture else ()))]
    header += [f"property uchar {name}" for name in ("red", "green", "blue")] if colour else []
    header += ["element face 6", "property list uchar int vertex_indices", "end_header"]
    more = "0.5 0.5" if texture else " ".join(map(str, colour or ()))
    rows = [f"{x} {y} {z} {more}" for x, y, z in CORNERS]
    path.write_text("\n".join([*header, *rows, *("4 {} {} {} {}".format(*side) for side in SIDES)]) + "\n")


def glb(path: Path, *, image: str = "") -> None:
    """Write a red cube; its material has a texture if an image is named."""
    triangles = np.concatenate([SIDES[:, [0, 1, 2]], SIDES[:, [0, 2, 3]]]).astype("<u4")
    parts = [CORNERS.astype("<f4"), triangles, np.tile(np.array([1, 0, 0, 1], "<f4"), (8, 1))]
    starts = np.cumsum([0, *(part.nbytes for part in parts)])
    data = b"".join(part.tobytes() for part in parts)
    box = {"min": [-1, -1, -1], "max": [1, 1, 1]}
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "COLOR_0": 2}, "indices": 1, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}} if image else {}}],
        "buffers": [{"byteLength": len(data)}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": int(start), "byteLength": part.nbytes}
            for start, part in zip(starts, parts, strict=False)
        ],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 8, "type": "VEC3", **box},
            {"bufferView": 1, "componentType": 5125, "count": triangles.size, "type": "SCALAR"},
            {"bufferView": 2, "componentType": 5126, "count": 8, "type": "VEC4"},
        ],
        **({"textures": [{"source": 0}], "images": [{"uri": image}]} if image else {}),
    }
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(data), b"BIN\0") + data
    path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)


def textured(folder: Path, texture: str) -> None:
    obj(folder / "cube.obj", library="cube.mtl")
    (folder / "cube.mtl").write_text(f"newmtl skin\nKd 1 1 1\nmap_Kd {texture}\n")


BLUE = Surface("plain", (0.01, 0.02, 0.6), (0.0, 0.0, 0.0), scale=1.0, roughness=0.6)


def rendered(blender: Blender, path: Path, *, is_repainted: bool = False) -> Rendering:
    """Render the mesh once by daylight; its paint is blue."""
    spec = small(dice(1))
    cube = Mesh("cube", str(path), (0.0, 0.0, 0.5), (1.0, 0.0, 0.0, 0.0), 0.5, BLUE, is_repainted)
    camera = replace(spec.camera, position=(0.0, 0.5, 14.0), focal_mm=60.0)
    return blender.render(replace(spec, things=(cube,), tray=None, camera=camera))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("cube.ply", lambda path: ply(path, colour=(220, 0, 0))),
        ("cube.obj", lambda path: obj(path, colour="0.9 0 0")),
        ("cube.glb", glb),
        ("cube.ply", lambda path: ply(path, texture="red.png")),
        ("cube.obj", lambda path: textured(path.parent, "red.png")),
        ("cube.obj", lambda path: textured(path.parent, r"C:\models\red.png")),
    ],
    ids=["ply", "obj", "glb", "ply texture", "obj texture", "texture of another machine"],
)
def test_red_meshes_are_red(blender: Blender, tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    Image.new("RGB", (8, 8), (220, 0, 0)).save(tmp_path / "red.png")
    write(tmp_path / name)
    rendering = rendered(blender, tmp_path / name)
    red, green, blue = np.median(rendering.light[rendering.index == 1], axis=0)
    assert red > 3 * max(green, blue)


@pytest.mark.parametrize(("has_colours", "is_repainted"), [(False, False), (True, True)])
def test_paints_meshes_without_colours_and_those_of_any(
    blender: Blender, tmp_path: Path, has_colours: bool, is_repainted: bool
) -> None:
    obj(tmp_path / "cube.obj", colour="0.9 0 0" if has_colours else "")
    rendering = rendered(blender, tmp_path / "cube.obj", is_repainted=is_repainted)
    red, green, blue = np.median(rendering.light[rendering.index == 1], axis=0)
    assert blue > 3 * max(red, green)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        (
            "cube.obj",
            lambda path: textured(path.parent, r"C:\models\diffuse.png"),
            r"textures are missing or cannot be read: .*diffuse\.png",
        ),
        ("cube.obj", lambda path: obj(path, library="gone.mtl"), r"the material library gone\.mtl is missing"),
        ("cube.glb", lambda path: glb(path, image="gone.png"), r"textures are missing or cannot be read: .*gone\.png"),
        ("cube.ply", lambda path: ply(path, texture="gone.png"), r"the texture gone\.png is missing"),
        ("cube.obj", lambda path: textured(path.parent, "broken.png"), r"cannot be read: .*broken\.png"),
    ],
    ids=["obj", "library", "glb", "ply", "broken"],
)
def test_missing_files_are_named(
    blender: Blender, tmp_path: Path, name: str, write: Callable[[Path], None], message: str
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    write(tmp_path / name)
    with pytest.raises(RenderFailed, match=message):
        rendered(blender, tmp_path / name)
