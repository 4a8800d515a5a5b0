"""Random colours and patterns of the things found on tables."""

import colorsys
import math
import random
from collections.abc import Sequence

from training.synthetic.scene import Rgb, Surface

PATTERNS = ("plain", "noise", "marble", "wood", "cells", "checker", "weave", "print", "dots", "tiles")
GROUNDS = (*("plain",) * 5, *("noise",) * 5, *("wood",) * 3, *("weave",) * 2, *PATTERNS[2:])


def surface(rng: random.Random, *, patterns: Sequence[str], is_ground: bool = False) -> Surface:
    """Draw a surface with one of the patterns; repeat a pattern in the list to draw it more often.

    A ground is never metallic.
    """
    pattern = rng.choice(patterns)
    rgb = any_colour(rng)
    rgb2 = any_colour(rng)
    if pattern in ("noise", "weave", "marble", "cells") and rng.random() < 0.75:  # noqa: PLR2004 - one material, not two paints
        shade = rng.uniform(0.65, 1.35)
        rgb2 = (min(rgb[0] * shade, 1.0), min(rgb[1] * shade, 1.0), min(rgb[2] * shade, 1.0))
    if pattern == "wood":
        rgb = hsv(rng, hue=(0.04, 0.12), saturation=(0.2, 0.8), value=(0.1, 0.7))
        shade = rng.uniform(0.3, 0.85)
        rgb2 = (rgb[0] * shade, rgb[1] * shade, rgb[2] * shade)
    return Surface(
        pattern,
        rgb,
        rgb2,
        scale=log_uniform(rng, 0.15, 12.0 if is_ground else 6.0),
        roughness=rng.uniform(0.15, 1.0),
        metallic=1.0 if not is_ground and rng.random() < 0.1 else 0.0,  # noqa: PLR2004
        bump=rng.choice((0.0, rng.uniform(0.0, 0.06))),
    )


def paint(rng: random.Random) -> Surface:
    """Draw a surface for an object that has no colours of its own, or that comes in all colours."""
    return surface(rng, patterns=("plain", "plain", "noise", "marble"))


def any_colour(rng: random.Random) -> Rgb:
    """Draw a colour: mostly white, grey, black or beige, as most things on tables are."""
    kind = rng.random()
    if kind < 0.38:  # noqa: PLR2004
        return hsv(rng, hue=(0.05, 0.65), saturation=(0, 0.12), value=(0.35, 0.92))
    if kind < 0.6:  # noqa: PLR2004
        return hsv(rng, hue=(0.05, 0.15), saturation=(0, 0.3), value=(0.01, 0.5))
    return hsv(rng, hue=(0, 1), saturation=(0.2, 1), value=(0.02, 0.8))


def light(rng: random.Random) -> Rgb:
    """Draw the colour of paper."""
    return hsv(rng, hue=(0, 1), saturation=(0, 0.35), value=(0.5, 0.95))


def dark(rng: random.Random) -> Rgb:
    """Draw the colour of ink."""
    return hsv(rng, hue=(0, 1), saturation=(0, 1), value=(0.01, 0.2))


def lightness(rgb: Rgb) -> float:
    """Return the perceived lightness of a linear colour, 0..1."""
    return float((0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]) ** (1 / 2.2))


def hsv(
    rng: random.Random, *, hue: tuple[float, float], saturation: tuple[float, float], value: tuple[float, float]
) -> Rgb:
    """Draw a linear colour, uniform in ranges of hue, saturation and value; a hue beyond 1 wraps around."""
    return colorsys.hsv_to_rgb(rng.uniform(*hue) % 1.0, rng.uniform(*saturation), rng.uniform(*value))


def log_uniform(rng: random.Random, low: float, high: float) -> float:
    """Draw a number between two positive numbers, uniform in its logarithm."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))
