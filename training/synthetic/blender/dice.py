"""Blender objects of a Die: a rounded cube with painted and drilled faces."""

import math

import bpy

# isort: split
import bmesh  # installed with bpy, as are the next ones
import numpy as np
from mathutils import Vector

from training.synthetic.blender.materials import material_of
from training.synthetic.blender.shapes import round_edges

_FACE_PX = 128
# Pips by value, in units of the spread, x right and y up on the face.
_LAYOUTS = {
    1: [(0, 0)],
    2: [(-1, 1), (1, -1)],
    3: [(-1, 1), (0, 0), (1, -1)],
    4: [(-1, 1), (1, 1), (-1, -1), (1, -1)],
    5: [(-1, 1), (1, 1), (0, 0), (-1, -1), (1, -1)],
    6: [(-1, 1), (-1, 0), (-1, -1), (1, 1), (1, 0), (1, -1)],
}
# The corners of a cube's faces at +z, -z, +x, -x, +y, -y, counter-clockwise from outside.
_CUBE = (
    ((-1, -1, 1), (1, -1, 1), (1, 1, 1), (-1, 1, 1)),
    ((-1, 1, -1), (1, 1, -1), (1, -1, -1), (-1, -1, -1)),
    ((1, -1, -1), (1, 1, -1), (1, 1, 1), (1, -1, 1)),
    ((-1, 1, -1), (-1, -1, -1), (-1, -1, 1), (-1, 1, 1)),
    ((1, 1, -1), (-1, 1, -1), (-1, 1, 1), (1, 1, 1)),
    ((-1, -1, -1), (1, -1, -1), (1, -1, 1), (-1, -1, 1)),
)


def add_die(scene: bpy.types.Scene, spec: dict) -> bpy.types.Object:
    """Add a die, standing on the ground."""
    side = spec["size"][0]
    mesh = bpy.data.meshes.new("die")
    shape = bmesh.new()
    uv = shape.loops.layers.uv.new("face")
    corners: dict = {}
    for number, face in enumerate(_CUBE):
        for corner in face:
            if corner not in corners:
                corners[corner] = shape.verts.new(Vector(corner) * side / 2)
        made = shape.faces.new([corners[corner] for corner in face])
        made.smooth = True
        column, row = number % 3, number // 3
        for loop, (u, v) in zip(made.loops, ((0, 0), (1, 0), (1, 1), (0, 1)), strict=True):
            loop[uv].uv = ((column + u) / 3, (row + v) / 2)
    shape.to_mesh(mesh)
    shape.free()
    mesh.materials.append(material_of(spec["surface"], marks=_marks(spec), pips=spec["pips"], side=side))
    item = bpy.data.objects.new("die", mesh)
    item.location = (*spec["position"], side / 2)
    item.rotation_euler = (0, 0, math.radians(spec["yaw_deg"]))
    scene.collection.objects.link(item)
    round_edges(item, spec["edge"] * side)
    return item


def _marks(spec: dict) -> bpy.types.Image:
    """Return an image of the six faces side by side: red is pip or body, green depth, blue the ace's own colour."""
    atlas = np.zeros((2 * _FACE_PX, 3 * _FACE_PX, 4), np.float32)
    atlas[..., 1] = 1.0
    atlas[..., 3] = 1.0
    pips = spec["pips"]
    middle = (np.arange(_FACE_PX) + 0.5) / _FACE_PX - 0.5
    x, y = np.meshgrid(middle, middle)  # y points up, as in Blender's images
    for number, value in enumerate(spec["faces"]):
        radius = pips["ace_radius"] if value == 1 else pips["radius"]
        tile = atlas[
            (number // 3) * _FACE_PX : (number // 3 + 1) * _FACE_PX,
            (number % 3) * _FACE_PX : (number % 3 + 1) * _FACE_PX,
        ]
        for px, py in _LAYOUTS[value]:
            if spec["pip_turns"][number]:
                px, py = -py, px  # noqa: PLW2901
            dx, dy = x - px * pips["spread"], y - py * pips["spread"]
            disc = np.hypot(dx, dy)
            square = np.maximum(abs(dx), abs(dy)) * 1.1
            distance = disc + pips["squareness"] * (square - disc)
            mask = np.clip((radius - distance) * _FACE_PX + 0.5, 0, 1)
            bowl = np.clip(1 - (distance / radius) ** 2, 0, 1)
            tile[..., 0] = np.maximum(tile[..., 0], mask)
            tile[..., 1] = np.minimum(tile[..., 1], 1 - bowl)
            if value == 1:
                tile[..., 2] = np.maximum(tile[..., 2], mask)
    image = bpy.data.images.new("marks", 3 * _FACE_PX, 2 * _FACE_PX, float_buffer=True)
    image.colorspace_settings.name = "Non-Color"
    image.pixels.foreach_set(atlas.ravel())
    image.update()
    return image
