"""Six-sided dice: their colours, pips, edges and faces."""

import random
from dataclasses import dataclass

from training.synthetic.scene import Die, Pips, Rgb, Surface
from training.synthetic.surfaces import hsv, lightness

DICE_LABELS = ("one", "two", "three", "four", "five", "six")


@dataclass(frozen=True)
class DieModel:
    """The common properties of the dice in one set.

    Attributes:
        body: material of the body.
        pips: marks on the faces.
        edge: roundness of the edges, as a fraction of the side.
        size: length of the side, world units.
        is_left_handed: whether 1, 2 and 3 run clockwise about their common corner.
        turns: for each of the six faces, whether its marks are turned by a quarter.
    """

    body: Surface
    pips: Pips
    edge: float
    size: float
    is_left_handed: bool
    turns: tuple[bool, ...]


def die_model(rng: random.Random) -> DieModel:
    """Draw the model of a set of dice."""
    body = _die_body(rng)
    pips_rgb = _contrasting(rng, body)
    spread = rng.uniform(0.2, 0.29)
    radius = min(rng.uniform(0.068, 0.125), 0.43 * spread)  # keeps the pips of a column of three, and of a five, apart
    is_big_ace = rng.random() < 0.15  # noqa: PLR2004
    pips = Pips(
        rgb=pips_rgb,
        radius=radius,
        ace_radius=radius * (rng.uniform(1.2, 2.0) if is_big_ace else 1.0),
        ace_rgb=hsv(rng, hue=(0.97, 1.02), saturation=(0.8, 1), value=(0.4, 0.8))
        if rng.random() < 0.08  # noqa: PLR2004
        else pips_rgb,
        spread=spread,
        depth=rng.choice((0.0, rng.uniform(0.02, 0.08), rng.uniform(0.02, 0.08))),
        squareness=1.0 if rng.random() < 0.04 else 0.0,  # noqa: PLR2004
    )
    edge = rng.choice((rng.uniform(0.01, 0.06), rng.uniform(0.05, 0.14), rng.uniform(0.12, 0.28)))
    size = rng.choice((1.0, rng.uniform(0.65, 1.35)))
    turns = tuple(rng.random() < 0.5 for _ in range(6))  # noqa: PLR2004
    return DieModel(body, pips, edge, size, rng.random() < 0.5, turns)  # noqa: PLR2004


def die(rng: random.Random, model: DieModel, position: tuple[float, float]) -> Die:
    """Draw a die of a model: its top face, which is its label, and its rotation."""
    top = rng.randint(1, 6)
    return Die(
        label=DICE_LABELS[top - 1],
        position=position,
        yaw_deg=rng.uniform(0, 360),
        size=(model.size, model.size, model.size),
        surface=model.body,
        edge=model.edge,
        faces=die_faces(top, is_left_handed=model.is_left_handed),
        pips=model.pips,
        pip_turns=model.turns,
    )


def die_faces(top: int, *, is_left_handed: bool) -> tuple[int, ...]:
    """Return the values at +z, -z, +x, -x, +y, -y of a die that shows `top`; opposite faces sum to 7.

    On a right-handed die 1, 2 and 3 run counter-clockwise about their common corner.
    """
    front = 2 if top in (1, 6) else 1  # any face that is neither top nor bottom
    # the cross product of two axes of a right-handed die: 1 x 2 = 3, 2 x 3 = 1, 3 x 1 = 2; 4, 5, 6 are -3, -2, -1
    axis = {1: (1, 1), 2: (2, 1), 3: (3, 1), 4: (3, -1), 5: (2, -1), 6: (1, -1)}
    (a, a_sign), (b, b_sign) = axis[top], axis[front]
    c = 6 - a - b
    cyclic = (a, b) in ((1, 2), (2, 3), (3, 1))
    sign = a_sign * b_sign * (1 if cyclic else -1) * (-1 if is_left_handed else 1)
    side = c if sign > 0 else 7 - c
    return (top, 7 - top, front, 7 - front, side, 7 - side)


def _die_body(rng: random.Random) -> Surface:
    kind = rng.random()
    rgb = _die_colour(rng)
    if kind < 0.55:  # noqa: PLR2004
        return Surface("plain", rgb, rgb, 1.0, roughness=rng.uniform(0.08, 0.6))
    if kind < 0.7:  # noqa: PLR2004
        return Surface("marble", rgb, _near(rng, rgb), rng.uniform(0.8, 3.0), roughness=rng.uniform(0.05, 0.4))
    if kind < 0.75:  # noqa: PLR2004
        return Surface("noise", rgb, _near(rng, rgb), rng.uniform(6, 25), roughness=rng.uniform(0.1, 0.5))
    if kind < 0.92:  # noqa: PLR2004
        clear = rng.uniform(0.4, 0.95)
        return Surface("plain", rgb, rgb, 1.0, roughness=rng.uniform(0.02, 0.25), transmission=clear)
    if kind < 0.96:  # noqa: PLR2004
        return Surface("plain", rgb, rgb, 1.0, roughness=rng.uniform(0.15, 0.45), metallic=1.0)
    light = hsv(rng, hue=(0.05, 0.1), saturation=(0.3, 0.7), value=(0.3, 0.7))
    dark = hsv(rng, hue=(0.04, 0.09), saturation=(0.5, 0.8), value=(0.15, 0.4))
    return Surface("wood", light, dark, rng.uniform(2, 6), roughness=rng.uniform(0.3, 0.7))


def _near(rng: random.Random, rgb: Rgb) -> Rgb:
    """Draw a second body colour that pips can contrast with: of similar lightness, or a shade of the first."""
    for _ in range(6):
        second = _die_colour(rng)
        if abs(lightness(second) - lightness(rgb)) < 0.3:  # noqa: PLR2004
            return second
    shade = rng.uniform(0.5, 1.0)
    return (rgb[0] * shade, rgb[1] * shade, rgb[2] * shade)


def _die_colour(rng: random.Random) -> Rgb:
    kind = rng.random()
    if kind < 0.27:  # noqa: PLR2004
        return hsv(rng, hue=(0.08, 0.18), saturation=(0, 0.15), value=(0.6, 0.95))  # white to ivory
    if kind < 0.45:  # noqa: PLR2004
        return hsv(rng, hue=(0, 1), saturation=(0, 0.3), value=(0.005, 0.05))  # black
    if kind < 0.55:  # noqa: PLR2004
        return hsv(rng, hue=(0, 1), saturation=(0, 0.2), value=(0.05, 0.6))  # grey
    return hsv(rng, hue=(0, 1), saturation=(0.6, 1), value=(0.05, 0.9))


def _contrasting(rng: random.Random, body: Surface) -> Rgb:
    """Draw a pip colour that contrasts with both colours of the body, most often white or black."""
    dark = (rng.uniform(0.002, 0.03),) * 3
    light = (rng.uniform(0.75, 0.98),) * 3
    shades = (lightness(body.rgb), lightness(body.rgb2))
    for _ in range(20):
        colour: Rgb = rng.choice((dark, light, light, hsv(rng, hue=(0, 1), saturation=(0.3, 1), value=(0.05, 0.9))))
        if min(abs(lightness(colour) - shade) for shade in shades) > rng.choice((0.25, 0.4, 0.5)):
            return colour
    return light if max(shades) < 0.5 else dark  # noqa: PLR2004
