"""Resting poses of a mesh: the faces of its convex hull on which it can stand."""

import math

import bpy

# isort: split
import bmesh  # installed with bpy, as are the next ones
from mathutils import Matrix, Vector

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
