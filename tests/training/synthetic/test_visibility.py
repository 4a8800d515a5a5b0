import pytest

from training.synthetic.scene import Camera, Distractor, Surface
from training.synthetic.visibility import estimate_visibility, footprints_overlap

GREY = Surface("plain", (0.2, 0.2, 0.2), (0.2, 0.2, 0.2), 1.0, roughness=0.5)


def camera(position: tuple[float, float, float], *, roll_deg: float = 0.0, focal_mm: float = 36.0) -> Camera:
    return Camera(position, roll_deg, focal_mm, size_px=600)


def thing(x: float, y: float, *, yaw_deg: float = 0.0, side: float = 1.0) -> Distractor:
    return Distractor("box", (x, y), yaw_deg, (side, side, side), GREY)


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
def test_overlap_of_footprints(other: Distractor, *, expected: bool) -> None:
    assert footprints_overlap(thing(0, 0), other) is expected
    assert footprints_overlap(other, thing(0, 0)) is expected


def test_lone_thing_is_fully_visible() -> None:
    assert estimate_visibility(camera((0, 0, 10)), [thing(0, 0)]) == [(pytest.approx(1, abs=0.02), 1)]


def test_nearer_thing_hides_farther() -> None:
    low = camera((0, -20, 6))
    (near_seen, _), (far_seen, _) = estimate_visibility(low, [thing(0, 0, side=2), thing(0, 2.1)])
    assert near_seen == pytest.approx(1, abs=0.02)
    assert far_seen < 0.5


def test_half_outside_frame_by_hand() -> None:
    flat = Distractor("box", (5, 0), 0.0, (2, 2, 1e-6), GREY)  # the image ends at x = 5
    ((seen, in_frame),) = estimate_visibility(camera((0, 0, 10)), [flat])
    assert seen == 1
    assert in_frame == pytest.approx(0.5, abs=0.03)


def test_things_outside_or_behind_are_invisible() -> None:
    low = camera((10, 0, 1))
    assert estimate_visibility(low, [thing(0, 60), thing(30, 0)]) == [(0, 0), (0, 0)]
    assert estimate_visibility(low, []) == []
