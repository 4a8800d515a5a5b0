import numpy as np
import pytest
from numpy.typing import NDArray

from training.synthetic.annotate import Outline, TooHidden, annotate


def square(x0: float, y0: float, x1: float, y1: float) -> Outline:
    corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float32)
    return Outline(corners, np.array([(0, 1, 2), (0, 2, 3)], np.int32))


def mask(*boxes: tuple[int, int, int, int]) -> NDArray[np.uint16]:
    """Object 1, 2, ... where its box is; later ones lie in front."""
    index = np.zeros((100, 120), np.uint16)
    for number, (x0, y0, x1, y1) in enumerate(boxes, 1):
        index[y0:y1, x0:x1] = number
    return index


def test_free_object() -> None:
    (found,) = annotate(mask((10, 20, 40, 60)), [square(10, 20, 40, 60)], ["cup"], may_hide=False)
    assert found.box_xyxy == (10, 20, 40, 60)
    assert (found.label, found.area_px) == ("cup", 1200)
    assert (found.visible, found.in_frame) == pytest.approx((1.0, 1.0), abs=0.03)


def test_box_is_tight_around_visible_pixels() -> None:
    outlines = [square(10, 20, 50, 60), square(30, 10, 70, 70)]
    first, second = annotate(mask((10, 20, 50, 60), (30, 10, 70, 70)), outlines, ["a", "b"], may_hide=False)
    assert first.box_xyxy == (10, 20, 30, 60)
    assert first.visible == pytest.approx(0.5, abs=0.03)
    assert second.visible == pytest.approx(1.0, abs=0.03)


def test_object_cut_by_frame() -> None:
    (found,) = annotate(mask((100, 20, 120, 60)), [square(100, 20, 140, 60)], ["a"], may_hide=False)
    assert found.box_xyxy == (100, 20, 120, 60)
    assert found.in_frame == pytest.approx(0.5, abs=0.03)
    assert found.visible == pytest.approx(1.0, abs=0.03)


def test_leaves_out_object_outside_frame() -> None:
    for may_hide in (False, True):
        assert annotate(mask(), [square(200, 200, 240, 240)], ["a"], may_hide=may_hide) == []


@pytest.mark.parametrize(
    ("index", "outlines"),
    [
        (mask((10, 20, 50, 60), (20, 10, 70, 70)), [square(10, 20, 50, 60), square(20, 10, 70, 70)]),  # a quarter seen
        (mask((10, 20, 50, 60), (0, 0, 90, 90)), [square(10, 20, 50, 60), square(0, 0, 90, 90)]),  # wholly covered
        (mask((110, 20, 120, 60)), [square(110, 20, 150, 60)]),  # a quarter in the frame
        (mask((10, 20, 16, 60)), [square(10, 20, 16, 60)]),  # 6 px wide
    ],
)
def test_rejects_hidden_objects(index: NDArray[np.uint16], outlines: list[Outline]) -> None:
    with pytest.raises(TooHidden, match=r"object 1 \(thing\)"):
        annotate(index, outlines, ["thing"] * len(outlines), may_hide=False)


@pytest.mark.parametrize(
    ("index", "outlines", "box"),
    [
        (mask((10, 20, 50, 60), (20, 10, 70, 70)), [square(10, 20, 50, 60), square(20, 10, 70, 70)], (10, 20, 20, 60)),
        (mask((110, 20, 120, 60)), [square(110, 20, 150, 60)], (110, 20, 120, 60)),
        (mask((10, 20, 16, 60)), [square(10, 20, 16, 60)], (10, 20, 16, 60)),
    ],
)
def test_hidden_objects_may_be_ignored(
    index: NDArray[np.uint16], outlines: list[Outline], box: tuple[float, ...]
) -> None:
    first, *others = annotate(index, outlines, ["thing"] * len(outlines), may_hide=True)
    assert (first.box_xyxy, first.is_ignored) == (box, True)
    assert not any(item.is_ignored for item in others)


def test_leaves_out_a_covered_object_if_it_may_hide() -> None:
    outlines = [square(10, 20, 50, 60), square(0, 0, 90, 90)]
    (found,) = annotate(mask((10, 20, 50, 60), (0, 0, 90, 90)), outlines, ["covered", "cover"], may_hide=True)
    assert (found.label, found.is_ignored) == ("cover", False)


def test_leaves_out_object_behind_the_camera() -> None:
    behind = Outline(square(10, 20, 40, 60).vertices, np.zeros((0, 3), np.int32))
    assert annotate(mask(), [behind], ["a"], may_hide=True) == []


def test_no_objects() -> None:
    assert annotate(mask(), [], [], may_hide=False) == []
