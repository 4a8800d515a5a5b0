import random
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from training.synthetic import sensor
from training.synthetic.scene import Sensor

CLEAN = Sensor(
    mean_luminance=0.2,
    white_balance=(1, 1, 1),
    vignette=0,
    blur_px=0.2,
    motion_px=0,
    motion_deg=0,
    detail=1,
    shot_noise=0,
    read_noise=0,
    contrast=1,
    saturation=1,
    sharpening=0,
    jpeg_quality=95,
    seed=1,
)


def scene(*, brightness: float = 1.0) -> NDArray[np.float32]:
    """Grey with a lighter square."""
    light = np.full((64, 80, 3), 0.2, np.float32)
    light[20:44, 30:54] = 0.6
    return light * brightness


def picture(light: NDArray[np.float32], **changes: object) -> NDArray[np.float32]:
    encoded = sensor.develop(light, replace(CLEAN, **changes))  # type: ignore[arg-type]
    with Image.open(BytesIO(encoded)) as image:
        assert image.format == "JPEG"
        return np.asarray(image.convert("RGB")).astype(np.float32)


def sharpness(pixels: NDArray[np.float32]) -> float:
    return float(np.abs(np.diff(pixels, axis=1)).max())


def test_same_sensor_gives_same_bytes() -> None:
    noisy = replace(CLEAN, shot_noise=0.05)
    assert sensor.develop(scene(), noisy) == sensor.develop(scene(), noisy)
    assert sensor.develop(scene(), noisy) != sensor.develop(scene(), replace(noisy, seed=2))


def test_exposure_is_independent_of_light() -> None:
    np.testing.assert_allclose(picture(scene()), picture(scene(brightness=50)), atol=1)


def test_encodes_middle_grey_as_srgb() -> None:
    # linear 0.2 is 0.4845 in sRGB
    assert picture(np.full((32, 32, 3), 7.0, np.float32)).mean() == pytest.approx(255 * 0.4845, abs=1)


def test_each_effect_changes_the_picture() -> None:
    flat = np.full((64, 64, 3), 1.0, np.float32)
    assert picture(flat, shot_noise=0.05).std() > 3 > picture(flat).std()
    assert picture(flat, read_noise=0.02).std() > 2
    assert sharpness(picture(scene(), blur_px=3)) < 0.5 * sharpness(picture(scene()))
    assert sharpness(picture(scene(), motion_px=8)) < 0.7 * sharpness(picture(scene()))
    assert sharpness(picture(scene(), detail=0.5, blur_px=0.8)) < sharpness(picture(scene(), blur_px=0.8))
    warm = picture(flat, white_balance=(1.2, 1, 0.8)).mean(axis=(0, 1))
    assert warm[0] > warm[1] > warm[2]
    vignetted = picture(flat, vignette=0.5)
    assert vignetted[0, 0].mean() < 0.85 * vignetted[32, 32].mean()
    red = flat * np.array([1.0, 0.3, 0.3], np.float32)
    assert np.ptp(picture(red, saturation=0.2).mean(axis=(0, 1))) < 0.5 * np.ptp(picture(red).mean(axis=(0, 1)))


def test_extreme_light_stays_in_range() -> None:
    light = np.zeros((32, 32, 3), np.float32)
    light[5, 5] = 60000
    assert np.isfinite(picture(light, shot_noise=0.05, contrast=1.35)).all()


def test_meters_highlights_but_not_lamps() -> None:
    bright = replace(CLEAN, mean_luminance=0.8, contrast=1.5, saturation=1.5)
    rng = np.random.default_rng(0)
    light = scene() * rng.uniform(0.5, 1.5, (64, 80, 3)).astype(np.float32)

    def clipped(linear: NDArray[np.float32], *, is_metered: bool) -> float:
        with Image.open(BytesIO(sensor.develop(linear, bright, is_metered=is_metered))) as image:
            return float((np.asarray(image).max(axis=2) >= 250).mean())

    assert clipped(light, is_metered=False) > 0.2
    assert clipped(light, is_metered=True) < 0.05
    lamp = light.copy()
    lamp[:16, :16] = 100.0
    assert clipped(lamp, is_metered=True) == pytest.approx(16 * 16 / (64 * 80), abs=0.02)


def test_develops_any_drawn_sensor() -> None:
    rng = random.Random(0)
    for _ in range(30):
        drawn = sensor.draw(rng, size_px=rng.uniform(17, 210))
        assert sensor.develop(scene(), drawn)[:2] == b"\xff\xd8"
