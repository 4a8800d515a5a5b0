"""Meshes from files, read once and kept at the sizes in which pictures show them."""

import hashlib
import math

import bpy

# isort: split
import numpy as np
from mathutils import Vector  # installed with bpy

from training.synthetic.blender.assemblies import points_of, pose_of
from training.synthetic.blender.materials import material_of
from training.synthetic.blender.mesh_files import has_colours, read_mesh_file

_FEWEST_FACES = 1000
_TEXELS = 2
"""Side of a texture for each px of the object's side, at least: a texture covers all sides of an object."""
_OUTLINE_LEVEL, _SMALLEST_LEVEL, _LARGEST_LEVEL = 5, 5, 12


def detail_of(px_per_unit: float) -> float:
    """Return the smallest power of two from a resolution on; scenes of the same detail have the same meshes."""
    return 2.0 ** math.ceil(math.log2(px_per_unit))


def add_mesh(scene: bpy.types.Scene, spec: dict, *, px_per_unit: float) -> bpy.types.Object:
    """Add a mesh from a file in the spec's pose, with the detail of a picture of so many px for a world unit."""
    whole = template_of(spec["source"])
    item = _template_for(spec["source"], detail_of(px_per_unit) * whole["extent"] * spec["scale"]).copy()
    paint(item, spec, extent=whole["extent"])
    item.matrix_world = pose_of(spec, Vector(whole["middle"]))
    item["source"] = spec["source"]
    scene.collection.objects.link(item)
    return item


def outline_of(item: bpy.types.Object) -> bpy.types.Mesh:
    """Return a mesh of few faces with the outline of an object that `add_mesh` added."""
    return _template_at(item["source"], _OUTLINE_LEVEL).data


def paint(item: bpy.types.Object, spec: dict, *, extent: float) -> None:
    """Give an object the spec's surface, in a mesh of its own, if it has no colours or is to be repainted.

    `extent` is the mesh's size in its own units, so that a pattern repeats as often whatever the unit.
    """
    if not spec["is_repainted"] and has_colours(item.data):
        return
    surface = spec["surface"]
    item.data = item.data.copy()
    item.data.use_fake_user = False
    item.data.materials.clear()
    item.data.materials.append(material_of({**surface, "scale": surface["scale"] / extent}))


def template_of(path: str) -> bpy.types.Object:
    """Return the joined mesh of a file, which is in no collection; the file is read once per Blender file.

    Its properties are `extent`, the longest side of its bounding box, and `middle`, the middle of that box.
    """
    return bpy.data.objects.get(_name_of(path)) or _import(path)


def _template_for(path: str, side_px: float) -> bpy.types.Object:
    """Return a mesh with no more faces and texels than a picture shows in which it is `side_px` long."""
    level = math.ceil(math.log2(max(side_px, 1.0)))
    return _template_at(path, min(max(level, _SMALLEST_LEVEL), _LARGEST_LEVEL))


def _template_at(path: str, level: int) -> bpy.types.Object:
    """Return a mesh with the detail of an object of 2 ** level px; kept like the mesh itself."""
    name = f"{_name_of(path)} {level}"
    if name in bpy.data.objects:
        return bpy.data.objects[name]
    whole = template_of(path)
    small = whole.copy()
    most = max(_FEWEST_FACES, 4**level)
    small.data = _decimated(whole, most / max(len(whole.data.polygons), 1))
    for number, material in enumerate(small.data.materials):
        if material is not None:
            small.data.materials[number] = _with_smaller_textures(material, _TEXELS * 2**level)
    small.name = name
    small.use_fake_user = True
    return small


def _decimated(whole: bpy.types.Object, ratio: float) -> bpy.types.Mesh:
    if ratio >= 1:
        return whole.data.copy()
    shown = whole.copy()
    bpy.context.scene.collection.objects.link(shown)
    modifier = shown.modifiers.new("fewer", "DECIMATE")
    modifier.ratio = ratio
    bpy.context.view_layer.update()
    mesh = bpy.data.meshes.new_from_object(shown.evaluated_get(bpy.context.evaluated_depsgraph_get()))
    bpy.data.objects.remove(shown)
    return mesh


def _with_smaller_textures(material: bpy.types.Material, side: int) -> bpy.types.Material:
    """Return the material, or a copy whose textures are at most `side` px long."""
    if not material.use_nodes:
        return material
    nodes = [node for node in material.node_tree.nodes if node.type == "TEX_IMAGE" and node.image is not None]
    if not any(max(node.image.size) > side for node in nodes):
        return material
    copy = material.copy()
    for node in copy.node_tree.nodes:
        if node.type == "TEX_IMAGE" and node.image is not None and max(node.image.size) > side:
            node.image = _smaller(node.image, side)
    return copy


def _smaller(image: bpy.types.Image, side: int) -> bpy.types.Image:
    """Return a copy of a texture that is `side` px long, the same for each caller."""
    name = f"{image.name[:40]} {side} {hashlib.sha256(image.filepath.encode()).hexdigest()[:8]}"
    if name not in bpy.data.images:
        factor = side / max(image.size)
        width, height = (max(1, round(length * factor)) for length in image.size)
        copy = image.copy()
        copy.name = name
        copy.scale(width, height)
    return bpy.data.images[name]


def join(scene: bpy.types.Scene, items: list[bpy.types.Object]) -> bpy.types.Object:
    """Link objects of no collection to a scene, join their meshes into the first one, and return it."""
    for item in items:
        scene.collection.objects.link(item)
    with bpy.context.temp_override(
        active_object=items[0], object=items[0], selected_objects=items, selected_editable_objects=items
    ):
        bpy.ops.object.join()
    return items[0]


def _import(path: str) -> bpy.types.Object:
    """Read a mesh file and join its meshes into one template that is in no collection and is not rendered."""
    scene = bpy.context.scene
    fresh = read_mesh_file(path)
    meshes = [item for item in fresh if item.type == "MESH" and len(item.data.polygons)]
    if not meshes:
        raise ValueError(f"{path} holds no mesh with faces")
    bpy.context.view_layer.update()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    joined = []
    for item in meshes:
        mesh = bpy.data.meshes.new_from_object(item.evaluated_get(depsgraph))
        mesh.transform(item.matrix_world)
        joined.append(bpy.data.objects.new("part", mesh))
    for item in fresh:
        bpy.data.objects.remove(item)
    template = join(scene, joined)
    scene.collection.objects.unlink(template)
    template.name = _name_of(path)
    template.use_fake_user = True
    points = points_of(template.data)
    template["extent"] = float(np.ptp(points, axis=0).max())
    template["middle"] = ((points.min(axis=0) + points.max(axis=0)) / 2).tolist()
    return template


def _name_of(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()[:40]  # Blender cuts names after 63 bytes
