import pytest

from training.synthetic.geometry import (
    camera_axes,
    estimate_visibility,
    footprints_overlap,
    project,
    unproject,
)
from training.synthetic.scene import Camera, Distractor, Surface

GREY = Surface("plain", (0.2, 0.2, 0.2), (0.2, 0.2, 0.2), 1.0, roughness=0.5)


def camera(position: tuple[float, float, float], *, roll_deg: float = 0.0, focal_mm: float = 36.0) -> Camera:
    return Camera(position, roll_deg, focal_mm, size_px=600)


def thing(x: float, y: float, *, yaw_deg: float = 0.0, side: float = 1.0) -> Distractor:
    return Distractor("box", (x, y), yaw_deg, (side, side, side), GREY)


def test_straight_from_above_worked_out_by_hand() -> None:
    above = camera((0, 0, 10))  # with a focal length of the sensor's width, 10 units are as wide as the image
    assert project(above, (0, 0, 0)) == pytest.approx((300, 300))
    assert project(above, (5, 0, 0)) == pytest.approx((600, 300))
    assert project(above, (0, 5, 0)) == pytest.approx((300, 0))
    assert unproject(above, (600, 300)) == pytest.approx((5, 0))


@pytest.mark.parametrize("roll_deg", [0, 30, -140])
@pytest.mark.parametrize("position", [(0.0, 0.0, 8.0), (3.0, -4.0, 5.0), (-7.0, 1.0, 3.0)])
def test_a_point_of_the_ground_comes_back(position: tuple[float, float, float], roll_deg: float) -> None:
    view = camera(position, roll_deg=roll_deg, focal_mm=50)
    pixel = project(view, (0.7, -0.4, 0.0))
    assert pixel is not None
    assert unproject(view, pixel) == pytest.approx((0.7, -0.4))


def test_axes_are_right_handed_units() -> None:
    right, up, forward = camera_axes(camera((3, -4, 5), roll_deg=20))
    for a, b in ((right, up), (up, forward), (forward, right)):
        assert sum(x * y for x, y in zip(a, b, strict=True)) == pytest.approx(0, abs=1e-12)
    assert sum(x * x for x in up) == pytest.approx(1)


def test_the_sky_has_no_ground_and_what_is_behind_no_pixel() -> None:
    low = camera((10, 0, 1))
    assert unproject(low, (300, 0)) is None
    assert project(low, (30, 0, 1)) is None


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (thing(0.9, 0), True),
        (thing(1.01, 0), False),
        (thing(1.1, 0, yaw_deg=45), True),  # its corner reaches 0.707 towards the other
        (thing(1.25, 0, yaw_deg=45), False),
        (thing(0.0, 0.0, side=0.1), True),
    ],
)
def test_rectangles_overlap_or_touch(other: Distractor, *, expected: bool) -> None:
    assert footprints_overlap(thing(0, 0), other) is expected
    assert footprints_overlap(other, thing(0, 0)) is expected


def test_what_is_alone_in_the_middle_is_seen_whole() -> None:
    assert estimate_visibility(camera((0, 0, 10)), [thing(0, 0)]) == [(pytest.approx(1, abs=0.02), 1)]


def test_the_nearer_of_two_hides_the_farther() -> None:
    low = camera((0, -20, 6))
    (near_seen, _), (far_seen, _) = estimate_visibility(low, [thing(0, 0, side=2), thing(0, 2.1)])
    assert near_seen == pytest.approx(1, abs=0.02)
    assert far_seen < 0.5


def test_half_outside_the_frame_worked_out_by_hand() -> None:
    flat = Distractor("box", (5, 0), 0.0, (2, 2, 1e-6), GREY)  # the image ends at x = 5
    ((seen, in_frame),) = estimate_visibility(camera((0, 0, 10)), [flat])
    assert seen == 1
    assert in_frame == pytest.approx(0.5, abs=0.03)


def test_nothing_is_seen_of_what_is_outside_or_behind() -> None:
    low = camera((10, 0, 1))
    assert estimate_visibility(low, [thing(0, 60), thing(30, 0)]) == [(0, 0), (0, 0)]
    assert estimate_visibility(low, []) == []
