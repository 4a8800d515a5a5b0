"""Objects put together wrongly: their own parts at other places on a body of another shape. Never labelled.

A detector that has met only one thing of its kind takes every other one for it: all boards for one board, all taps for
one tap. Meshes from CAD consist of many parts, so they give such other things.
"""

import colorsys
import random

import bpy

# isort: split
import numpy as np

from training.synthetic.blender.assemblies import points_of
from training.synthetic.blender.mesh_files import bsdf_of

FEWEST_PARTS = 4
"""A mesh of fewer parts has nothing to move."""

_WELD = 1e-5
"""Distance of vertices that count as one, as a share of the mesh's extent."""
_REMOVED, _MOVED = 0.25, 0.8
"""Share of the parts that are left out, and of the others that go elsewhere."""


def misassembled(mesh: bpy.types.Mesh, seed: int) -> bpy.types.Mesh | None:
    """Return a copy of a mesh with its parts put together wrongly, or None if it has fewer than `FEWEST_PARTS`."""
    points = points_of(mesh).astype(np.float64)
    part = _parts(mesh, points)
    count = int(part.max()) + 1
    if count < FEWEST_PARTS:
        return None
    rng = random.Random(f"misassembly {seed}")  # noqa: S311
    low, high = _bounds(points, part, count)
    body = int(np.argmax(_areas(high - low)))
    up = int(np.argmin(high[body] - low[body]))  # most parts sit on the largest sides of the body
    flat = [axis for axis in range(3) if axis != up]
    middle = (low + high) / 2
    places = middle[:, flat].copy()
    others = [number for number in range(count) if number != body]
    moved = [number for number in others if rng.random() < _MOVED]
    for number, source in zip(moved, rng.sample(moved, len(moved)), strict=True):
        places[number] = middle[source][flat]
    stretch = np.ones(3)
    stretch[flat] = [_log_uniform(rng, 0.5, 2.2) for _ in flat]
    sides = ((high[body] - low[body]) * stretch)[flat]
    for number in others:
        inside = part == number
        if rng.random() < _REMOVED:
            points[inside] = middle[body]  # faces without an area are not seen
            continue
        own = points[inside] - middle[number]
        size = (high[number] - low[number])[flat]
        if rng.random() < 0.5 and (size[::-1] <= sides).all():  # noqa: PLR2004
            own[:, flat] = own[:, flat[::-1]] * (1, -1)
            size = size[::-1]
        grown = min(_log_uniform(rng, 0.7, 1.5), *(sides / np.maximum(size, 1e-12)))
        room = np.maximum(sides - size * grown, 0) / 2
        place = middle[number].copy()
        place[flat] = middle[body][flat] + np.clip((places[number] - middle[body][flat]) * stretch[flat], -room, room)
        points[inside] = own * grown + place
    inside = part == body
    points[inside] = middle[body] + (points[inside] - middle[body]) * stretch
    copy = mesh.copy()
    copy.use_fake_user = False
    copy.vertices.foreach_set("co", points.astype(np.float32).ravel())
    copy.update()
    if rng.random() < 0.7 or stretch[flat].max() < 1.5 * stretch[flat].min():  # noqa: PLR2004 - it is not too alike
        _recolour(copy, rng)
    return copy


def _parts(mesh: bpy.types.Mesh, points: np.ndarray) -> np.ndarray:
    """Return the number of each vertex's part, int (V,). Loose pieces that touch are one part: a chip and its legs."""
    piece = _loose_pieces(mesh, points)
    count = int(piece.max()) + 1
    low, high = _bounds(points, piece, count)
    gap = 1e-3 * float(np.ptp(points, axis=0).max())
    order = np.argsort(-_areas(high - low))
    part = np.arange(count)
    for place, number in enumerate(order[1:], 1):  # the first is the body, which touches all
        larger = order[1:place]
        touches = ((low[number] <= high[larger] + gap) & (high[number] >= low[larger] - gap)).all(axis=1)
        if touches.any():
            part[number] = part[larger[int(np.argmax(touches))]]
    return np.unique(part, return_inverse=True)[1].ravel()[piece]


def _loose_pieces(mesh: bpy.types.Mesh, points: np.ndarray) -> np.ndarray:
    """Return the number of each vertex's piece, int (V,): vertices that edges connect, or that lie on one another."""
    edges = np.empty(len(mesh.edges) * 2, np.int32)
    mesh.edges.foreach_get("vertices", edges)
    grid = np.round(points / max(_WELD * float(np.ptp(points, axis=0).max()), 1e-12)).astype(np.int64)
    place = np.unique(grid, axis=0, return_inverse=True)[1].ravel()
    first, second = place[edges.reshape(-1, 2)].T
    label = np.arange(int(place.max()) + 1)
    while True:
        smaller = label.copy()
        low = np.minimum(label[first], label[second])
        np.minimum.at(smaller, first, low)
        np.minimum.at(smaller, second, low)
        smaller = smaller[smaller]
        if (smaller == label).all():
            return np.unique(label[place], return_inverse=True)[1].ravel()
        label = smaller


def _bounds(points: np.ndarray, group: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
    np.minimum.at(low, group, points)
    np.maximum.at(high, group, points)
    return low, high


def _areas(sides: np.ndarray) -> np.ndarray:
    x, y, z = sides.T
    return x * y + y * z + z * x


def _recolour(mesh: bpy.types.Mesh, rng: random.Random) -> None:
    """Give each plain colour of a mesh another hue and shade; textures stay."""
    turn = rng.random()
    for number, material in enumerate(mesh.materials):
        bsdf = bsdf_of(material)
        if bsdf is None or bsdf.inputs["Base Color"].is_linked:
            continue
        own = material.copy()
        hue, saturation, value = colorsys.rgb_to_hsv(*bsdf.inputs["Base Color"].default_value[:3])
        if rng.random() < 0.2:  # noqa: PLR2004
            hue, saturation = rng.random(), rng.random()
        saturation = min(saturation * _log_uniform(rng, 0.4, 1.5), 1)
        value = min(value * _log_uniform(rng, 0.4, 2.5), 1)
        rgb = colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)
        bsdf_of(own).inputs["Base Color"].default_value = (*rgb, 1.0)
        mesh.materials[number] = own


def _log_uniform(rng: random.Random, low: float, high: float) -> float:
    return low * (high / low) ** rng.random()
