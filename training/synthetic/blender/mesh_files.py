"""Import of mesh files with their colours. A missing texture or material library is an error."""

import re
from pathlib import Path

import bpy


def read_mesh_file(path: str) -> list[bpy.types.Object]:
    """Import a mesh file and return all its objects.

    Raises:
        ValueError: a material library or a texture that the file names is missing or cannot be read.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".obj":
        _check_libraries(Path(path))
    objects, images = set(bpy.data.objects), set(bpy.data.images)
    _IMPORTERS[suffix](path)
    fresh = [item for item in bpy.data.objects if item not in objects]
    if suffix == ".ply":
        _use_texture_of_ply(Path(path), fresh)
    _check_textures(image for image in bpy.data.images if image not in images)
    if suffix != ".blend":  # whose author chose whether a material shows the colours of its vertices
        for item in fresh:
            if item.type == "MESH" and item.data.color_attributes:
                _use_vertex_colours(item.data)
    return fresh


_DEFAULT_GREY, _ROUNDING = 0.8, 1e-3
"""Each channel of the colour that Blender's importers give a material without one."""


def has_colours(mesh: bpy.types.Mesh) -> bool:
    """Return whether any material of a mesh has a texture, colours of vertices, or a colour of its own."""
    for material in mesh.materials:
        bsdf = bsdf_of(material)
        if bsdf is None:
            if material is not None:
                return True  # whatever its author made
            continue
        colour = bsdf.inputs["Base Color"]
        if colour.is_linked or any(abs(value - _DEFAULT_GREY) > _ROUNDING for value in colour.default_value[:3]):
            return True
    return False


def has_textures(mesh: bpy.types.Mesh) -> bool:
    """Return whether the base colour of any material of a mesh comes from a texture or from vertices."""
    found = [bsdf_of(material) for material in mesh.materials]
    return any(bsdf is not None and bsdf.inputs["Base Color"].is_linked for bsdf in found)


def _import_gltf(path: str) -> None:
    import addon_utils  # noqa: PLC0415 - part of bpy

    addon_utils.enable("io_scene_gltf2")
    bpy.ops.import_scene.gltf(filepath=path)


def _import_blend(path: str) -> None:
    with bpy.data.libraries.load(path) as (there, here):
        here.objects = there.objects
    for item in here.objects:
        bpy.context.scene.collection.objects.link(item)


_IMPORTERS = {
    ".glb": _import_gltf,
    ".gltf": _import_gltf,
    ".obj": lambda path: bpy.ops.wm.obj_import(filepath=path),
    ".stl": lambda path: bpy.ops.wm.stl_import(filepath=path),
    ".ply": lambda path: bpy.ops.wm.ply_import(filepath=path),
    ".blend": _import_blend,
}


def _check_libraries(path: Path) -> None:
    """Raise ValueError if a material library of an OBJ file is missing; Blender only prints that."""
    for line in re.findall(rb"^[ \t]*mtllib[ \t]+(.+?)\s*$", path.read_bytes(), re.MULTILINE):
        written = line.decode("utf-8", "replace").strip('"')
        if not (path.parent / written).is_file() and not all((path.parent / one).is_file() for one in written.split()):
            raise ValueError(f"the material library {written} is missing; put it beside {path.name}")


def _check_textures(images) -> None:
    """Raise ValueError if images are missing or cannot be read; Blender paints them magenta."""
    lost = [image.filepath for image in images if image.source in ("FILE", "TILED") and 0 in image.size]
    if lost:
        raise ValueError(f"textures are missing or cannot be read: {', '.join(sorted(lost))}")


def _use_texture_of_ply(path: Path, items: list[bpy.types.Object]) -> None:
    """Give a PLY the texture in its header, `comment TextureFile NAME` as MeshLab writes it; Blender ignores that."""
    header = path.read_bytes().partition(b"end_header")[0]
    named = re.search(rb"^comment[ \t]+TextureFile[ \t]+(.+?)\s*$", header, re.MULTILINE)
    if named is None:
        return
    texture = path.parent / named[1].decode("utf-8", "replace")
    if not texture.is_file():
        raise ValueError(f"the texture {texture.name} is missing; put it beside {path.name}")
    material, bsdf = _plain_material()
    node = material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = bpy.data.images.load(str(texture))
    material.node_tree.links.new(node.outputs["Color"], bsdf.inputs["Base Color"])
    for item in items:
        item.data.materials.append(material)


def _use_vertex_colours(mesh: bpy.types.Mesh) -> None:
    """Show the colours of a mesh's vertices in each of its materials that has no texture."""
    if not mesh.materials:
        mesh.materials.append(_plain_material()[0])
    for number, material in enumerate(mesh.materials):
        bsdf = bsdf_of(material)
        if bsdf is None or bsdf.inputs["Base Color"].is_linked:
            continue
        own = material.copy()  # other meshes of this material may have no colours
        node = own.node_tree.nodes.new("ShaderNodeVertexColor")
        node.layer_name = mesh.color_attributes.active_color_name
        own.node_tree.links.new(node.outputs["Color"], bsdf_of(own).inputs["Base Color"])
        mesh.materials[number] = own


def _plain_material() -> tuple[bpy.types.Material, bpy.types.ShaderNode]:
    material = bpy.data.materials.new("colours")
    material.use_nodes = True
    return material, bsdf_of(material)


def bsdf_of(material: bpy.types.Material | None) -> bpy.types.ShaderNode | None:
    """Return the principled shader of a material, or None if it has none."""
    if material is None or not material.use_nodes:
        return None
    return next((node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED"), None)
