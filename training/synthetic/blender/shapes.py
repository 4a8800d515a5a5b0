"""Blender objects of a Distractor: boxes and round shapes, with text on them."""

import math

import bpy

# isort: split
import bmesh  # installed with bpy, as are the next ones
from mathutils import Matrix, Vector

from training.synthetic.blender.materials import material_of


def add_shape(scene: bpy.types.Scene, spec: dict) -> bpy.types.Object:
    """Add a distractor, standing on the ground."""
    if spec["text"]:
        _print_on(scene, spec)
    material = material_of(spec["surface"])
    x, y, z = spec["size"]
    place = (*spec["position"], z / 2)
    if spec["kind"] == "box":
        item = add_box(scene, "box", (x, y, z), place=place, yaw_deg=spec["yaw_deg"], material=material)
        if spec["edge"]:
            round_edges(item, spec["edge"] * min(x, y, z))
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


def round_edges(item: bpy.types.Object, width: float) -> None:
    """Bevel the edges of a body; `width` is in world units."""
    bevel = item.modifiers.new("edge", "BEVEL")
    bevel.width = width
    bevel.segments = 4
    bevel.limit_method = "NONE"
    for polygon in item.data.polygons:
        polygon.use_smooth = True
    item.modifiers.new("normals", "WEIGHTED_NORMAL").keep_sharp = False
