"""Blender meshes of an Assembly: many parts in one mesh, without Blender's operators, which take milliseconds each."""

import math

import bpy

# isort: split
import numpy as np
from mathutils import Matrix, Quaternion, Vector  # installed with bpy

from training.synthetic.blender.materials import material_of

_ROUND, _RINGS = 32, 12
"""Corners of a round part, and its rings if it is a ball or a ring."""


def add_assembly(scene: bpy.types.Scene, spec: dict) -> bpy.types.Object:
    """Add an assembly in the spec's pose."""
    mesh = assembly_mesh(spec["parts"])
    points = points_of(mesh)
    item = bpy.data.objects.new("assembly", mesh)
    item.matrix_world = pose_of(spec, Vector((points.min(axis=0) + points.max(axis=0)) / 2))
    scene.collection.objects.link(item)
    return item


def pose_of(spec: dict, middle: Vector) -> Matrix:
    """Return the matrix that takes the middle of a thing to its position, turned and scaled."""
    turn = Quaternion(spec["turn"]).to_matrix().to_4x4()
    return Matrix.Translation(spec["position"]) @ turn @ Matrix.Scale(spec["scale"], 4) @ Matrix.Translation(-middle)


def assembly_mesh(parts: list) -> bpy.types.Mesh:
    """Return the mesh of an assembly's parts in the assembly's own axes, with a material for each surface."""
    mesh = bpy.data.meshes.new("assembly")
    vertices, faces, smooth, materials, surfaces = [], [], [], [], []
    for shape, height, (own, corners, is_smooth), material in _printed_shapes(parts):
        angle = math.radians(shape["yaw_deg"])
        cos, sin = math.cos(angle), math.sin(angle)
        place = (*shape["position"], height + shape["size"][2] / 2)
        points = own @ np.array(((cos, sin, 0), (-sin, cos, 0), (0, 0, 1))) + place
        start = sum(len(block) for block in vertices)
        vertices.append(points)
        faces += [[start + corner for corner in face] for face in corners]
        smooth += is_smooth
        if material not in surfaces:
            surfaces.append(material)
            mesh.materials.append(material_of(material))
        materials += [surfaces.index(material)] * len(corners)
    mesh.from_pydata(np.concatenate(vertices), [], faces)
    mesh.polygons.foreach_set("use_smooth", smooth)
    mesh.polygons.foreach_set("material_index", materials)
    mesh.update()
    return mesh


def _printed_shapes(parts: list):
    """Yield each part with its height, vertices, faces and surface, and the text on its top in the second colour."""
    for shape, height in parts:
        yield shape, height, _shape(shape), shape["surface"]
        if shape["text"]:
            ink = {**shape["surface"], "pattern": "plain", "rgb": shape["surface"]["rgb2"], "metallic": 0.0}
            yield shape, height, _letters(shape["text"], np.array(shape["size"], float)), ink


def _letters(text: str, size: np.ndarray) -> tuple[np.ndarray, list, list]:
    """Return flat letters that fill most of the top of a shape of a size."""
    curve = bpy.data.curves.new("text", "FONT")
    curve.body = text
    curve.align_x = curve.align_y = "CENTER"
    curve.space_line = 0.8
    curve.resolution_u = 2
    item = bpy.data.objects.new("text", curve)
    mesh = bpy.data.meshes.new_from_object(item)
    points = points_of(mesh).astype(float)
    faces = [list(polygon.vertices) for polygon in mesh.polygons]
    bpy.data.objects.remove(item)
    bpy.data.curves.remove(curve)
    bpy.data.meshes.remove(mesh)
    if faces:
        points -= (points.min(axis=0) + points.max(axis=0)) / 2
        points *= 0.8 * min(size[:2] / np.maximum(np.ptp(points, axis=0)[:2], 1e-6))
        points[:, 2] = size[2] / 2 + 0.002
    return points, faces, [False] * len(faces)


def assembly_points(parts: list) -> np.ndarray:
    """Return the corners (N, 3) of an assembly's parts in the assembly's own axes."""
    mesh = assembly_mesh(parts)
    points = points_of(mesh)
    for material in mesh.materials:
        bpy.data.materials.remove(material)
    bpy.data.meshes.remove(mesh)
    return points


def points_of(mesh: bpy.types.Mesh) -> np.ndarray:
    """Return the vertices of a mesh, float32 (V, 3), in its own axes."""
    points = np.empty(len(mesh.vertices) * 3, np.float32)
    mesh.vertices.foreach_get("co", points)
    return points.reshape(-1, 3)


def _shape(spec: dict) -> tuple[np.ndarray, list, list]:
    """Return vertices about the middle, faces, and whether each face is smooth."""
    kind, size = spec["kind"], np.array(spec["size"], float)
    if kind == "box":
        return _box(size, spec["edge"] * min(size))
    points, faces, smooth = {
        "hexagon": lambda: _tube(6, 0.5),
        "cylinder": lambda: _tube(_ROUND, 0.5),
        "cone": lambda: _tube(_ROUND, 0.1),
        "ball": lambda: _turned(_ball_profile(), is_closed=False),
        "ring": lambda: _turned(_ring_profile(), is_closed=True),
    }[kind]()
    return points * size * (1, 1, 4 if kind == "ring" else 1), faces, smooth


def _box(size: np.ndarray, edge: float) -> tuple[np.ndarray, list, list]:
    """Return a box; `edge` is the width of the chamfer along its edges."""
    half = size / 2
    if not edge:
        points = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
        sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
        return np.array(points) * half, [list(side) for side in sides], [False] * 6
    edge = min(edge, 0.45 * float(min(size)))
    points, number = [], {}
    for corner in np.ndindex(2, 2, 2):
        signs = np.array(corner) * 2 - 1
        for axis in range(3):  # the corner of the side across this axis
            inset = np.full(3, edge)
            inset[axis] = 0
            number[corner, axis] = len(points)
            points.append(signs * (half - inset))
    faces = []
    for axis in range(3):
        first, second = [other for other in range(3) if other != axis]
        for side in (0, 1):
            loop = []
            for a, b in ((0, 0), (1, 0), (1, 1), (0, 1)):
                corner = [0, 0, 0]
                corner[axis], corner[first], corner[second] = side, a, b
                loop.append(number[tuple(corner), axis])
            faces.append(loop)
        for a, b in np.ndindex(2, 2):  # the chamfer of the edge along this axis
            ends = []
            for end in (0, 1):
                corner = [0, 0, 0]
                corner[axis], corner[first], corner[second] = end, a, b
                ends.append((number[tuple(corner), first], number[tuple(corner), second]))
            faces.append([ends[0][0], ends[0][1], ends[1][1], ends[1][0]])
    faces += [[number[corner, axis] for axis in range(3)] for corner in np.ndindex(2, 2, 2)]
    points = np.array(points)
    return points, _outward(points, faces), [False] * len(faces)


def _tube(corners: int, top: float) -> tuple[np.ndarray, list, list]:
    """Return a cylinder or cone of height 1; caps have corners of their own, so that the sides are smooth."""
    angles = np.arange(corners) / corners * 2 * math.pi
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    low = np.column_stack([0.5 * ring, np.full(corners, -0.5)])
    high = np.column_stack([top * ring, np.full(corners, 0.5)])
    points = np.concatenate([low, high, low, high])
    sides = [[i, (i + 1) % corners, corners + (i + 1) % corners, corners + i] for i in range(corners)]
    caps = [list(range(3 * corners - 1, 2 * corners - 1, -1)), list(range(3 * corners, 4 * corners))]
    return points, sides + caps, [corners > 6] * corners + [False] * 2  # noqa: PLR2004 - a hexagon has edges


def _ball_profile() -> np.ndarray:
    angles = np.linspace(-math.pi / 2, math.pi / 2, _RINGS + 1)
    return 0.5 * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _ring_profile() -> np.ndarray:
    angles = np.arange(_RINGS) / _RINGS * 2 * math.pi
    return np.stack([0.38 + 0.12 * np.cos(angles), 0.12 * np.sin(angles)], axis=1)


def _turned(profile: np.ndarray, *, is_closed: bool) -> tuple[np.ndarray, list, list]:
    """Turn a profile of radius and height about the vertical."""
    angles = np.arange(_ROUND) / _ROUND * 2 * math.pi
    points = [(r * math.cos(angle), r * math.sin(angle), z) for angle in angles for r, z in profile]
    count = len(profile)
    steps = count if is_closed else count - 1
    faces = []
    for turn in range(_ROUND):
        here, there = turn * count, (turn + 1) % _ROUND * count
        for step in range(steps):
            following = (step + 1) % count
            faces.append([here + step, there + step, there + following, here + following])
    return np.array(points), faces, [True] * len(faces)


def _outward(points: np.ndarray, faces: list) -> list:
    """Turn the faces of a convex body about the origin outwards."""
    turned = []
    for face in faces:
        a, b, c = points[face[0]], points[face[1]], points[face[2]]
        turned.append(face if np.dot(np.cross(b - a, c - a), a + b + c) > 0 else face[::-1])
    return turned
