"""Meshes from files, laid on the ground in a stable resting pose."""

import hashlib
import math

import bpy

# isort: split
import bmesh  # installed with bpy, as are the next ones
import numpy as np
from mathutils import Matrix, Vector

from training.synthetic.blender.materials import material_of
from training.synthetic.blender.mesh_files import has_colours, read_mesh_file


def add_mesh(scene: bpy.types.Scene, spec: dict) -> bpy.types.Object:
    """Add a mesh from a file, standing on the ground in the resting pose that the spec chooses."""
    template = template_of(scene, spec["source"])
    item = template.copy()
    points = np.array([vertex.co for vertex in item.data.vertices])
    paint(item, spec, extent=float(np.ptp(points, axis=0).max()))
    turn = Matrix.Rotation(math.radians(spec["yaw_deg"]), 3, "Z") @ resting_turn(template, spec["pose"])
    scale = spec["size"][0] / np.ptp(points, axis=0).max()
    turned = points @ np.array(turn).T * scale
    middle = (turned.min(axis=0) + turned.max(axis=0)) / 2
    x, y = spec["position"]
    place = Vector((x - middle[0], y - middle[1], -turned[:, 2].min()))
    item.matrix_world = Matrix.Translation(place) @ turn.to_4x4() @ Matrix.Scale(scale, 4)
    scene.collection.objects.link(item)
    return item


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


def template_of(scene: bpy.types.Scene, path: str) -> bpy.types.Object:
    """Return the joined mesh of a file, which is in no collection; the file is read once per Blender file."""
    return bpy.data.objects.get(_name_of(path)) or _import(scene, path)


def _import(scene: bpy.types.Scene, path: str) -> bpy.types.Object:
    """Read a mesh file and join its meshes into one template that is in no collection and is not rendered."""
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
    for item in joined:
        scene.collection.objects.link(item)
    with bpy.context.temp_override(
        active_object=joined[0], object=joined[0], selected_objects=joined, selected_editable_objects=joined
    ):
        bpy.ops.object.join()
    template = joined[0]
    scene.collection.objects.unlink(template)
    template.name = _name_of(path)
    return template


def _name_of(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()[:40]  # Blender cuts names after 63 bytes


_resting_faces: dict[str, list[tuple[Vector, float]]] = {}


def resting_turn(template: bpy.types.Object, pose: float) -> Matrix:
    """Return the rotation that lays a mesh, of `template_of`, on a face of its convex hull that `pose` chooses.

    A mesh is stable on a face if its middle is above the face. Larger faces are chosen more often.
    """
    if template.name not in _resting_faces:
        _resting_faces[template.name] = _find_resting_faces(template.data)
    faces = _resting_faces[template.name]
    left = pose * sum(area for _, area in faces)
    chosen = faces[-1][0]
    for normal, area in faces:
        left -= area
        if left <= 0:
            chosen = normal
            break
    return chosen.rotation_difference(Vector((0, 0, -1))).to_matrix()


def _find_resting_faces(mesh: bpy.types.Mesh) -> list[tuple[Vector, float]]:
    """Return the outward normal and the area of each face of the convex hull on which a mesh can stand."""
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
    found = [(face.normal.copy(), face.calc_area()) for face in stable]
    hull.free()
    return found


def _is_above(face: bmesh.types.BMFace, point: Vector) -> bool:
    """Return whether a point projects onto a convex face along the face's normal."""
    corners = [vert.co for vert in face.verts]
    following = corners[1:] + corners[:1]
    return all((b - a).cross(point - a).dot(face.normal) >= 0 for a, b in zip(corners, following, strict=True))
