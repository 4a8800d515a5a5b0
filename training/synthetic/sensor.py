"""A camera model that turns linear light into a phone's JPEG: lens, sensor noise, tone curve, sharpening, JPEG.

Without these effects, a detector trained on renders transfers poorly to photos. Order and noise model follow a real
camera's pipeline: shot noise grows with the square root of the light, read noise does not.
"""

import math
import random
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from training.synthetic.scene import Sensor

Linear = NDArray[np.float32]

LAMP = 30.0
"""Luminance of a lamp or its reflection, at least, relative to the median of the picture."""

_MOST_CLIPPED, _CLIPPED = 0.025, 0.97
"""Largest share of clipped pixels before sharpening and noise, and the value from which a channel is clipped."""
_SHORTEST = 0.1
"""Shortest exposure, relative to that of the mean luminance."""
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)


def draw(rng: random.Random, *, size_px: float, luminance: tuple[float, float] = (0.2, 0.8)) -> Sensor:
    """Draw a sensor; small objects get less blur, because the strongest blur would leave nothing to learn.

    Args:
        rng: source of all random numbers.
        size_px: side of a typical object in the picture, px.
        luminance: smallest and largest mean luminance of the picture.
    """
    most_blur = min(2.2, 0.5 + size_px / 40)
    is_poor = rng.random() < 0.2  # noqa: PLR2004
    warmth = rng.gauss(0, 0.09)
    return Sensor(
        mean_luminance=math.exp(rng.uniform(math.log(luminance[0]), math.log(luminance[1]))),
        white_balance=(1 + warmth, 1 + rng.gauss(0, 0.03), 1 - warmth),
        vignette=rng.choice((0.0, rng.uniform(0, 0.35))),
        blur_px=rng.uniform(0.15, most_blur if is_poor else 0.65),
        motion_px=rng.uniform(1, 2 * most_blur) if rng.random() < 0.08 else 0.0,  # noqa: PLR2004
        motion_deg=rng.uniform(0, 180),
        detail=rng.uniform(0.5, 1.0) if is_poor and size_px > 30 else 1.0,  # noqa: PLR2004
        shot_noise=rng.uniform(0.0, 0.04 if is_poor else 0.01),
        read_noise=rng.uniform(0.0, 0.01 if is_poor else 0.003),
        contrast=rng.uniform(0.9, 1.5),
        saturation=rng.uniform(0.8, 1.7),
        sharpening=rng.choice((0.0, rng.uniform(0.2, 1.0), rng.uniform(0.6, 1.8))),
        jpeg_quality=rng.randint(35, 95) if is_poor else rng.randint(70, 96),
        seed=rng.randrange(2**31),
    )


def develop(linear: Linear, sensor: Sensor, *, is_metered: bool = False) -> bytes:
    """Return rendered light as an encoded JPEG.

    Args:
        linear: float32 (H, W, 3), scene-linear RGB, not negative.
        sensor: the effects to apply.
        is_metered: shorten the exposure until highlights keep their colours, as cameras do. Only lamps may be clipped:
            what is more than `LAMP` times as bright as the median.
    """
    rng = np.random.default_rng(sensor.seed)
    light = _expose(np.maximum(linear, 0), sensor)
    if is_metered:
        light = _metered(light, sensor)
    light = _blur(light, sensor)
    light = _add_noise(light, sensor, rng)
    picture = Image.fromarray((_tone(light, sensor) * 255 + 0.5).astype(np.uint8))
    if sensor.detail < 1:
        width, height = picture.size
        small = (round(width * sensor.detail), round(height * sensor.detail))
        picture = picture.resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.BICUBIC)
    if sensor.sharpening:
        picture = picture.filter(
            ImageFilter.UnsharpMask(radius=1.5, percent=round(100 * sensor.sharpening), threshold=2)
        )
    file = BytesIO()
    picture.save(file, "JPEG", quality=sensor.jpeg_quality)
    return file.getvalue()


def _expose(light: Linear, sensor: Sensor) -> Linear:
    # the mean leaves out the brightest percent, so that a few bright lamps do not darken the rest
    luminance = light @ _LUMINANCE
    mean = float(np.minimum(luminance, np.percentile(luminance, 99)).mean())
    exposed = light * (sensor.mean_luminance / max(mean, 1e-6)) * np.array(sensor.white_balance, np.float32)
    if sensor.vignette:
        height, width = light.shape[:2]
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        exposed = exposed * (1 - sensor.vignette * ((x**2 + y**2) / 2) ** 2)[..., None]
    return exposed.astype(np.float32)


def _metered(light: Linear, sensor: Sensor) -> Linear:
    """Darken the light until few pixels are clipped, apart from lamps."""
    sample = light[::4, ::4]
    luminance = sample @ _LUMINANCE
    is_lamp = luminance > LAMP * max(float(np.median(luminance)), 1e-6)
    gain = 1.0
    while gain > _SHORTEST and _clipped(_tone(sample * np.float32(gain), sensor), is_lamp) > _MOST_CLIPPED:
        gain *= 0.9
    return light * np.float32(gain)


def _clipped(picture: NDArray[np.float32], is_lamp: NDArray[np.bool_]) -> float:
    return float(((picture.max(axis=-1) >= _CLIPPED) & ~is_lamp).mean())


def _blur(light: Linear, sensor: Sensor) -> Linear:
    """Blur in linear light, as a lens does: first along the motion, then in all directions."""
    if sensor.motion_px:
        steps = np.linspace(-0.5, 0.5, max(3, round(2 * sensor.motion_px))) * sensor.motion_px
        angle = math.radians(sensor.motion_deg)
        moved = [_shift(light, step * math.cos(angle), step * math.sin(angle)) for step in steps]
        light = np.mean(moved, axis=0, dtype=np.float32)
    radius = math.ceil(3 * sensor.blur_px)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sensor.blur_px) ** 2).astype(np.float32)
    kernel /= kernel.sum()
    for axis in (0, 1):
        padded = np.pad(light, [(radius, radius) if a == axis else (0, 0) for a in range(3)], mode="edge")
        length = light.shape[axis]
        parts = (np.take(padded, range(i, i + length), axis=axis) * weight for i, weight in enumerate(kernel))
        light = np.sum(list(parts), axis=0, dtype=np.float32)
    return light


def _shift(light: Linear, dx: float, dy: float) -> Linear:
    return np.roll(light, (round(dy), round(dx)), axis=(0, 1))


def _add_noise(light: Linear, sensor: Sensor, rng: np.random.Generator) -> Linear:
    sigma = np.sqrt(sensor.read_noise**2 + sensor.shot_noise**2 * np.maximum(light, 0))
    return (light + sigma * rng.standard_normal(light.shape)).astype(np.float32)


def _tone(light: Linear, sensor: Sensor) -> NDArray[np.float32]:
    """Apply saturation, highlight roll-off, the sRGB curve and contrast about middle grey; the result is in 0..1."""
    grey = (light @ _LUMINANCE)[..., None]
    light = np.maximum(grey + sensor.saturation * (light - grey), 0)
    knee = 0.8
    light = np.where(light > knee, knee + (1 - knee) * (1 - np.exp(-(light - knee) / (1 - knee))), light)
    # IEC 61966-2-1
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.power(light, 1 / 2.4) - 0.055)  # noqa: PLR2004
    return np.clip(0.5 + sensor.contrast * (encoded - 0.5), 0, 1).astype(np.float32)
