"""Assemblies: things put together from many small parts, as boards, tools, toys and machines are. Never labelled."""

import random
from collections.abc import Sequence
from dataclasses import replace

from training.synthetic.scene import Distractor, Surface
from training.synthetic.surfaces import log_uniform, surface

Part = tuple[Distractor, float]
"""A shape, and the height of its underside above the ground, world units."""

_FEWEST_COLOURS, _MOST_COLOURS = 3, 6
_ON_BODY = ("box", "box", "box", "cylinder", "cylinder", "hexagon", "ball", "ring", "cone")


def assembly(rng: random.Random) -> tuple[Part, ...]:
    """Draw a body with rows of equal parts, single parts, and sometimes a second body on top. The body is 1 long."""
    palette = [
        surface(rng, patterns=("plain", "plain", "plain", "noise", "print", "dots"))
        for _ in range(rng.randint(_FEWEST_COLOURS, _MOST_COLOURS))
    ]
    width = log_uniform(rng, 0.25, 1.0)
    height = log_uniform(rng, 0.02, 0.12) if rng.random() < 0.6 else log_uniform(rng, 0.12, 0.8)
    body = Distractor(
        kind="box" if rng.random() < 0.8 else rng.choice(("cylinder", "hexagon")),
        position=(0.0, 0.0),
        yaw_deg=0.0,
        size=(1.0, width, height),
        surface=palette[0],
        edge=rng.choice((0.0, rng.uniform(0.02, 0.2))),
    )
    parts: list[Part] = [(body, 0.0)]
    for _ in range(rng.randint(1, 4)):
        parts += _row(rng, palette, width, height)
    for _ in range(rng.randint(2, 18)):
        size = log_uniform(rng, 0.04, 0.35)
        one = _part(rng, palette, (size, size * log_uniform(rng, 0.4, 1.0), size * log_uniform(rng, 0.1, 1.0)))
        place = (rng.uniform(-0.45, 0.45), rng.uniform(-0.45, 0.45) * width)
        yaw = rng.choice((0.0, 0.0, 90.0, 45.0, rng.uniform(0, 360)))
        parts.append((replace(one, position=place, yaw_deg=yaw), height * rng.choice((1.0, 1.0, 0.5))))
    return tuple(parts)


def package(rng: random.Random) -> tuple[Part, ...]:
    """Draw a printed box or can: a body with labels around it, each with a pattern of its own. It is 1 long or high."""
    prints = ("print", "print", "print", "tiles", "dots", "cells", "checker", "marble", "plain")
    is_can = rng.random() < 0.4
    width, height = log_uniform(rng, 0.3, 1.0), log_uniform(rng, 0.15, 1.0)
    length = width if is_can else 1.0
    height = 1.0 if is_can else height
    kind = "cylinder" if is_can else "box"
    body = Distractor(kind, (0.0, 0.0), 0.0, (length, width, height), surface(rng, patterns=prints))
    parts: list[Part] = [(body, 0.0)]
    for number in range(rng.randint(1, 6)):
        grown = 1.004 + 0.003 * number  # so that a later label lies on the earlier ones
        share = rng.uniform(0.1, 0.95)
        bottom = rng.random() * (1 - share) * height
        size = (length * grown, width * grown, height * share)  # a band around the body
        if not is_can and rng.random() < 0.6:  # on two opposite sides
            part = rng.uniform(0.1, 0.9)
            size = rng.choice(((length * part, size[1], size[2]), (size[0], width * part, size[2])))
        elif not is_can and rng.random() < 0.6:  # on top and bottom
            size, bottom = (length * share, width * rng.uniform(0.3, 0.9), height * grown), height * (1 - grown) / 2
        parts.append((Distractor(kind, (0.0, 0.0), 0.0, size, surface(rng, patterns=prints)), bottom))
    if rng.random() < 0.8:  # the name of what is in it
        size = (length * rng.uniform(0.4, 0.9), width * rng.uniform(0.3, 0.9), 0.004)
        paper = surface(rng, patterns=("plain",))
        parts.append((Distractor("box", (0.0, 0.0), 0.0, size, paper, text=_words(rng)), 1.011 * height))
    return tuple(parts)


def _words(rng: random.Random) -> str:
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%&!"
    return "\n".join("".join(rng.choice(letters) for _ in range(rng.randint(3, 9))) for _ in range(rng.randint(1, 3)))


def _row(rng: random.Random, palette: Sequence[Surface], width: float, height: float) -> list[Part]:
    """Return equal parts in a line along an edge or anywhere: pins, buttons, studs, slots."""
    count = rng.randint(3, 20)
    pitch = rng.uniform(0.6, 0.92) / count
    side = pitch * rng.uniform(0.35, 0.95)
    one = _part(rng, palette, (side, side * log_uniform(rng, 0.5, 2.0), side * log_uniform(rng, 0.2, 3.0)))
    across = rng.choice((-0.44, 0.44, rng.uniform(-0.4, 0.4)))
    rows = []
    for line in (across, -across) if rng.random() < 0.5 else (across,):
        rows += [
            (replace(one, position=((number - (count - 1) / 2) * pitch, line * width)), height * 0.98)
            for number in range(count)
        ]
    return rows


def _part(rng: random.Random, palette: Sequence[Surface], size: tuple[float, float, float]) -> Distractor:
    return Distractor(rng.choice(_ON_BODY), (0.0, 0.0), 0.0, size, rng.choice(palette))
