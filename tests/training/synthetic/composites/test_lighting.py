"""Light: the same from the same seed, darker in parts, and more contrast as phones save it."""

import numpy as np

from training.synthetic.composites.lighting import as_cameras_save, lit


def test_light_depends_on_the_seed() -> None:
    grey = np.full((64, 64, 3), 128, np.float32)
    first, again, other = (lit(grey, np.random.default_rng(seed)) for seed in (1, 1, 2))

    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_cameras_save_more_contrast_and_colour() -> None:
    x = np.mgrid[0:64, 0:64][1].astype(np.float32)
    dull = np.stack([100 + x, 110 + 0 * x, 140 - x], axis=2)
    stretched = [
        float(np.std(as_cameras_save(dull, np.random.default_rng(seed)).astype(float))) / float(dull.std())
        for seed in range(30)
    ]
    assert 1.05 < np.median(stretched) < 1.6
    assert min(stretched) > 0.7
