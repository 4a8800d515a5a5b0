"""A worker that renders a SceneSpec to an image and an instance mask.

It reads one JSON object per line, `{"spec": ..., "out": PATH}`, and answers each with a line that starts with `@`:
`@ok` or `@error REASON`. It writes PATH, a NumPy archive:

- `light`: float16 (H, W, 3), scene-linear RGB;
- `index`: float32 (H, W), number of the labelled thing that each pixel shows, from 1 in the spec's order, or 0;
- `vertices_K`, `faces_K` for each labelled thing K: float32 (V, 2) px and int32 (F, 3), its silhouette as triangles.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

# last on the path: the folder of this package may also hold another Python's NumPy
sys.path.append(str(Path(__file__).resolve().parents[3]))

import bpy

# isort: split
import numpy as np
from bpy_extras.object_utils import world_to_camera_view  # installed with bpy

from training.synthetic.blender.cutout import render_cutout
from training.synthetic.blender.dice import add_die
from training.synthetic.blender.environment import add_camera, add_ground, add_lamp, add_tray, set_world
from training.synthetic.blender.meshes import add_mesh
from training.synthetic.blender.shapes import add_shape

_ADD = {"die": add_die, "mesh": add_mesh}


def main() -> None:
    """Answer requests until standard input ends."""
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "cutout" in request:
                render_cutout(request["cutout"], request["out"])
            else:
                render(request["spec"], request["out"])
            answer = "@ok"
        except Exception as error:  # one bad scene must not end the worker
            answer = f"@error {type(error).__name__}: {' '.join(str(error).split())}"
        sys.stdout.write(f"\n{answer}\n")
        sys.stdout.flush()


def render(spec: dict, out: str) -> None:
    """Build, render and write one scene."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    camera = add_camera(scene, spec["camera"])
    set_world(scene, *spec["world"])
    for lamp in spec["lamps"]:
        add_lamp(scene, lamp)
    add_ground(scene, spec)
    if spec["tray"]:
        add_tray(scene, spec["tray"])
    labelled = []
    for thing in spec["things"]:
        item = _ADD.get(thing["kind"], add_shape)(scene, thing)
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
    return pixels.reshape(size, size, image.channels)[::-1]


def _silhouette(scene: bpy.types.Scene, camera: bpy.types.Object, item: bpy.types.Object) -> tuple:
    """Project the evaluated mesh: return its vertices in px and its triangles."""
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


if __name__ == "__main__":
    main()
