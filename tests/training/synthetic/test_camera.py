import math
import random

import pytest

from training.synthetic.camera import camera_axes, draw_camera, project, unproject
from training.synthetic.scene import Camera


def camera(position: tuple[float, float, float], *, roll_deg: float = 0.0, focal_mm: float = 36.0) -> Camera:
    return Camera(position, roll_deg, focal_mm, size_px=600)


def test_projects_from_above_by_hand() -> None:
    above = camera((0, 0, 10))  # with a focal length of the sensor's width, 10 units are as wide as the image
    assert project(above, (0, 0, 0)) == pytest.approx((300, 300))
    assert project(above, (5, 0, 0)) == pytest.approx((600, 300))
    assert project(above, (0, 5, 0)) == pytest.approx((300, 0))
    assert unproject(above, (600, 300)) == pytest.approx((5, 0))


@pytest.mark.parametrize("roll_deg", [0, 30, -140])
@pytest.mark.parametrize("position", [(0.0, 0.0, 8.0), (3.0, -4.0, 5.0), (-7.0, 1.0, 3.0)])
def test_unproject_inverts_project(position: tuple[float, float, float], roll_deg: float) -> None:
    view = camera(position, roll_deg=roll_deg, focal_mm=50)
    pixel = project(view, (0.7, -0.4, 0.0))
    assert pixel is not None
    assert unproject(view, pixel) == pytest.approx((0.7, -0.4))


def test_axes_are_orthonormal() -> None:
    right, up, forward = camera_axes(camera((3, -4, 5), roll_deg=20))
    for a, b in ((right, up), (up, forward), (forward, right)):
        assert sum(x * y for x, y in zip(a, b, strict=True)) == pytest.approx(0, abs=1e-12)
    assert sum(x * x for x in up) == pytest.approx(1)


def test_sky_and_points_behind_camera() -> None:
    low = camera((10, 0, 1))
    assert unproject(low, (300, 0)) is None
    assert project(low, (30, 0, 1)) is None


@pytest.mark.parametrize("seed", range(20))
def test_drawn_camera_shows_one_unit_at_the_wanted_size(seed: int) -> None:
    view = draw_camera(random.Random(seed), 100.0)
    right, _, forward = camera_axes(view)
    left_end, right_end = (project(view, (s * right[0], s * right[1], s * right[2])) for s in (-0.5, 0.5))
    assert left_end is not None
    assert right_end is not None
    (x0, y0), (x1, y1) = left_end, right_end
    assert math.hypot(x1 - x0, y1 - y0) == pytest.approx(100)
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((view.size_px / 2,) * 2)
    assert -forward[2] >= math.cos(math.radians(70)) - 1e-9
