"""A worker that lets things fall, and renders a SceneSpec to an image and an instance mask.

It reads one JSON object per line and answers each with a line that starts with `@`: `@ok` or `@error REASON`. The key
of the object says what to do: `{"settle": ..., "out": PATH}` (`settling.py`), `{"cutout": ..., "out": PATH}`
(`cutout.py`) or `{"spec": ..., "out": PATH}`. It writes PATH, a NumPy archive; that of a SceneSpec has these arrays:

- `light`: float16 (H, W, 3), scene-linear RGB;
- `index`: float32 (H, W), number of the labelled thing that each pixel shows, from 1 in the spec's order, or 0;
- `vertices_K`, `faces_K` for each labelled thing K: float32 (V, 2) px and int32 (F, 3), its silhouette as triangles.
"""

import json
import math
import os
import sys
import tempfile
from pathlib import Path

# last on the path: the folder of this package may also hold another Python's NumPy
sys.path.append(str(Path(__file__).resolve().parents[3]))

import bpy

# isort: split
import numpy as np
from mathutils import Matrix  # installed with bpy

from training.synthetic.blender.assemblies import add_assembly, points_of
from training.synthetic.blender.cutout import render_cutout
from training.synthetic.blender.dice import add_die
from training.synthetic.blender.environment import add_camera, add_ground, add_lamp, add_tray, set_world
from training.synthetic.blender.meshes import add_mesh, detail_of, outline_of
from training.synthetic.blender.settling import settle
from training.synthetic.blender.shapes import add_shape

_ADD = {"die": add_die, "assembly": add_assembly}
_KEY = "built"
"""Property of the scene that says what it holds."""
_NEAREST = 1e-3
"""Smallest distance before the camera of a point that is projected, world units."""


def main() -> None:
    """Answer requests until standard input ends."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answers = {"settle": settle, "cutout": render_cutout, "spec": render}
            (name,) = answers.keys() & request.keys()
            answers[name](request[name], request["out"])
            answer = "@ok"
        except Exception as error:  # one bad scene must not end the worker
            answer = f"@error {type(error).__name__}: {' '.join(str(error).split())}"
        sys.stdout.write(f"\n{answer}\n")
        sys.stdout.flush()


def render(spec: dict, out: str) -> None:
    """Build, render and write one scene."""
    scene, labelled = _built_scene(spec)
    camera = add_camera(scene, spec["camera"])
    set_world(scene, *spec["world"])
    for lamp in spec["lamps"]:
        add_lamp(scene, lamp)
    with tempfile.TemporaryDirectory() as folder:
        light, index = _run_cycles(scene, spec, folder)
    arrays = {"light": light, "index": index}
    for number, item in enumerate(labelled, 1):
        arrays[f"vertices_{number}"], arrays[f"faces_{number}"] = _silhouette(scene, camera, item)
    np.savez(out, **arrays)


def _built_scene(spec: dict) -> tuple[bpy.types.Scene, list[bpy.types.Object]]:
    """Return the scene with everything but camera and light, and its labelled things.

    Mesh files, their textures and the worlds stay loaded for the next scene. The things stay if the next scene has the
    same ones, so that only the view changes.
    """
    px = _px_per_unit(spec["camera"])
    key = json.dumps([spec["things"], spec["tray"], spec["ground"], detail_of(px)])
    if not any(thing["kind"] in ("mesh", "assembly") for thing in spec["things"]):
        bpy.ops.wm.read_factory_settings(use_empty=True)
    else:
        _clear(is_same=bpy.context.scene.get(_KEY) == key)
    scene = bpy.context.scene
    if scene.get(_KEY) == key:
        found = [item for item in scene.objects if item.pass_index]
        return scene, sorted(found, key=lambda item: item.pass_index)
    scene.render.use_persistent_data = True
    add_ground(scene, spec)
    if spec["tray"]:
        add_tray(scene, spec["tray"])
    labelled = []
    for thing in spec["things"]:
        if thing["kind"] == "mesh":
            item = add_mesh(scene, thing, px_per_unit=px)
        else:
            item = _ADD.get(thing["kind"], add_shape)(scene, thing)
        if thing["label"] is not None:
            labelled.append(item)
            item.pass_index = len(labelled)
    scene[_KEY] = key
    return scene, labelled


def _clear(*, is_same: bool) -> None:
    """Remove what the last scene had: camera and light, and all things too unless they are the same."""
    scene = bpy.context.scene
    for item in list(scene.objects):
        if not is_same or item.type in ("CAMERA", "LIGHT"):
            bpy.data.objects.remove(item)
    if not is_same:
        scene.render.use_persistent_data = False  # frees what Cycles keeps; else it shows removed things again
        scene.pop(_KEY, None)
    bpy.data.orphans_purge(do_recursive=True)


def _px_per_unit(camera: dict) -> float:
    """Return how many px of the picture a world unit at the camera's target is long."""
    distance = math.dist(camera["position"], camera.get("target", (0, 0, 0)))
    return camera["focal_mm"] / 36.0 * camera["size_px"] / distance


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
    cycles.denoising_prefilter = "FAST"  # at two paths per pixel, noisy albedo and normals would remain as grain
    cycles.use_light_tree = False  # with few lamps, choosing among them costs more than it saves
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
    return np.minimum(light, 60000).astype(np.float16), index


def _read_exr(path: str, size: int) -> np.ndarray:
    image = bpy.data.images.load(path)
    image.colorspace_settings.name = "Non-Color"
    pixels = np.empty(size * size * image.channels, np.float32)
    image.pixels.foreach_get(pixels)
    channels = image.channels
    bpy.data.images.remove(image)
    return pixels.reshape(size, size, channels)[::-1]


def _silhouette(scene: bpy.types.Scene, camera: bpy.types.Object, item: bpy.types.Object) -> tuple:
    """Return the vertices of an object in px, and its triangles without those behind the camera."""
    if "source" in item:
        return _projected(scene, camera, item.matrix_world, outline_of(item))
    evaluated = item.evaluated_get(bpy.context.evaluated_depsgraph_get())
    arrays = _projected(scene, camera, evaluated.matrix_world, evaluated.to_mesh())
    evaluated.to_mesh_clear()
    return arrays


def _projected(scene: bpy.types.Scene, camera: bpy.types.Object, pose: Matrix, mesh: bpy.types.Mesh) -> tuple:
    mesh.calc_loop_triangles()
    faces = np.empty(len(mesh.loop_triangles) * 3, np.int32)
    mesh.loop_triangles.foreach_get("vertices", faces)
    faces = faces.reshape(-1, 3)
    seen = np.array(camera.matrix_world.inverted() @ pose)
    points = points_of(mesh) @ seen[:3, :3].T + seen[:3, 3]
    depth = -points[:, 2]
    size = scene.render.resolution_x
    px = camera.data.lens / camera.data.sensor_width * size / np.maximum(depth, _NEAREST)
    vertices = np.stack([size / 2 + points[:, 0] * px, size / 2 - points[:, 1] * px], axis=1)
    return vertices.astype(np.float32), faces[(depth[faces] > _NEAREST).all(axis=1)]


if __name__ == "__main__":
    main()
