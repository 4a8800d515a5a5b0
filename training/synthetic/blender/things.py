"""Blender objects of a Thing: boxes, round shapes and dice."""

import math

import bpy

# isort: split
import bmesh  # installed with bpy, as are the next ones
import numpy as np
from mathutils import Matrix, Vector

from training.synthetic.blender.materials import material_of
from training.synthetic.blender.meshes import add_mesh

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


def add_thing(scene: bpy.types.Scene, spec: dict) -> bpy.types.Object:
    """Add one thing of a SceneSpec, as JSON, to the scene."""
    if spec["text"]:
        _print_on(scene, spec)
    if spec["kind"] == "mesh":
        return add_mesh(scene, spec)
    material = material_of(spec["surface"])
    x, y, z = spec["size"]
    place = (*spec["position"], z / 2)
    if spec["kind"] == "die":
        return _add_die(scene, spec, place)
    if spec["kind"] == "box":
        item = add_box(scene, "box", (x, y, z), place=place, yaw_deg=spec["yaw_deg"], material=material)
        if spec["edge"]:
            _round(item, spec["edge"] * min(x, y, z))
        return item
    round_shapes = {
        "hexagon": lambda: bpy.ops.mesh.primitive_cylinder_add(vertices=6, radius=0.5, depth=1),
        "cylinder": lambda: bpy.ops.mesh.primitive_cylinder_add(vertices=48, radius=0.5, depth=1),
        "cone": lambda: bpy.ops.mesh.primitive_cone_add(vertices=48, radius1=0.5, radius2=0.1, depth=1),
        "ball": lambda: bpy.ops.mesh.primitive_uv_sphere_add(radius=0.5),
        "ring": lambda: bpy.ops.mesh.primitive_torus_add(major_radius=0.38, minor_radius=0.12),
    }
    round_shapes[spec["kind"]]()
    item = bpy.context.object
    bpy.ops.object.shade_smooth_by_angle()
    item.scale = (x, y, z * (4 if spec["kind"] == "ring" else 1))
    item.location = place
    item.rotation_euler = (0, 0, math.radians(spec["yaw_deg"]))
    item.data.materials.append(material)
    return item


def _print_on(scene: bpy.types.Scene, spec: dict) -> None:
    """Add the text on a thing's top, as large as fits."""
    letters = bpy.data.curves.new("text", "FONT")
    letters.body = spec["text"]
    letters.align_x = letters.align_y = "CENTER"
    letters.space_line = 0.8
    ink = {**spec["surface"], "pattern": "plain", "rgb": spec["surface"]["rgb2"], "metallic": 0.0}
    letters.materials.append(material_of(ink))
    item = bpy.data.objects.new("text", letters)
    scene.collection.objects.link(item)
    bpy.context.view_layer.update()
    room = 0.75 * min(spec["size"][:2])
    item.scale = (room / max(*item.dimensions[:2], 1e-6),) * 3
    item.location = (*spec["position"], spec["size"][2] + 0.003)
    item.rotation_euler = (0, 0, math.radians(spec["yaw_deg"]))


def add_box(scene, name, size, *, place, yaw_deg, material) -> bpy.types.Object:
    """Add a box of a given size, centred at `place` and turned about the vertical."""
    mesh = bpy.data.meshes.new(name)
    half = Vector(size) / 2
    shape = bmesh.new()
    bmesh.ops.create_cube(shape, size=1.0, matrix=Matrix.Diagonal((*(half * 2), 1.0)))
    shape.to_mesh(mesh)
    shape.free()
    mesh.materials.append(material)
    item = bpy.data.objects.new(name, mesh)
    item.location = place
    item.rotation_euler = (0, 0, math.radians(yaw_deg))
    scene.collection.objects.link(item)
    return item


def _round(item: bpy.types.Object, width: float) -> None:
    bevel = item.modifiers.new("edge", "BEVEL")
    bevel.width = width
    bevel.segments = 4
    bevel.limit_method = "NONE"
    for polygon in item.data.polygons:
        polygon.use_smooth = True
    item.modifiers.new("normals", "WEIGHTED_NORMAL").keep_sharp = False


def _add_die(scene: bpy.types.Scene, spec: dict, place: tuple) -> bpy.types.Object:
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
    item.location = place
    item.rotation_euler = (0, 0, math.radians(spec["yaw_deg"]))
    scene.collection.objects.link(item)
    _round(item, spec["edge"] * side)
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
