"""Where a pixel meets the ground, and whether two things stand in each other."""

import math

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
    """Return the point x, y of the ground that a pixel (x right, y down, from the top-left) shows; None for the sky."""
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
    """Return the pixel (x right, y down, from the top-left) that shows a point; None behind the camera."""
    right, up, forward = camera_axes(camera)
    away = _sum(point, _times(camera.position, -1))
    depth = _dot(away, forward)
    if depth <= 0:
        return None
    px = camera.focal_mm / _SENSOR_MM * camera.size_px / depth
    return camera.size_px / 2 + _dot(away, right) * px, camera.size_px / 2 - _dot(away, up) * px


def footprints_overlap(a: Thing, b: Thing) -> bool:
    """Tell whether the rectangles that two things stand on overlap (separating axes)."""
    corners_a, corners_b = _corners(a), _corners(b)
    for yaw in (a.yaw_deg, a.yaw_deg + 90, b.yaw_deg, b.yaw_deg + 90):
        cos, sin = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
        on_a = [x * cos + y * sin for x, y in corners_a]
        on_b = [x * cos + y * sin for x, y in corners_b]
        if max(on_a) <= min(on_b) or max(on_b) <= min(on_a):
            return False
    return True


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
