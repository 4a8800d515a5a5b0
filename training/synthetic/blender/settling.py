"""Rest poses of things that fall onto the ground: Blender's rigid bodies, with convex hulls."""

import math
from dataclasses import dataclass

import bpy

# isort: split
import bmesh  # installed with bpy, as are the next ones
import numpy as np
from mathutils import Quaternion, Vector

from training.synthetic.blender.assemblies import assembly_points, points_of
from training.synthetic.blender.environment import wall_boxes
from training.synthetic.blender.meshes import template_of

_FPS, _MOST_FRAMES, _CHECK_EVERY = 24, 240, 6
_MARGIN = 0.004
"""Gap that Bullet keeps between bodies, world units."""
_STILL = 2e-3
"""Largest move between two checks of a body at rest, world units."""
_GAP = 0.02
"""Height above what lies below from which a thing falls, world units."""


def settle(spec: dict, out: str) -> None:
    """Let things fall and write where they come to rest.

    `spec` has `sources`, the mesh files whose typical extent is one world unit; `things`, of which a distractor lies
    where it is and all others fall, one above the other, from x and y of their position; `tray`; and `funnel`, half the
    side of walls that hold the things together until they are at rest and are then taken away, or None. The arrays have
    a row for each thing, in order: `positions` (N, 3), `turns` (N, 4), `scales` (N,), and `radii` (N,), the radius of
    the bounding ball about the position.
    """
    extents = [np.ptp(points_of(template_of(source).data), axis=0).max() for source in spec["sources"]]
    unit = float(np.exp(np.log(extents).mean())) if extents else 1.0
    blocks = [_Block((400, 400, 4), (0, 0, -2), 0.0)]
    if spec["tray"]:
        blocks += [_Block(size, place, spec["tray"]["yaw_deg"]) for size, place in wall_boxes(spec["tray"])]
    rows, bodies, below = [], [], []
    for thing in spec["things"]:
        if thing["kind"] not in ("mesh", "assembly"):
            x, y, z = thing["size"]
            blocks.append(_Block((x, y, z), (*thing["position"], z / 2), thing["yaw_deg"]))
            below.append((*thing["position"], math.hypot(x, y) / 2, z))
            rows.append(((*thing["position"], z / 2), (1, 0, 0, 0), 1.0, math.hypot(x, y, z) / 2))
            continue
        is_mesh = thing["kind"] == "mesh"
        points = points_of(template_of(thing["source"]).data) if is_mesh else assembly_points(thing["parts"])
        scale = 1 / unit if is_mesh else thing["scale"]
        corners = (points - (points.min(axis=0) + points.max(axis=0)) / 2) * scale
        body = _Body(_support(corners), thing, below)
        bodies.append((len(rows), body))
        rows.append((None, None, scale, float(np.linalg.norm(corners, axis=1).max())))
    if spec["funnel"]:
        _simulate([body for _, body in bodies], [*blocks, *_funnel(spec["funnel"])])
    _simulate([body for _, body in bodies], blocks)
    for row, body in bodies:
        rows[row] = (tuple(body.place - body.turn @ body.weight), tuple(body.turn), *rows[row][2:])
    shapes = {"positions": (-1, 3), "turns": (-1, 4), "scales": (-1,), "radii": (-1,)}
    columns = zip(*rows, strict=True) if rows else ((),) * len(shapes)
    arrays = {
        name: np.array(column, np.float64).reshape(shape)
        for (name, shape), column in zip(shapes.items(), columns, strict=True)
    }
    np.savez(out, **arrays)


class _Body:
    """Something that falls. `place` is where its centre of mass is, `turn` its rotation."""

    def __init__(self, points: np.ndarray, thing: dict, below: list) -> None:
        """Hold a thing above all that it could fall on, and add it to that.

        Args:
            points: (N, 3), its corners about the middle of its bounding box, world units.
            thing: its JSON.
            below: x, y, radius and top of everything below.
        """
        self.weight = Vector(_centre_of_mass(points))
        self.points = points - np.array(self.weight)
        self.mass = max(float(np.prod(np.ptp(points, axis=0))), 1e-3)
        self.turn = Quaternion(thing["turn"])
        turned = points @ np.array(self.turn.to_matrix()).T
        x, y = thing["position"][:2]
        reach = float(np.linalg.norm(turned[:, :2], axis=1).max())
        floor = max((top for x2, y2, reach2, top in below if math.hypot(x - x2, y - y2) < reach + reach2), default=0.0)
        bottom = floor + _GAP
        below.append((x, y, reach, bottom + float(np.ptp(turned[:, 2]))))
        self.place = Vector((x, y, bottom - float(turned[:, 2].min()))) + self.turn @ self.weight


@dataclass(frozen=True)
class _Block:
    """A box that does not move: its size, its middle and its yaw."""

    size: tuple
    place: tuple
    yaw_deg: float


def _funnel(half: float) -> list[_Block]:
    thick, high = 2.0, 200.0
    reach = half + thick / 2
    wide = 2 * half + 2 * thick
    return [_Block((thick, wide, high), (sign * reach, 0, high / 2), 0.0) for sign in (-1, 1)] + [
        _Block((wide, thick, high), (0, sign * reach, high / 2), 0.0) for sign in (-1, 1)
    ]


def _simulate(bodies: list[_Body], blocks: list[_Block]) -> None:
    """Let bodies fall until all are at rest or time is up, and move them there."""
    scene = bpy.data.scenes.new("settling")
    try:
        with bpy.context.temp_override(scene=scene):
            bpy.ops.rigidbody.world_add()
        world = scene.rigidbody_world
        world.collection = bpy.data.collections.new("bodies")
        world.substeps_per_frame, world.solver_iterations = 10, 20
        world.point_cache.frame_end = scene.frame_end = _MOST_FRAMES
        scene.render.fps = _FPS
        for block in blocks:
            corners = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * np.array(block.size)
            item = _add_rigid(scene, corners / 2, "BOX")
            item.location = block.place
            item.rotation_euler = (0, 0, math.radians(block.yaw_deg))
            item.rigid_body.type = "PASSIVE"
        items = []
        for body in bodies:
            item = _add_rigid(scene, body.points, "CONVEX_HULL")
            item.rotation_mode = "QUATERNION"
            item.rotation_quaternion, item.location = body.turn, body.place
            item.rigid_body.mass = body.mass
            item.rigid_body.linear_damping = item.rigid_body.angular_damping = 0.5  # laid down rather than thrown
            items.append(item)
        _run(scene, items)
        depsgraph = scene.view_layers[0].depsgraph
        for body, item in zip(bodies, items, strict=True):
            matrix = item.evaluated_get(depsgraph).matrix_world
            body.place, body.turn = matrix.to_translation(), matrix.to_quaternion().normalized()
    finally:
        bpy.data.scenes.remove(scene)
        bpy.data.orphans_purge(do_recursive=True)


def _run(scene: bpy.types.Scene, items: list) -> None:
    before = None
    for frame in range(1, _MOST_FRAMES + 1):
        scene.frame_set(frame)
        if frame % _CHECK_EVERY == 0:
            depsgraph = scene.view_layers[0].depsgraph
            now = np.array([np.array(item.evaluated_get(depsgraph).matrix_world)[:3] for item in items])
            if before is not None and np.abs(now - before).max(initial=0) < _STILL:
                break
            before = now


def _add_rigid(scene: bpy.types.Scene, corners: np.ndarray, shape: str) -> bpy.types.Object:
    mesh = bpy.data.meshes.new("body")
    mesh.from_pydata(corners, [], [])
    item = bpy.data.objects.new("body", mesh)
    scene.collection.objects.link(item)
    scene.rigidbody_world.collection.objects.link(item)  # makes it a rigid body
    rigid = item.rigid_body
    rigid.collision_shape = shape
    rigid.use_margin = True
    rigid.collision_margin = _MARGIN
    rigid.friction = 0.8
    rigid.restitution = 0.05
    return item


def _support(points: np.ndarray) -> np.ndarray:
    """Return the points that are farthest in some direction: nearly the convex hull, with few corners."""
    return points[np.unique(np.argmax(points @ _DIRECTIONS.T, axis=0))]


def _centre_of_mass(points: np.ndarray) -> np.ndarray:
    """Return the centre of mass of the convex hull of some points, filled evenly."""
    hull = bmesh.new()
    for point in points:
        hull.verts.new(point)
    bmesh.ops.convex_hull(hull, input=hull.verts)
    triangles = np.array([[vert.co for vert in face.verts] for face in hull.faces if len(face.verts) == 3])  # noqa: PLR2004
    hull.free()
    middle = points.mean(axis=0)
    if not len(triangles):
        return middle
    edges = triangles - middle
    volumes = np.abs(np.einsum("ij,ij->i", edges[:, 0], np.cross(edges[:, 1], edges[:, 2])))
    if volumes.sum() < 1e-12:  # noqa: PLR2004 - flat
        return middle
    return middle + (volumes[:, None] * edges.sum(axis=1) / 4).sum(axis=0) / volumes.sum()


def _directions() -> np.ndarray:
    """Return unit vectors spread evenly over the sphere (a Fibonacci spiral), and those along the axes."""
    count = 160
    z = 1 - (2 * np.arange(count) + 1) / count
    angle = np.arange(count) * math.pi * (3 - math.sqrt(5))
    around = np.sqrt(1 - z**2)
    spiral = np.column_stack([around * np.cos(angle), around * np.sin(angle), z])
    return np.concatenate([spiral, np.eye(3), -np.eye(3)])


_DIRECTIONS = _directions()
