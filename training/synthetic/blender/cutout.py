"""One object alone before a transparent background."""

import math
import os
import tempfile

import bpy

# isort: split
import numpy as np
from mathutils import Matrix, Quaternion, Vector  # installed with bpy

from training.synthetic.blender.assemblies import assembly_mesh, points_of
from training.synthetic.blender.environment import add_lamp
from training.synthetic.blender.mesh_files import has_textures
from training.synthetic.blender.meshes import paint, template_of
from training.synthetic.blender.misassembly import misassembled
from training.synthetic.blender.resting import resting_turn

_WORLDS = os.path.join(bpy.utils.system_resource("DATAFILES"), "studiolights", "world")  # noqa: PTH118
_FLOOR, _CAMERA = "cutout floor", "cutout camera"
_FLOOR_DEPTH = -0.55
_means: dict[str, float] = {}
_balls: dict[str, tuple[float, Vector]] = {}


def render_cutout(spec: dict, out: str) -> None:
    """Render one object and write `rgba`, float16 (S, S, 4), linear and premultiplied, `diameter` and `is_plain`.

    Meshes, their textures and the worlds stay loaded for the next request.
    """
    scene = bpy.context.scene
    if _CAMERA not in bpy.data.objects:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        scene = bpy.context.scene
        _prepare(scene)
    wrong = misassembled(template_of(spec["source"]).data, spec["seed"]) if spec["is_misassembled"] else None
    if spec["parts"] and wrong is None:
        item, diameter = _thing(scene, spec["parts"])
    else:
        item, diameter = _mesh(scene, spec, wrong)
    is_plain = not has_textures(item.data)
    turn = Quaternion(spec["turn"]).to_matrix().to_4x4()
    item.matrix_world = turn @ item.matrix_world
    _aim(bpy.data.objects[_CAMERA], spec["distance"], math.radians(spec["elevation_deg"]))
    _light(scene, spec["world"])
    for lamp in [other for other in scene.collection.objects if other.type == "LIGHT"]:
        bpy.data.objects.remove(lamp)
    if spec["lamp"]:
        add_lamp(scene, spec["lamp"])
    floor = bpy.data.objects[_FLOOR]
    floor.hide_render = spec["bounce_rgb"] is None
    if spec["bounce_rgb"] is not None:
        colour = bpy.data.materials[_FLOOR].node_tree.nodes["Principled BSDF"].inputs["Base Color"]
        colour.default_value = (*spec["bounce_rgb"], 1.0)
    scene.render.resolution_x = scene.render.resolution_y = spec["size_px"]
    scene.cycles.samples = spec["samples"]
    scene.cycles.seed = spec["seed"] % 2**31
    rgba = _trace(scene, spec["size_px"])
    is_for_once = item.data.users == 1  # the mesh of a thing, or a painted one
    bpy.data.objects.remove(item)
    if is_for_once:
        bpy.data.orphans_purge(do_recursive=True)
    np.savez(out, rgba=np.minimum(rgba, 60000).astype(np.float16), diameter=np.float32(diameter), is_plain=is_plain)


def _trace(scene: bpy.types.Scene, size: int) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        scene.render.filepath = f"{folder}/cutout.exr"
        bpy.ops.render.render(write_still=True)
        picture = bpy.data.images.load(scene.render.filepath)
        picture.colorspace_settings.name = "Non-Color"
        pixels = np.empty(size**2 * 4, np.float32)
        picture.pixels.foreach_get(pixels)
        bpy.data.images.remove(picture)
    return pixels.reshape(size, size, 4)[::-1]


def _mesh(scene: bpy.types.Scene, spec: dict, instead: bpy.types.Mesh | None = None) -> tuple[bpy.types.Object, float]:
    """Add a mesh with its middle at the origin and its bounding ball of diameter 1; return its own diameter too.

    `instead` is a mesh to show in place of the file's own.
    """
    template = template_of(spec["source"])
    item = template.copy()
    if instead is None:
        if template.name not in _balls:
            _balls[template.name] = _ball_of(template.data)
        diameter, middle = _balls[template.name]
        paint(item, spec, extent=diameter)
        _set_gloss(item.data, spec["gloss"])
    else:
        diameter, middle = _ball_of(instead)
        item.data = instead
        paint(item, spec, extent=diameter)
    scene.collection.objects.link(item)
    item.matrix_world = Matrix.Scale(1 / diameter, 4) @ Matrix.Translation(-middle)
    if spec["pose"] is not None:
        item.matrix_world = resting_turn(template, spec["pose"]).to_4x4() @ item.matrix_world
    return item, diameter


def _ball_of(mesh: bpy.types.Mesh) -> tuple[float, Vector]:
    """Return the diameter of a mesh's bounding ball, and the ball's middle."""
    points = points_of(mesh)
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    return 2 * float(np.linalg.norm(points - middle, axis=1).max()), Vector(middle.tolist())


def _thing(scene: bpy.types.Scene, parts: list) -> tuple[bpy.types.Object, float]:
    """Add a thing of parts with its middle at the origin and a diagonal of 1; return its own diagonal."""
    mesh = assembly_mesh(parts)
    points = points_of(mesh)
    diagonal = float(np.linalg.norm(np.ptp(points, axis=0)))
    middle = Vector(((points.min(axis=0) + points.max(axis=0)) / 2).tolist())
    item = bpy.data.objects.new("thing", mesh)
    scene.collection.objects.link(item)
    item.matrix_world = Matrix.Scale(1 / diagonal, 4) @ Matrix.Translation(-middle)
    return item, diagonal


def _prepare(scene: bpy.types.Scene) -> None:
    camera = bpy.data.objects.new(_CAMERA, bpy.data.cameras.new("camera"))
    scene.collection.objects.link(camera)
    scene.camera = camera
    # the floor is not seen; it keeps light from below away, as a table does
    bpy.ops.mesh.primitive_plane_add(size=20, location=(0, 0, _FLOOR_DEPTH))
    floor = bpy.context.object
    floor.name = _FLOOR
    floor.visible_camera = False
    material = bpy.data.materials.new(_FLOOR)
    material.use_nodes = True
    floor.data.materials.append(material)
    world = bpy.data.worlds.new("cutout")
    scene.world = world
    world.use_nodes = True
    nodes, links = world.node_tree.nodes, world.node_tree.links
    picture = nodes.new("ShaderNodeTexEnvironment")
    mapping = nodes.new("ShaderNodeMapping")
    links.new(nodes.new("ShaderNodeTexCoord").outputs["Generated"], mapping.inputs["Vector"])
    links.new(mapping.outputs["Vector"], picture.inputs["Vector"])
    links.new(picture.outputs["Color"], nodes["Background"].inputs["Color"])
    world.cycles.sampling_method = "MANUAL"
    world.cycles.sample_map_resolution = 256
    render, cycles = scene.render, scene.cycles
    render.engine = "CYCLES"
    render.film_transparent = True
    render.use_persistent_data = True
    render.resolution_percentage = 100
    render.image_settings.file_format = "OPEN_EXR"
    render.image_settings.color_mode = "RGBA"
    render.image_settings.color_depth = "16"
    if "RENDERSIGHT_THREADS" in os.environ:
        render.threads_mode = "FIXED"
        render.threads = int(os.environ["RENDERSIGHT_THREADS"])
    cycles.device = "CPU"
    cycles.use_adaptive_sampling = False
    cycles.use_denoising = True
    cycles.denoiser = "OPENIMAGEDENOISE"
    cycles.denoising_quality = "FAST"
    cycles.denoising_prefilter = "FAST"
    cycles.max_bounces = 4
    cycles.diffuse_bounces = 2
    cycles.glossy_bounces = 2
    cycles.transmission_bounces = 4
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.sample_clamp_indirect = 8.0


def _aim(camera: bpy.types.Object, distance: float, elevation: float) -> None:
    """Look at the origin so that a ball of diameter 1 just fits."""
    camera.data.type = "PERSP"
    camera.data.angle = 2 * math.asin(0.5 / distance)
    camera.location = (0, -distance * math.cos(elevation), distance * math.sin(elevation))
    camera.rotation_euler = (-camera.location).to_track_quat("-Z", "Y").to_euler()


def _light(scene: bpy.types.Scene, spec: list) -> None:
    """Light the scene by one of Blender's HDRIs; the strength is relative to its mean luminance."""
    name, rotation_deg, strength = spec
    nodes = scene.world.node_tree.nodes
    image = bpy.data.images.get(f"{name}.exr") or bpy.data.images.load(f"{_WORLDS}/{name}.exr")
    if name not in _means:
        width, height = image.size
        pixels = np.empty(width * height * image.channels, np.float32)
        image.pixels.foreach_get(pixels)
        luminance = pixels.reshape(height, width, -1)[..., :3] @ np.array([0.2126, 0.7152, 0.0722], np.float32)
        area = np.sin((np.arange(height) + 0.5) / height * math.pi)
        _means[name] = float((luminance.mean(axis=1) * area).sum() / area.sum())
    nodes["Environment Texture"].image = image
    nodes["Mapping"].inputs["Rotation"].default_value = (0, 0, math.radians(rotation_deg))
    nodes["Background"].inputs["Strength"].default_value = strength / max(_means[name], 1e-6)


def _set_gloss(mesh: bpy.types.Mesh, roughness: float | None) -> None:
    for material in mesh.materials:
        if material is None or not material.use_nodes:
            continue
        for node in material.node_tree.nodes:
            if node.type == "BSDF_PRINCIPLED" and not node.inputs["Roughness"].is_linked:
                if "own roughness" not in material:
                    material["own roughness"] = node.inputs["Roughness"].default_value
                node.inputs["Roughness"].default_value = material["own roughness"] if roughness is None else roughness
