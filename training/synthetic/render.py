"""SceneSpec -> image and instance mask; the only importer of bpy, run in its own interpreter and environment.

A worker: it reads one JSON object a line, `{"spec": ..., "out": PATH}`, and answers each with a line that begins with
`@`: `@ok` or `@error REASON`. It writes PATH, a NumPy archive:

- `light`: float16 (H, W, 3), scene-linear RGB;
- `index`: uint8 (H, W), the number of the labelled thing that each pixel shows, from 1 in the order of the spec, or 0;
- `vertices_K`, `faces_K` for each labelled thing K: float32 (V, 2) px and int32 (F, 3), its silhouette as triangles.
"""

import json
import math
import os
import sys
import tempfile

import bpy

# isort: split
import bmesh  # bpy brings this and the others along
import numpy as np
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Matrix, Vector

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


def main() -> None:
    """Answer requests until standard input ends."""
    for line in sys.stdin:
        request = json.loads(line)
        try:
            render(request["spec"], request["out"])
            answer = "@ok"
        except Exception as error:  # one bad scene must not take the worker with it
            answer = f"@error {type(error).__name__}: {' '.join(str(error).split())}"
        sys.stdout.write(f"\n{answer}\n")
        sys.stdout.flush()


def render(spec: dict, out: str) -> None:
    """Build, render and write one scene."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    camera = _add_camera(scene, spec["camera"])
    _set_world(scene, *spec["world"])
    for lamp in spec["lamps"]:
        _add_lamp(scene, lamp)
    reach = 60 * math.dist(spec["camera"]["position"], (0, 0, 0))
    _add_box(
        scene,
        "ground",
        (2 * reach, 2 * reach, 0.2),
        place=(0, 0, -0.1),
        yaw_deg=0.0,
        material=_material(spec["ground"]),
    )
    if spec["tray"]:
        _add_tray(scene, spec["tray"])
    labelled = []
    for thing in spec["things"]:
        item = _add_thing(scene, thing)
        if thing["label"] is not None:
            labelled.append(item)
            item.pass_index = len(labelled)
    with tempfile.TemporaryDirectory() as folder:
        light, index = _run_cycles(scene, spec, folder)
    arrays = {"light": light, "index": index}
    for number, item in enumerate(labelled, 1):
        arrays[f"vertices_{number}"], arrays[f"faces_{number}"] = _silhouette(scene, camera, item)
    np.savez(out, **arrays)


def _run_cycles(scene: bpy.types.Scene, spec: dict, folder: str) -> tuple[np.ndarray, np.ndarray]:
    size = spec["camera"]["size_px"]
    scene.render.engine = "CYCLES"
    scene.render.resolution_x = scene.render.resolution_y = size
    scene.render.resolution_percentage = 100
    if "RENDERSIGHT_THREADS" in os.environ:
        scene.render.threads_mode = "FIXED"
        scene.render.threads = int(os.environ["RENDERSIGHT_THREADS"])
    cycles = scene.cycles
    cycles.device = "CPU"
    cycles.samples = spec["samples"]
    cycles.seed = spec["seed"] % 2**31
    cycles.use_adaptive_sampling = False
    cycles.use_denoising = True
    cycles.denoiser = "OPENIMAGEDENOISE"
    cycles.denoising_quality = "FAST"
    cycles.denoising_prefilter = "FAST"  # with two paths a pixel, noisy albedo and normals would be kept as grain
    cycles.use_light_tree = False  # few lamps: choosing among them costs more than it saves
    cycles.max_bounces = 5
    cycles.diffuse_bounces = 2
    cycles.glossy_bounces = 2
    cycles.transmission_bounces = 5
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.sample_clamp_indirect = 8.0
    scene.view_layers[0].use_pass_object_index = True
    scene.use_nodes = True
    tree = scene.node_tree
    tree.nodes.clear()
    layers = tree.nodes.new("CompositorNodeRLayers")
    output = tree.nodes.new("CompositorNodeOutputFile")
    output.base_path = folder
    output.format.file_format = "OPEN_EXR"
    output.format.color_depth = "32"
    output.file_slots.clear()
    for name, source in (("light", "Image"), ("index", "IndexOB")):
        output.file_slots.new(name)
        tree.links.new(layers.outputs[source], output.inputs[-1])
    bpy.ops.render.render()
    light = _read_exr(f"{folder}/light0001.exr", size)[..., :3]
    index = _read_exr(f"{folder}/index0001.exr", size)[..., 0]
    return np.minimum(light, 60000).astype(np.float16), np.rint(index).astype(np.uint8)


def _read_exr(path: str, size: int) -> np.ndarray:
    image = bpy.data.images.load(path)
    image.colorspace_settings.name = "Non-Color"
    pixels = np.empty(size * size * image.channels, np.float32)
    image.pixels.foreach_get(pixels)
    return pixels.reshape(size, size, image.channels)[::-1]


def _silhouette(scene: bpy.types.Scene, camera: bpy.types.Object, item: bpy.types.Object) -> tuple:
    """Project the evaluated mesh: pixels of its vertices, and triangles."""
    evaluated = item.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = evaluated.to_mesh()
    mesh.calc_loop_triangles()
    size = scene.render.resolution_x
    projected = [world_to_camera_view(scene, camera, evaluated.matrix_world @ v.co) for v in mesh.vertices]
    vertices = np.array([(p.x * size, (1 - p.y) * size) for p in projected], np.float32)
    faces = np.empty(len(mesh.loop_triangles) * 3, np.int32)
    mesh.loop_triangles.foreach_get("vertices", faces)
    evaluated.to_mesh_clear()
    return vertices, faces.reshape(-1, 3)


def _add_camera(scene: bpy.types.Scene, spec: dict) -> bpy.types.Object:
    data = bpy.data.cameras.new("camera")
    data.lens = spec["focal_mm"]
    data.sensor_width = 36.0
    data.clip_end = 10000
    camera = bpy.data.objects.new("camera", data)
    forward = -Vector(spec["position"]).normalized()
    helper = Vector((0, 1, 0)) if abs(forward.z) > 0.999 else Vector((0, 0, 1))  # noqa: PLR2004 - as in geometry.py
    right = forward.cross(helper).normalized()
    up = right.cross(forward)
    turn = math.radians(spec["roll_deg"])
    right, up = right * math.cos(turn) + up * math.sin(turn), up * math.cos(turn) - right * math.sin(turn)
    axes = Matrix((right, up, -forward)).transposed().to_4x4()
    camera.matrix_world = Matrix.Translation(spec["position"]) @ axes
    scene.collection.objects.link(camera)
    scene.camera = camera
    bpy.context.view_layer.update()
    return camera


def _set_world(scene: bpy.types.Scene, name: str, rotation_deg: float, strength: float) -> None:
    world = bpy.data.worlds.new("world")
    scene.world = world
    world.use_nodes = True
    nodes, links = world.node_tree.nodes, world.node_tree.links
    picture = nodes.new("ShaderNodeTexEnvironment")
    folder = os.path.join(bpy.utils.system_resource("DATAFILES"), "studiolights", "world")  # noqa: PTH118
    picture.image = bpy.data.images.load(os.path.join(folder, f"{name}.exr"))  # noqa: PTH118
    mapping = nodes.new("ShaderNodeMapping")
    mapping.inputs["Rotation"].default_value = (0, 0, math.radians(rotation_deg))
    links.new(nodes.new("ShaderNodeTexCoord").outputs["Generated"], mapping.inputs["Vector"])
    links.new(mapping.outputs["Vector"], picture.inputs["Vector"])
    world.cycles.sampling_method = "MANUAL"
    world.cycles.sample_map_resolution = 256  # its importance map otherwise takes a second of every scene
    background = nodes["Background"]
    background.inputs["Strength"].default_value = strength
    links.new(picture.outputs["Color"], background.inputs["Color"])


def _add_lamp(scene: bpy.types.Scene, spec: dict) -> None:
    data = bpy.data.lights.new("lamp", "AREA")
    data.size = spec["size"]
    data.color = spec["rgb"]
    distance = Vector(spec["position"]).length
    data.energy = spec["energy"] * distance**2 * 4 * math.pi  # irradiance falls with the square of the distance
    lamp = bpy.data.objects.new("lamp", data)
    lamp.location = spec["position"]
    lamp.rotation_euler = (-Vector(spec["position"])).to_track_quat("-Z", "Y").to_euler()
    scene.collection.objects.link(lamp)


def _add_tray(scene: bpy.types.Scene, spec: dict) -> None:
    wall, floor = _material(spec["wall"]), _material(spec["floor"])
    x, y, high, thick, yaw = (spec[key] for key in ("half_x", "half_y", "height", "thickness", "yaw_deg"))
    _add_box(scene, "floor", (2 * x, 2 * y, 0.002), place=(0, 0, 0), yaw_deg=yaw, material=floor)
    turn = Matrix.Rotation(math.radians(yaw), 3, "Z")
    for along_x, sign in ((True, 1), (True, -1), (False, 1), (False, -1)):
        size = (2 * x + 2 * thick, thick, high) if along_x else (thick, 2 * y, high)
        middle = (0, sign * (y + thick / 2), high / 2) if along_x else (sign * (x + thick / 2), 0, high / 2)
        _add_box(scene, "wall", size, place=turn @ Vector(middle), yaw_deg=yaw, material=wall)


def _add_thing(scene: bpy.types.Scene, spec: dict) -> bpy.types.Object:
    if spec["kind"] == "mesh":
        return _add_mesh(scene, spec)
    material = _material(spec["surface"])
    x, y, z = spec["size"]
    place = (*spec["position"], z / 2)
    if spec["kind"] == "die":
        return _add_die(scene, spec, place)
    if spec["kind"] == "box":
        item = _add_box(scene, "box", (x, y, z), place=place, yaw_deg=spec["yaw_deg"], material=material)
        if spec["edge"]:
            _round(item, spec["edge"] * min(x, y, z))
        return item
    round_shapes = {
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


def _add_box(scene, name, size, *, place, yaw_deg, material) -> bpy.types.Object:
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
    mesh.materials.append(_material(spec["surface"], marks=_marks(spec), pips=spec["pips"], side=side))
    item = bpy.data.objects.new("die", mesh)
    item.location = place
    item.rotation_euler = (0, 0, math.radians(spec["yaw_deg"]))
    scene.collection.objects.link(item)
    _round(item, spec["edge"] * side)
    return item


def _marks(spec: dict) -> bpy.types.Image:
    """Paint the six faces side by side: red is pip or body, green the depth, blue the ace's own colour."""
    atlas = np.zeros((2 * _FACE_PX, 3 * _FACE_PX, 4), np.float32)
    atlas[..., 1] = 1.0
    atlas[..., 3] = 1.0
    pips = spec["pips"]
    middle = (np.arange(_FACE_PX) + 0.5) / _FACE_PX - 0.5
    x, y = np.meshgrid(middle, middle)  # y grows upwards, as Blender's images do
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


def _material(spec: dict, marks: bpy.types.Image | None = None, pips: dict | None = None, side: float = 1.0):
    material = bpy.data.materials.new("surface")
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    bsdf = nodes["Principled BSDF"]
    colour, height = _pattern(nodes, links, spec)
    bsdf.inputs["Roughness"].default_value = spec["roughness"]
    bsdf.inputs["Metallic"].default_value = spec["metallic"]
    bsdf.inputs["Transmission Weight"].default_value = spec["transmission"]
    bsdf.inputs["IOR"].default_value = 1.5
    normal = None
    if height is not None and spec["bump"]:
        normal = _bump(nodes, links, height, spec["bump"], None)
    if marks is not None:
        picture = nodes.new("ShaderNodeTexImage")
        picture.image = marks
        picture.interpolation = "Cubic"
        split = nodes.new("ShaderNodeSeparateColor")
        links.new(picture.outputs["Color"], split.inputs["Color"])
        paint = _mix(nodes, links, split.outputs["Blue"], pips["rgb"], pips["ace_rgb"])
        colour = _mix(nodes, links, split.outputs["Red"], colour, paint)
        for name, on_pip in (("Transmission Weight", 0.0), ("Metallic", 0.0), ("Roughness", 0.5)):
            blend = nodes.new("ShaderNodeMix")
            links.new(split.outputs["Red"], blend.inputs["Factor"])
            blend.inputs["A"].default_value = bsdf.inputs[name].default_value
            blend.inputs["B"].default_value = on_pip
            links.new(blend.outputs["Result"], bsdf.inputs[name])
        if pips["depth"]:
            normal = _bump(nodes, links, split.outputs["Green"], pips["depth"] * side, normal)
    links.new(colour, bsdf.inputs["Base Color"])
    if normal is not None:
        links.new(normal, bsdf.inputs["Normal"])
    return material


def _bump(nodes, links, height, distance, normal):
    bump = nodes.new("ShaderNodeBump")
    bump.inputs["Distance"].default_value = distance
    links.new(height, bump.inputs["Height"])
    if normal is not None:
        links.new(normal, bump.inputs["Normal"])
    return bump.outputs["Normal"]


def _mix(nodes, links, factor, a, b):
    """Blend two colours, each a socket or linear RGB, by a socket."""
    mix = nodes.new("ShaderNodeMix")
    mix.data_type = "RGBA"
    links.new(factor, mix.inputs["Factor"])
    for name, value in (("A", a), ("B", b)):
        socket = next(s for s in mix.inputs if s.name == name and s.type == "RGBA")
        if isinstance(value, bpy.types.NodeSocket):
            links.new(value, socket)
        else:
            socket.default_value = (*value, 1.0)
    return next(s for s in mix.outputs if s.type == "RGBA")


def _pattern(nodes, links, spec):
    """Return the sockets of a pattern's colour and height; height is None for a plain surface."""
    if spec["pattern"] == "plain":
        plain = nodes.new("ShaderNodeRGB")
        plain.outputs[0].default_value = (*spec["rgb"], 1.0)
        return plain.outputs[0], None
    where = nodes.new("ShaderNodeTexCoord").outputs["Object"]
    factor = _FACTORS[spec["pattern"]](nodes, links, where, spec["scale"])
    colour = _mix(nodes, links, factor, spec["rgb"], spec["rgb2"])
    if spec["pattern"] == "tiles":  # each tile has a hue of its own beside its shade
        hues = factor.node.inputs["Color"].links[0].from_socket
        colour = _mix(nodes, links, _constant(nodes, 0.5), colour, hues)
    return colour, factor


def _texture(nodes, links, where, kind, output, **values):
    texture = nodes.new(kind)
    links.new(where, texture.inputs["Vector"])
    for name, value in values.items():
        if name in texture.inputs:
            texture.inputs[name].default_value = value
        else:
            setattr(texture, name, value)
    return texture.outputs[output]


def _constant(nodes, value):
    node = nodes.new("ShaderNodeValue")
    node.outputs[0].default_value = value
    return node.outputs[0]


def _noise(nodes, links, where, scale):
    return _contrast(
        nodes, links, _texture(nodes, links, where, "ShaderNodeTexNoise", "Fac", Scale=scale * 4, Detail=2.5), 0.4, 0.6
    )


def _marble(nodes, links, where, scale):
    value = _texture(nodes, links, where, "ShaderNodeTexNoise", "Fac", Scale=scale, Detail=2, Distortion=2.5)
    return _contrast(nodes, links, value, 0.42, 0.58)


def _wood(nodes, links, where, scale):
    stretch = nodes.new("ShaderNodeMapping")
    stretch.inputs["Scale"].default_value = (1.0, 0.12, 1.0)
    links.new(where, stretch.inputs["Vector"])
    return _texture(
        nodes, links, stretch.outputs[0], "ShaderNodeTexNoise", "Fac", Scale=scale * 5, Detail=3, Distortion=0.6
    )


def _cells(nodes, links, where, scale):
    return _texture(nodes, links, where, "ShaderNodeTexVoronoi", "Distance", Scale=scale * 3)


def _checker(nodes, links, where, scale):
    return _texture(nodes, links, where, "ShaderNodeTexChecker", "Fac", Scale=scale * 2)


def _weave(nodes, links, where, scale):
    return _texture(nodes, links, where, "ShaderNodeTexMagic", "Fac", Scale=scale * 12, turbulence_depth=1)


def _dots(nodes, links, where, scale):
    """Rows of round spots."""
    distance = _texture(nodes, links, where, "ShaderNodeTexVoronoi", "Distance", Scale=scale * 3, Randomness=0.0)
    return _contrast(nodes, links, distance, 0.24, 0.28)


def _tiles(nodes, links, where, scale):
    """Cells of one shade each, as on a game board."""
    colour = _texture(nodes, links, where, "ShaderNodeTexVoronoi", "Color", Scale=scale, Randomness=0.35)
    split = nodes.new("ShaderNodeSeparateColor")
    links.new(colour, split.inputs["Color"])
    return split.outputs["Red"]


def _print(nodes, links, where, scale):
    """Printed matter: patches of hard-edged bars and blots."""
    bars = _texture(nodes, links, where, "ShaderNodeTexBrick", "Fac", Scale=scale * 2)
    blots = _texture(nodes, links, where, "ShaderNodeTexVoronoi", "Distance", Scale=scale * 2)
    product = nodes.new("ShaderNodeMath")
    product.operation = "MAXIMUM"
    links.new(bars, product.inputs[0])
    links.new(_contrast(nodes, links, blots, 0.28, 0.3), product.inputs[1])
    return product.outputs[0]


def _contrast(nodes, links, value, low, high):
    spread = nodes.new("ShaderNodeMapRange")
    spread.inputs["From Min"].default_value = low
    spread.inputs["From Max"].default_value = high
    links.new(value, spread.inputs["Value"])
    return spread.outputs["Result"]


_FACTORS = {
    "noise": _noise,
    "marble": _marble,
    "wood": _wood,
    "cells": _cells,
    "checker": _checker,
    "weave": _weave,
    "print": _print,
    "dots": _dots,
    "tiles": _tiles,
}


def _add_mesh(scene: bpy.types.Scene, spec: dict) -> bpy.types.Object:
    """Stand a mesh from a file on the ground, in the resting pose that the spec chooses."""
    template = bpy.data.objects.get(spec["source"][-60:]) or _import(scene, spec["source"])
    item = template.copy()
    if spec["surface"]:
        item.data = template.data.copy()
        item.data.materials.clear()
        item.data.materials.append(_material(spec["surface"]))
    points = np.array([vertex.co for vertex in item.data.vertices])
    turn = Matrix.Rotation(math.radians(spec["yaw_deg"]), 3, "Z") @ _resting_turn(item.data, spec["pose"])
    scale = spec["size"][0] / np.ptp(points, axis=0).max()
    turned = points @ np.array(turn).T * scale
    middle = (turned.min(axis=0) + turned.max(axis=0)) / 2
    x, y = spec["position"]
    place = Vector((x - middle[0], y - middle[1], -turned[:, 2].min()))
    item.matrix_world = Matrix.Translation(place) @ turn.to_4x4() @ Matrix.Scale(scale, 4)
    scene.collection.objects.link(item)
    return item


def _import(scene: bpy.types.Scene, path: str) -> bpy.types.Object:
    """Read a mesh file and join all its meshes into one template, which is in no collection and not rendered."""
    before = set(bpy.data.objects)
    suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122
    _IMPORTERS[suffix](path)
    fresh = [item for item in bpy.data.objects if item not in before]
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
    for item in joined:
        scene.collection.objects.link(item)
    with bpy.context.temp_override(
        active_object=joined[0], object=joined[0], selected_objects=joined, selected_editable_objects=joined
    ):
        bpy.ops.object.join()
    template = joined[0]
    scene.collection.objects.unlink(template)
    template.name = path[-60:]
    return template


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


def _resting_turn(mesh: bpy.types.Mesh, pose: float) -> Matrix:
    """Return the turn that lays a mesh on a face of its convex hull, chosen by `pose` among those it can rest on.

    It rests where its middle lies above the face; a larger face is chosen more often.
    """
    hull = bmesh.new()
    hull.from_mesh(mesh)
    result = bmesh.ops.convex_hull(hull, input=hull.verts)
    inside = [item for item in result["geom_interior"] if isinstance(item, bmesh.types.BMVert)]
    bmesh.ops.delete(hull, geom=inside, context="VERTS")
    bmesh.ops.dissolve_limit(hull, angle_limit=math.radians(3), verts=hull.verts, edges=hull.edges)
    hull.normal_update()
    middle = sum((face.calc_center_median() * face.calc_area() for face in hull.faces), Vector())
    middle /= max(sum(face.calc_area() for face in hull.faces), 1e-9)
    stable = [face for face in hull.faces if _is_above(face, middle)] or list(hull.faces)
    left = pose * sum(face.calc_area() for face in stable)
    chosen = stable[-1]
    for face in stable:
        left -= face.calc_area()
        if left <= 0:
            chosen = face
            break
    down = chosen.normal.copy()
    hull.free()
    return down.rotation_difference(Vector((0, 0, -1))).to_matrix()


def _is_above(face: bmesh.types.BMFace, point: Vector) -> bool:
    """Tell whether a point falls onto a convex face when it moves along the face's normal."""
    corners = [vert.co for vert in face.verts]
    following = corners[1:] + corners[:1]
    return all((b - a).cross(point - a).dot(face.normal) >= 0 for a, b in zip(corners, following, strict=True))


if __name__ == "__main__":
    main()
