"""Game boards and printed matter: round, spotted or numbered things that are not dice."""

import math
import random

from training.synthetic.scene import Distractor, Surface
from training.synthetic.surfaces import any_colour, dark, light, log_uniform, surface


def board(rng: random.Random) -> list[Distractor]:
    """Draw a board: hexagons or squares that tile the middle of the ground, most with a numbered token."""
    side = rng.uniform(1.4, 4.0)
    surfaces = [surface(rng, patterns=("plain", "noise", "marble", "cells", "wood", "print")) for _ in range(6)]
    token = Surface("plain", light(rng), dark(rng), 1.0, roughness=rng.uniform(0.3, 0.9))
    token_size = min(rng.uniform(0.8, 1.8), 0.6 * side)
    yaw = rng.uniform(0, 360)
    cos, sin = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
    is_hexagonal = rng.random() < 0.6  # noqa: PLR2004
    rings = rng.choice((1, 2, 2))
    laid: list[Distractor] = []
    for column in range(-rings, rings + 1):
        for row in range(-rings, rings + 1):
            if is_hexagonal and abs(column + row) > rings:
                continue
            # a hexagon of width w has neighbours at (w, 0) and at (w/2, w * sqrt(3)/2)
            x, y = (side * (column + row / 2), side * row * 0.866) if is_hexagonal else (side * column, side * row)
            position = (x * cos - y * sin, x * sin + y * cos)
            width = side * (1.13 if is_hexagonal else 0.97)
            size = (width, width, 0.02)
            kind = "hexagon" if is_hexagonal else "box"
            laid.append(Distractor(kind, position, yaw, size, rng.choice(surfaces)))
            if rng.random() < 0.75:  # noqa: PLR2004
                turned = yaw + rng.choice((0.0, 0.0, rng.uniform(0, 360)))
                number = rng.randint(2, 12)
                text = f"{number}" + rng.choice(("", "\n" + "." * rng.randint(1, 5)))
                size = (token_size, token_size, 0.04)
                laid.append(Distractor("cylinder", position, turned, size, token, text=text))
    return laid


def prints(rng: random.Random, *, reach: float) -> list[Distractor]:
    """Draw a few scattered pages, cards and buttons with letters on them."""
    pages = []
    for number in range(rng.choice((0, 1, 2, 4, 7))):
        size = log_uniform(rng, 0.5, 5.0)
        paper = Surface("plain", any_colour(rng), any_colour(rng), 1.0, roughness=rng.uniform(0.3, 0.9))
        letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:?!*+"
        lines = rng.choice((1, 1, 2, 4, 8))
        text = "\n".join("".join(rng.choice(letters) for _ in range(rng.randint(1, 3 * lines))) for _ in range(lines))
        position = (rng.uniform(-reach, reach), rng.uniform(-reach, reach))
        kind = rng.choice(("box", "box", "cylinder"))
        size_xyz = (size, size, 0.05 + 0.006 * number)
        pages.append(Distractor(kind, position, rng.uniform(0, 360), size_xyz, paper, text=text))
    return pages
