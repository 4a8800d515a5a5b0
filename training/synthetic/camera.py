"""The camera of a scene: drawn at random, and the projection between its pixels and the ground."""

import math
import random

from training.synthetic.scene import Camera, Vector
from training.synthetic.surfaces import log_uniform

SIZE_PX = 640
"""Width and height of a rendered image."""

_SENSOR_MM = 36.0


def draw_camera(rng: random.Random, size_px: float) -> Camera:
    """Draw a camera that shows an object of one world unit at the origin `size_px` wide.

    It looks at the origin from straight above to 70 degrees from the vertical.
    """
    focal_mm = log_uniform(rng, 22, 75)
    distance = SIZE_PX * focal_mm / _SENSOR_MM / size_px
    tilt_deg = min(abs(rng.gauss(0, 22)), 70) if rng.random() < 0.4 else rng.uniform(0, 70)  # noqa: PLR2004
    tilt = math.radians(tilt_deg)
    azimuth = rng.uniform(0, 2 * math.pi)
    position = (
        distance * math.sin(tilt) * math.cos(azimuth),
        distance * math.sin(tilt) * math.sin(azimuth),
        distance * math.cos(tilt),
    )
    # a photo taken from above has no natural "up"; one from the side does, and it separates an object's top from its
    # sides
    is_upright = rng.random() < (0.5 if tilt_deg < 15 else 0.95)  # noqa: PLR2004
    roll = rng.gauss(0, 7) if is_upright else rng.uniform(0, 360)
    return Camera(position, roll, focal_mm, SIZE_PX)


def camera_axes(camera: Camera) -> tuple[Vector, Vector, Vector]:
    """Return the camera's right, up and forward as unit vectors."""
    forward = _unit(_sum(camera.target, _times(camera.position, -1)))
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
