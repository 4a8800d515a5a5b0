"""Textures: the wanted size, any seed."""

from collections.abc import Callable

import numpy as np
import pytest

from training.synthetic.composites.textures import (
    Pixels,
    coloured_like,
    crop,
    log_uniform,
    marked,
    printed,
    procedural,
    recoloured,
    shaded,
    worn,
)


@pytest.mark.parametrize("draw", [procedural, printed])
@pytest.mark.parametrize("shape_hw", [(48, 32), (1, 1), (3, 200)])
def test_textures_have_the_wanted_size(draw: Callable[..., Pixels], shape_hw: tuple[int, int]) -> None:
    for seed in range(25):
        texture = draw(np.random.default_rng(seed), *shape_hw)
        assert texture.shape == (*shape_hw, 3)
        assert texture.dtype == np.uint8


@pytest.mark.parametrize("size", [(5, 5), (40, 20), (600, 900)])
def test_crop_has_the_wanted_size(size: tuple[int, int]) -> None:
    picture = np.zeros((60, 80, 3), np.uint8)
    for seed in range(5):
        assert crop(np.random.default_rng(seed), picture, *size, low=0.2).shape == (*size, 3)


def test_recolouring_changes_a_colour_and_leaves_grey() -> None:
    red, grey = np.full((4, 4, 3), (200, 20, 20), np.uint8), np.full((4, 4, 3), 90, np.uint8)
    for seed in range(10):
        assert np.abs(recoloured(np.random.default_rng(seed), red).astype(int) - red).max() > 40
        assert np.array_equal(recoloured(np.random.default_rng(seed), grey), grey)


def test_log_uniform_stays_in_its_range() -> None:
    rng = np.random.default_rng(0)
    drawn = [log_uniform(rng, 0.1, 10) for _ in range(500)]
    assert min(drawn) >= 0.1
    assert max(drawn) <= 10
    assert 0.7 < float(np.median(drawn)) < 1.45


def cutout(*rgb: int) -> Pixels:
    """Return a disc of a colour before nothing."""
    y, x = np.mgrid[-20:20, -20:20]
    alpha = np.where(x**2 + y**2 < 300, 255, 0)
    return np.dstack([*(np.full((40, 40), value) for value in rgb), alpha]).astype(np.uint8)


def test_coloured_like_takes_the_colour_and_keeps_the_outline() -> None:
    found = coloured_like(cutout(200, 20, 20), cutout(30, 60, 180))
    inside = found[..., 3] > 0

    assert np.array_equal(found[..., 3], cutout(0, 0, 0)[..., 3])
    assert np.abs(found[inside][:, :3].mean(axis=0) - (30, 60, 180)).max() < 1.5


def test_coloured_like_leaves_a_cutout_as_it_is_where_nothing_is_solid() -> None:
    faint = cutout(200, 20, 20) // np.array([1, 1, 1, 4], np.uint8)

    assert np.array_equal(coloured_like(faint, cutout(0, 0, 0)), faint)
    assert np.array_equal(coloured_like(cutout(0, 0, 0), faint), cutout(0, 0, 0))


def test_worn_changes_some_pixels_and_keeps_the_outline() -> None:
    new = cutout(200, 20, 20)
    for seed in range(20):
        found = worn(np.random.default_rng(seed), new)
        assert np.array_equal(found[..., 3], new[..., 3])
        # the object stays red
        assert found[new[..., 3] > 0].mean(axis=0)[:3].argmax() == 0
        assert not np.array_equal(found, new)


def test_marks_lie_on_the_object_and_leave_most_of_it() -> None:
    new = cutout(200, 20, 20)
    changed = []
    for seed in range(40):
        found = marked(np.random.default_rng(seed), new)
        assert np.array_equal(found[..., 3], new[..., 3])
        changed.append(float((found != new).any(axis=2)[new[..., 3] > 0].mean()))
    assert np.median(changed) < 0.5
    assert np.mean(np.array(changed) > 0) > 0.8
    assert marked(np.random.default_rng(0), new[:1, :1]).shape == (1, 1, 4)


def test_shaded_keeps_the_outline_and_about_the_hue() -> None:
    blue = cutout(20, 60, 200)
    seen = set()
    for seed in range(40):
        found = shaded(np.random.default_rng(seed), blue)
        assert np.array_equal(found[..., 3], blue[..., 3])
        mean = found[blue[..., 3] > 0].mean(axis=0)[:3]
        assert mean.argmin() != 2  # neither yellow nor orange
        seen.add(tuple(mean.round()))
    assert len(seen) > 30
