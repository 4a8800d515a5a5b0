"""Overlap and visibility of things, estimated before rendering."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from training.synthetic.camera import project
from training.synthetic.scene import Camera, StandingThing


def footprints_overlap(a: StandingThing, b: StandingThing) -> bool:
    """Return whether the rectangles that two things stand on overlap (separating axes)."""
    corners_a, corners_b = _corners(a), _corners(b)
    for yaw in (a.yaw_deg, a.yaw_deg + 90, b.yaw_deg, b.yaw_deg + 90):
        cos, sin = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
        on_a = [x * cos + y * sin for x, y in corners_a]
        on_b = [x * cos + y * sin for x, y in corners_b]
        if max(on_a) <= min(on_b) or max(on_b) <= min(on_a):
            return False
    return True


def estimate_visibility(camera: Camera, things: Sequence[StandingThing]) -> list[tuple[float, float]]:
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


def _outline(camera: Camera, thing: StandingThing) -> list[tuple[float, float]]:
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


def _corners(thing: StandingThing) -> list[tuple[float, float]]:
    cos, sin = math.cos(math.radians(thing.yaw_deg)), math.sin(math.radians(thing.yaw_deg))
    half_x, half_y = thing.size[0] / 2, thing.size[1] / 2
    return [
        (thing.position[0] + x * cos - y * sin, thing.position[1] + x * sin + y * cos)
        for x, y in ((half_x, half_y), (-half_x, half_y), (-half_x, -half_y), (half_x, -half_y))
    ]
