"""Projection between pixels and the ground, overlap of footprints, and estimated visibility."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from training.synthetic.scene import Camera, Thing, Vector

_SENSOR_MM = 36.0


def camera_axes(camera: Camera) -> tuple[Vector, Vector, Vector]:
    """Return the camera's right, up and forward as unit vectors; it looks at the origin."""
    forward = _unit((-camera.position[0], -camera.position[1], -camera.position[2]))
    helper = (0.0, 1.0, 0.0) if abs(forward[2]) > 0.999 else (0.0, 0.0, 1.0)  # noqa: PLR2004
    right = _unit(_cross(forward, helper))
    up = _cross(right, forward)
    cos, sin = math.cos(math.radians(camera.roll_deg)), math.sin(math.radians(camera.roll_deg))
    turned_right = _sum(_times(right, cos), _times(up, sin))
    turned_up = _sum(_times(up, cos), _times(right, -sin))
    return turned_right, turned_up, forward


def unproject(camera: Camera, pixel: tuple[float, float]) -> tuple[float, float] | None:
    """Return the ground point x, y shown by a pixel (x right, y down, from the top-left), or None for the sky."""
    right, up, forward = camera_axes(camera)
    per_px = _SENSOR_MM / camera.focal_mm / camera.size_px
    across = (pixel[0] - camera.size_px / 2) * per_px
    down = (pixel[1] - camera.size_px / 2) * per_px
    ray = _sum(forward, _sum(_times(right, across), _times(up, -down)))
    if ray[2] > -1e-3:  # noqa: PLR2004
        return None
    reach = -camera.position[2] / ray[2]
    return camera.position[0] + reach * ray[0], camera.position[1] + reach * ray[1]


def project(camera: Camera, point: Vector) -> tuple[float, float] | None:
    """Return the pixel (x right, y down, from the top-left) that shows a point, or None behind the camera."""
    right, up, forward = camera_axes(camera)
    away = _sum(point, _times(camera.position, -1))
    depth = _dot(away, forward)
    if depth <= 0:
        return None
    px = camera.focal_mm / _SENSOR_MM * camera.size_px / depth
    return camera.size_px / 2 + _dot(away, right) * px, camera.size_px / 2 - _dot(away, up) * px


def footprints_overlap(a: Thing, b: Thing) -> bool:
    """Return whether the rectangles that two things stand on overlap (separating axes)."""
    corners_a, corners_b = _corners(a), _corners(b)
    for yaw in (a.yaw_deg, a.yaw_deg + 90, b.yaw_deg, b.yaw_deg + 90):
        cos, sin = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
        on_a = [x * cos + y * sin for x, y in corners_a]
        on_b = [x * cos + y * sin for x, y in corners_b]
        if max(on_a) <= min(on_b) or max(on_b) <= min(on_a):
            return False
    return True


def estimate_visibility(camera: Camera, things: Sequence[Thing]) -> list[tuple[float, float]]:
    """Estimate the visible fraction of each thing before rendering.

    The estimate replaces each thing by its bounding box, and treats the thing whose middle is farther away as the one
    behind. It avoids rendering scenes that cannot be labelled; the rendered mask decides in the end.

    Returns:
        For each thing the visible fraction of its outline within the frame, and the fraction of its outline that is
        within the frame, 0..1; both are 0 for a thing outside.
    """
    size = round(camera.size_px / 2)
    outlines = [_outline(camera, thing) for thing in things]
    canvas = Image.new("I", (size, size))
    pen = ImageDraw.Draw(canvas)
    far_first = sorted(
        range(len(things)),
        key=lambda number: -math.dist((*things[number].position, things[number].size[2] / 2), camera.position),
    )
    for number in far_first:
        if outlines[number]:
            pen.polygon(outlines[number], fill=number + 1)
    seen = np.bincount(np.asarray(canvas).ravel(), minlength=len(things) + 1)[1:]
    shares = []
    for count, outline in zip(seen.tolist(), outlines, strict=True):
        inside = _pixels_inside(outline, size)
        whole = max(_area(outline), 1.0)
        shares.append((min(1.0, count / max(inside, 1)), min(1.0, inside / whole)))
    return shares


def _pixels_inside(outline: Sequence[tuple[float, float]], size: int) -> int:
    if not outline:
        return 0
    canvas = Image.new("1", (size, size))
    ImageDraw.Draw(canvas).polygon(list(outline), fill=1)
    return int(np.asarray(canvas).sum())


def _outline(camera: Camera, thing: Thing) -> list[tuple[float, float]]:
    """Return the convex hull of a thing's box in half pixels; empty if a corner is behind the camera."""
    points = [project(camera, (x, y, z)) for x, y in _corners(thing) for z in (0.0, thing.size[2])]
    if any(point is None for point in points):
        return []
    return _convex_hull([(point[0] / 2, point[1] / 2) for point in points if point is not None])


def _convex_hull(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the corners of the hull in turning order (Andrew's monotone chain)."""

    def half(ordered: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        chain: list[tuple[float, float]] = []
        for x, y in ordered:
            while len(chain) > 1 and _turns_right(chain[-2], chain[-1], (x, y)):
                chain.pop()
            chain.append((x, y))
        return chain[:-1]

    ordered = sorted(points)
    return half(ordered) + half(ordered[::-1])


def _turns_right(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) <= 0


def _area(polygon: Sequence[tuple[float, float]]) -> float:
    following = [*polygon[1:], *polygon[:1]]
    return abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(polygon, following, strict=True))) / 2


def _corners(thing: Thing) -> list[tuple[float, float]]:
    cos, sin = math.cos(math.radians(thing.yaw_deg)), math.sin(math.radians(thing.yaw_deg))
    half_x, half_y = thing.size[0] / 2, thing.size[1] / 2
    return [
        (thing.position[0] + x * cos - y * sin, thing.position[1] + x * sin + y * cos)
        for x, y in ((half_x, half_y), (-half_x, half_y), (-half_x, -half_y), (half_x, -half_y))
    ]


def _dot(a: Vector, b: Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _cross(a: Vector, b: Vector) -> Vector:
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def _unit(a: Vector) -> Vector:
    length = math.sqrt(a[0] ** 2 + a[1] ** 2 + a[2] ** 2)
    return _times(a, 1 / length)


def _times(a: Vector, factor: float) -> Vector:
    return (a[0] * factor, a[1] * factor, a[2] * factor)


def _sum(a: Vector, b: Vector) -> Vector:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2])
