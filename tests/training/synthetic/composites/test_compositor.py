"""Composites: boxes of the visible part, true relative sizes, and the same picture from the same seed."""

from dataclasses import replace

import numpy as np
import pytest

from training.synthetic.composites.compositor import CompositeOptions, Compositor
from training.synthetic.composites.cutouts import Cutout


def square(label: str, *, rgb: tuple[int, int, int], side_px: int = 60, diameter: float = 1.0) -> Cutout:
    """Return an opaque square as a cut-out."""
    rgba = np.empty((side_px, side_px, 4), np.uint8)
    rgba[:] = (*rgb, 255)
    return Cutout(rgba, label, "square.obj", diameter, float(side_px))


@pytest.fixture
def compositor() -> Compositor:
    return Compositor([square("red", rgb=(250, 10, 10)), square("green", rgb=(10, 250, 10))], [])


def test_same_seed_gives_same_composite(compositor: Compositor) -> None:
    first, second = compositor.draw(5), compositor.draw(5)

    assert np.array_equal(first.pixels, second.pixels)
    assert np.array_equal(first.boxes_xyxy, second.boxes_xyxy)
    assert not np.array_equal(first.pixels, compositor.draw(6).pixels)


def test_boxes_lie_inside_the_picture_and_have_an_area(compositor: Compositor) -> None:
    for seed in range(40):
        found = compositor.draw(seed)
        for boxes in (found.boxes_xyxy, found.ignored_xyxy):
            assert boxes.dtype == np.float32
            assert (boxes[:, :2] >= 0).all()
            assert (boxes[:, 2:] <= found.pixels.shape[0]).all()
            assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert len(found.labels) == len(found.boxes_xyxy)


def test_objects_reach_from_smallest_to_largest_size() -> None:
    options = CompositeOptions(size_px=448, picture_px=640, smallest=0.03, largest=0.7, empty_share=0)
    compositor = Compositor([square("red", rgb=(250, 10, 10))], [], options)
    boxes = np.concatenate([compositor.draw(seed).boxes_xyxy for seed in range(80)])
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)

    assert sides.min() < 0.06 * 640
    assert sides.max() > 0.5 * 640


def test_most_large_objects_are_seen_as_a_whole() -> None:
    options = CompositeOptions(size_px=448, picture_px=640, smallest=0.55, largest=0.6, empty_share=0)
    compositor = Compositor([square("red", rgb=(250, 10, 10))], [], options)
    shapes = [compositor.draw(seed) for seed in range(30)]
    whole = sum(
        float(np.ptp(box[[0, 2]])) > 280 and float(np.ptp(box[[1, 3]])) > 280
        for found in shapes
        for box in found.boxes_xyxy
    )
    assert whole > 0.6 * sum(len(found.boxes_xyxy) for found in shapes)


def test_meshes_keep_their_relative_size() -> None:
    options = CompositeOptions(empty_share=0, smallest=0.1, largest=0.12)
    small, large = square("small", rgb=(250, 10, 10), diameter=1.0), square("large", rgb=(10, 250, 10), diameter=3.0)
    compositor = Compositor([small, large], [], options)
    sides: dict[str, list[float]] = {"small": [], "large": []}
    for seed in range(60):
        found = compositor.draw(seed)
        for box, label in zip(found.boxes_xyxy, found.labels, strict=True):
            sides[label].append(float(max(box[2] - box[0], box[3] - box[1])))

    assert np.median(sides["large"]) / np.median(sides["small"]) == pytest.approx(3, rel=0.25)


def test_empty_share_decides_whether_objects_are_shown() -> None:
    compositor = Compositor([square("red", rgb=(250, 10, 10))], [], CompositeOptions(empty_share=1))

    assert not any(compositor.draw(seed).labels for seed in range(10))


def test_clutter_is_never_labelled() -> None:
    objects, clutter = [square("red", rgb=(250, 10, 10))], [square("clutter", rgb=(0, 0, 255))]
    compositor = Compositor(objects, [], CompositeOptions(empty_share=0.5), clutter=clutter)

    assert {label for seed in range(30) for label in compositor.draw(seed).labels} == {"red"}


def spread_of_shades(cutout: Cutout) -> float:
    """Return how much the share of green differs in the middle of an object's box in composites."""
    compositor = Compositor([cutout], [], CompositeOptions(empty_share=0, smallest=0.2, largest=0.3))
    found = []
    for seed in range(25):
        composite = compositor.draw(seed)
        for left, top, right, bottom in composite.boxes_xyxy.astype(int):
            middle = composite.pixels[(top + bottom) // 2, (left + right) // 2].astype(float)
            found.append(middle[1] / (middle.sum() + 1))
    low, high = np.percentile(found, (20, 80))  # now and then something else covers the middle
    return float(high - low)


def test_plain_objects_come_in_other_shades_and_textured_ones_do_not() -> None:
    textured = square("a", rgb=(20, 20, 230))
    assert spread_of_shades(replace(textured, is_plain=True)) > 1.5 * spread_of_shades(textured)
