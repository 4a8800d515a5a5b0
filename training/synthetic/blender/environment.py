"""Camera, light, ground and tray of a scene."""

import math
import os

import bpy

# isort: split
from mathutils import Matrix, Vector  # installed with bpy

from training.synthetic.blender.materials import material_of
from training.synthetic.blender.shapes import add_box


def add_camera(scene: bpy.types.Scene, spec: dict) -> bpy.types.Object:
    """Add the camera, with the same axes as in `synthetic/camera.py`."""
    data = bpy.data.cameras.new("camera")
    data.lens = spec["focal_mm"]
    data.sensor_width = 36.0
    data.clip_end = 10000
    camera = bpy.data.objects.new("camera", data)
    forward = (Vector(spec.get("target", (0, 0, 0))) - Vector(spec["position"])).normalized()
    helper = Vector((0, 1, 0)) if abs(forward.z) > 0.999 else Vector((0, 0, 1))  # noqa: PLR2004 - as in synthetic/camera.py
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


def set_world(scene: bpy.types.Scene, name: str, rotation_deg: float, strength: float) -> None:
    """Light the scene with one of Blender's own HDRIs, turned about the vertical."""
    world = bpy.data.worlds.new("world")
    scene.world = world
    world.use_nodes = True
    nodes, links = world.node_tree.nodes, world.node_tree.links
    picture = nodes.new("ShaderNodeTexEnvironment")
    folder = os.path.join(bpy.utils.system_resource("DATAFILES"), "studiolights", "world")  # noqa: PTH118
    picture.image = bpy.data.images.load(os.path.join(folder, f"{name}.exr"), check_existing=True)  # noqa: PTH118
    picture.image.use_fake_user = True
    mapping = nodes.new("ShaderNodeMapping")
    mapping.inputs["Rotation"].default_value = (0, 0, math.radians(rotation_deg))
    links.new(nodes.new("ShaderNodeTexCoord").outputs["Generated"], mapping.inputs["Vector"])
    links.new(mapping.outputs["Vector"], picture.inputs["Vector"])
    world.cycles.sampling_method = "MANUAL"
    world.cycles.sample_map_resolution = 256  # the default importance map takes a second per scene
    background = nodes["Background"]
    background.inputs["Strength"].default_value = strength
    links.new(picture.outputs["Color"], background.inputs["Color"])


def add_lamp(scene: bpy.types.Scene, spec: dict) -> None:
    """Add an area light that points at the origin."""
    data = bpy.data.lights.new("lamp", "AREA")
    data.size = spec["size"]
    data.color = spec["rgb"]
    distance = Vector(spec["position"]).length
    data.energy = spec["energy"] * distance**2 * 4 * math.pi  # irradiance falls with the square of the distance
    lamp = bpy.data.objects.new("lamp", data)
    lamp.location = spec["position"]
    lamp.rotation_euler = (-Vector(spec["position"])).to_track_quat("-Z", "Y").to_euler()
    scene.collection.objects.link(lamp)


def add_tray(scene: bpy.types.Scene, spec: dict) -> None:
    """Add four walls and a floor."""
    wall, floor = material_of(spec["wall"]), material_of(spec["floor"])
    x, y, yaw = (spec[key] for key in ("half_x", "half_y", "yaw_deg"))
    add_box(scene, "floor", (2 * x, 2 * y, 0.002), place=(0, 0, 0), yaw_deg=yaw, material=floor)
    for size, place in wall_boxes(spec):
        add_box(scene, "wall", size, place=place, yaw_deg=yaw, material=wall)


def wall_boxes(spec: dict) -> list[tuple]:
    """Return the size and the middle of each wall of a tray; all are turned by its yaw."""
    x, y, high, thick, yaw = (spec[key] for key in ("half_x", "half_y", "height", "thickness", "yaw_deg"))
    turn = Matrix.Rotation(math.radians(yaw), 3, "Z")
    boxes = []
    for along_x, sign in ((True, 1), (True, -1), (False, 1), (False, -1)):
        size = (2 * x + 2 * thick, thick, high) if along_x else (thick, 2 * y, high)
        middle = (0, sign * (y + thick / 2), high / 2) if along_x else (sign * (x + thick / 2), 0, high / 2)
        boxes.append((size, turn @ Vector(middle)))
    return boxes


def add_ground(scene: bpy.types.Scene, spec: dict) -> None:
    """Add a slab that extends far beyond the camera's view."""
    reach = 60 * math.dist(spec["camera"]["position"], (0, 0, 0))
    add_box(
        scene,
        "ground",
        (2 * reach, 2 * reach, 0.2),
        place=(0, 0, -0.1),
        yaw_deg=0.0,
        material=material_of(spec["ground"]),
    )
