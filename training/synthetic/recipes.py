"""(recipe, seed) -> SceneSpec: which scenes there are, and how often.

The ranges are wide where the target is unknown (grounds, lights, colours, cameras, what lies around) and true to life
where an object touches its picture (proportions of dice, pips, rounded edges).
"""

import colorsys
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from training.synthetic import sensor
from training.synthetic.annotate import MIN_IN_FRAME, MIN_VISIBLE
from training.synthetic.geometry import estimate_visibility, footprints_overlap, project, unproject
from training.synthetic.scene import Camera, Lamp, Pips, Rgb, SceneSpec, Surface, Thing, Tray, Vector

SIZE_PX = 640
DICE_LABELS = ("one", "two", "three", "four", "five", "six")
WORLDS = ("city", "courtyard", "forest", "interior", "night", "studio", "sunrise", "sunset")

_PATTERNS = ("plain", "noise", "marble", "wood", "cells", "checker", "weave", "print", "dots", "tiles")
# Most tables are of one colour or close to it.
_GROUNDS = (*("plain",) * 5, *("noise",) * 5, *("wood",) * 3, *("weave",) * 2, *_PATTERNS[2:])
_DISTRACTORS = ("box", "cylinder", "cone", "ball", "ring")
_MOST_TRIES = 40
_SPARE = 0.06
"""So much more of an object than must be seen has to be seen by the estimate before rendering."""


@dataclass(frozen=True)
class MeshObject:
    """A mesh to render, and its class."""

    source: str
    label: str


def dice(seed: int, attempt: int = 0) -> SceneSpec:
    """Draw a scene of six-sided dice; each one's label is the face that points up.

    Args:
        seed: of the image; the same one gives the same scene.
        attempt: counts the redraws of a seed whose scene could not be labelled.
    """
    rng = random.Random(f"dice {seed} {attempt}")  # noqa: S311
    models = [_die_model(rng) for _ in range(rng.choice((1, 2, 3, 5, 8, 12)))]

    def make(position: tuple[float, float]) -> Thing:
        return _die(rng, rng.choice(models), position)

    size_px = _log_uniform(rng, 15, 64) if rng.random() < 0.68 else _log_uniform(rng, 45, 230)  # noqa: PLR2004
    return _scene("dice", seed, attempt, rng, make=make, size_px=size_px)


def dice_board(seed: int, attempt: int = 0) -> SceneSpec:
    """Draw a scene of a few dice on a game board: tiles of many colours, tokens and pages with letters and numbers.

    What is round, spotted or printed and no die is what a detector that has seen only tables takes for one.

    Args:
        seed: as for `dice`.
        attempt: as for `dice`.
    """
    rng = random.Random(f"dice-board {seed} {attempt}")  # noqa: S311
    models = [_die_model(rng) for _ in range(rng.choice((1, 2, 3, 5)))]

    def make(position: tuple[float, float]) -> Thing:
        return _die(rng, rng.choice(models), position)

    size_px = _log_uniform(rng, 14, 80)
    return _scene(
        "dice-board",
        seed,
        attempt,
        rng,
        make=make,
        size_px=size_px,
        most=10,
        empty_share=0.25,
        lay=lambda: _board(rng) + _prints(rng, reach=0.5 * SIZE_PX / size_px),
    )


def meshes(objects: Sequence[MeshObject], seed: int, attempt: int = 0) -> SceneSpec:
    """Draw a scene of arbitrary meshes, each labelled with its class.

    Args:
        objects: what to choose from.
        seed: as for `dice`.
        attempt: as for `dice`.
    """
    rng = random.Random(f"mesh {seed} {attempt}")  # noqa: S311

    def make(position: tuple[float, float]) -> Thing:
        chosen = rng.choice(objects)
        size = rng.uniform(0.7, 1.3)
        keeps_own = rng.random() < 0.75  # noqa: PLR2004
        return Thing(
            kind="mesh",
            label=chosen.label,
            position=position,
            yaw_deg=rng.uniform(0, 360),
            size=(size, size, size),
            surface=None if keeps_own else _surface(rng, patterns=("plain", "noise", "marble")),
            pose=rng.random(),
            source=chosen.source,
        )

    return _scene("mesh", seed, attempt, rng, make=make, size_px=_log_uniform(rng, 30, 420))


def _scene(
    recipe: str,
    seed: int,
    attempt: int,
    rng: random.Random,
    *,
    make: Callable[[tuple[float, float]], Thing],
    size_px: float,
    most: float = 45,
    empty_share: float = 0.07,
    lay: Callable[[], list[Thing]] = list,
) -> SceneSpec:
    """Place objects, distractors, camera, ground and lights.

    Args:
        recipe: its name.
        seed: of the image.
        attempt: of the redraws.
        rng: what decides everything.
        make: builds an object for a place on the ground.
        size_px: about how large an object of one world unit is in the middle of the image.
        most: objects.
        empty_share: share of the scenes that show none.
        lay: builds what lies flat under everything else.
    """
    camera = _camera(rng, size_px)
    is_empty = rng.random() < empty_share
    wanted = 0 if is_empty else _count(rng, size_px, most)
    things = _place_objects(rng, camera, wanted, make)
    tray = _tray(rng, things) if rng.random() < 0.25 else None  # noqa: PLR2004
    distractors = _distractors(rng, camera, things, tray, at_least=3 if is_empty else 0)
    things = _drop_hidden(camera, things, distractors)
    return SceneSpec(
        recipe=recipe,
        seed=seed,
        attempt=attempt,
        camera=camera,
        ground=_surface(rng, patterns=_GROUNDS, is_ground=True),
        tray=tray,
        things=(*things, *distractors, *lay()),
        world=(rng.choice(WORLDS), rng.uniform(0, 360), _log_uniform(rng, 0.3, 2.0)),
        lamps=tuple(_lamp(rng, camera) for _ in range(rng.choice((0, 1, 1, 2, 3)))),
        samples=2,
        sensor=sensor.draw(rng, size_px=size_px),
    )


def _camera(rng: random.Random, size_px: float) -> Camera:
    """Draw a camera that shows an object of one world unit at the origin `size_px` wide."""
    focal_mm = _log_uniform(rng, 22, 75)
    distance = SIZE_PX * focal_mm / 36 / size_px
    tilt = math.radians(min(abs(rng.gauss(0, 22)), 66) if rng.random() < 0.5 else rng.uniform(0, 66))  # noqa: PLR2004
    azimuth = rng.uniform(0, 2 * math.pi)
    position = (
        distance * math.sin(tilt) * math.cos(azimuth),
        distance * math.sin(tilt) * math.sin(azimuth),
        distance * math.cos(tilt),
    )
    roll = rng.gauss(0, 6) if rng.random() < 0.6 else rng.uniform(0, 360)  # noqa: PLR2004
    return Camera(position, roll, focal_mm, SIZE_PX)


def _count(rng: random.Random, size_px: float, most: float) -> int:
    room = max(1.0, 0.22 * (SIZE_PX / size_px) ** 2)
    return max(1, min(round(room), round(_log_uniform(rng, 2, most))))


def _place_objects(
    rng: random.Random, camera: Camera, wanted: int, make: Callable[[tuple[float, float]], Thing]
) -> list[Thing]:
    """Scatter objects over what the camera sees, alone or in heaps; they touch, but do not overlap."""
    placed: list[Thing] = []
    is_heap = rng.random() < 0.3  # noqa: PLR2004
    edge_px = 0.06 * SIZE_PX
    for _ in range(wanted):
        for _ in range(_MOST_TRIES):
            if is_heap and placed:
                near = rng.choice(placed)
                angle, reach = rng.uniform(0, 2 * math.pi), _log_uniform(rng, 1.0, 2.2)
                x, y = near.position
                position = (x + reach * math.cos(angle), y + reach * math.sin(angle))
            else:
                margin = 0.25 * SIZE_PX if is_heap else edge_px  # a heap needs room around its first object
                pixel = (rng.uniform(margin, SIZE_PX - margin), rng.uniform(margin, SIZE_PX - margin))
                hit = unproject(camera, pixel)
                if hit is None:
                    continue
                position = hit
            thing = make(position)
            middle = project(camera, (*position, thing.size[2] / 2))
            is_seen = middle is not None and all(0 <= value <= SIZE_PX for value in middle)
            if is_seen and not any(footprints_overlap(thing, other) for other in placed):
                placed.append(thing)
                break
    return placed


def _drop_hidden(camera: Camera, things: Sequence[Thing], others: Sequence[Thing]) -> list[Thing]:
    """Leave out the objects that would be too hidden to label, one after the other: each may have hidden the next."""
    kept = list(things)
    while kept:
        shares = estimate_visibility(camera, [*kept, *others])[: len(kept)]
        worst = min(range(len(kept)), key=lambda number: shares[number][0])
        far_out = [number for number, share in enumerate(shares) if share[1] < MIN_IN_FRAME + _SPARE]
        if shares[worst][0] >= MIN_VISIBLE + _SPARE and not far_out:
            break
        del kept[far_out[0] if far_out else worst]
    return kept


def _die_model(rng: random.Random) -> tuple[Surface, Pips, float, float, bool, tuple[bool, ...]]:
    """Draw what dice of one set share: body, pips, edge, size, handedness and turned marks."""
    body = _die_body(rng)
    pips_rgb = _contrasting(rng, body)
    spread = rng.uniform(0.21, 0.29)
    radius = min(rng.uniform(0.08, 0.138), 0.47 * spread)  # three in a column do not touch
    is_big_ace = rng.random() < 0.15  # noqa: PLR2004
    pips = Pips(
        rgb=pips_rgb,
        radius=radius,
        ace_radius=radius * (rng.uniform(1.2, 2.0) if is_big_ace else 1.0),
        ace_rgb=_hsv(rng, hue=(0.97, 1.02), saturation=(0.8, 1), value=(0.4, 0.8))
        if rng.random() < 0.08  # noqa: PLR2004
        else pips_rgb,
        spread=spread,
        depth=rng.choice((0.0, rng.uniform(0.02, 0.08), rng.uniform(0.02, 0.08))),
        squareness=1.0 if rng.random() < 0.04 else 0.0,  # noqa: PLR2004
    )
    edge = rng.choice((rng.uniform(0.01, 0.06), rng.uniform(0.05, 0.14), rng.uniform(0.12, 0.28)))
    size = rng.choice((1.0, rng.uniform(0.65, 1.35)))
    turns = tuple(rng.random() < 0.5 for _ in range(6))  # noqa: PLR2004
    return body, pips, edge, size, rng.random() < 0.5, turns  # noqa: PLR2004


def _die(
    rng: random.Random,
    model: tuple[Surface, Pips, float, float, bool, tuple[bool, ...]],
    position: tuple[float, float],
) -> Thing:
    body, pips, edge, size, is_left_handed, turns = model
    top = rng.randint(1, 6)
    return Thing(
        kind="die",
        label=DICE_LABELS[top - 1],
        position=position,
        yaw_deg=rng.uniform(0, 360),
        size=(size, size, size),
        surface=body,
        edge=edge,
        faces=die_faces(top, is_left_handed=is_left_handed),
        pips=pips,
        pip_turns=turns,
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
    light = _hsv(rng, hue=(0.05, 0.1), saturation=(0.3, 0.7), value=(0.3, 0.7))
    dark = _hsv(rng, hue=(0.04, 0.09), saturation=(0.5, 0.8), value=(0.15, 0.4))
    return Surface("wood", light, dark, rng.uniform(2, 6), roughness=rng.uniform(0.3, 0.7))


def _near(rng: random.Random, rgb: Rgb) -> Rgb:
    """Draw a second colour for a body that leaves room for pips: of about the same lightness, or a shade of it."""
    for _ in range(6):
        second = _die_colour(rng)
        if abs(_lightness(second) - _lightness(rgb)) < 0.3:  # noqa: PLR2004
            return second
    shade = rng.uniform(0.5, 1.0)
    return (rgb[0] * shade, rgb[1] * shade, rgb[2] * shade)


def _die_colour(rng: random.Random) -> Rgb:
    kind = rng.random()
    if kind < 0.27:  # noqa: PLR2004
        return _hsv(rng, hue=(0.08, 0.18), saturation=(0, 0.15), value=(0.6, 0.95))  # white to ivory
    if kind < 0.45:  # noqa: PLR2004
        return _hsv(rng, hue=(0, 1), saturation=(0, 0.3), value=(0.005, 0.05))  # black
    if kind < 0.55:  # noqa: PLR2004
        return _hsv(rng, hue=(0, 1), saturation=(0, 0.2), value=(0.05, 0.6))  # grey
    return _hsv(rng, hue=(0, 1), saturation=(0.6, 1), value=(0.05, 0.9))


def _contrasting(rng: random.Random, body: Surface) -> Rgb:
    """Draw a pip colour that can be told from both colours of the body, most often white or black."""
    dark = (rng.uniform(0.002, 0.03),) * 3
    light = (rng.uniform(0.75, 0.98),) * 3
    shades = (_lightness(body.rgb), _lightness(body.rgb2))
    for _ in range(20):
        colour: Rgb = rng.choice((dark, light, light, _hsv(rng, hue=(0, 1), saturation=(0.3, 1), value=(0.05, 0.9))))
        if min(abs(_lightness(colour) - shade) for shade in shades) > rng.choice((0.25, 0.4, 0.5)):
            return colour
    return light if max(shades) < 0.5 else dark  # noqa: PLR2004


def _lightness(rgb: Rgb) -> float:
    """Return how bright a linear colour looks, 0..1."""
    return float((0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]) ** (1 / 2.2))


def _tray(rng: random.Random, things: Sequence[Thing]) -> Tray | None:
    """Draw walls around everything that was placed."""
    if not things:
        return None
    yaw = rng.choice((rng.gauss(0, 4), rng.uniform(0, 90)))
    cos, sin = math.cos(math.radians(-yaw)), math.sin(math.radians(-yaw))
    reach_x = max(abs(t.position[0] * cos - t.position[1] * sin) for t in things)
    reach_y = max(abs(t.position[0] * sin + t.position[1] * cos) for t in things)
    return Tray(
        half_x=reach_x + rng.uniform(1.0, 3.0),
        half_y=reach_y + rng.uniform(1.0, 3.0),
        height=rng.uniform(0.3, 1.6),
        thickness=rng.uniform(0.1, 0.8),
        yaw_deg=yaw,
        wall=_surface(rng, patterns=("plain", "wood", "noise", "print")),
        floor=_surface(rng, patterns=_GROUNDS, is_ground=True),
    )


def _distractors(
    rng: random.Random, camera: Camera, things: Sequence[Thing], tray: Tray | None, *, at_least: int
) -> list[Thing]:
    """Scatter things of many shapes that are never labelled."""
    placed: list[Thing] = []
    wanted = max(at_least, rng.choice((0, 0, 1, 2, 3, 5, 9)))
    for _ in range(wanted):
        for _ in range(_MOST_TRIES):
            hit = unproject(camera, (rng.uniform(0, SIZE_PX), rng.uniform(0, SIZE_PX)))
            if hit is None:
                continue
            thing = _distractor(rng, hit)
            in_wall = tray is not None and abs(_distance_to_wall(hit, tray)) < max(thing.size)
            if not in_wall and not any(footprints_overlap(thing, other) for other in (*things, *placed)):
                placed.append(thing)
                break
    return placed


def _board(rng: random.Random) -> list[Thing]:
    """Tile the middle of the ground with hexagons or squares, with a numbered token on most of them."""
    side = rng.uniform(1.4, 4.0)
    surfaces = [_surface(rng, patterns=("plain", "noise", "marble", "cells", "wood", "print")) for _ in range(6)]
    token = Surface("plain", _light(rng), _dark(rng), 1.0, roughness=rng.uniform(0.3, 0.9))
    token_size = min(rng.uniform(0.8, 1.8), 0.6 * side)
    yaw = rng.uniform(0, 360)
    cos, sin = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
    is_hexagonal = rng.random() < 0.6  # noqa: PLR2004
    rings = rng.choice((1, 2, 2))
    laid: list[Thing] = []
    for column in range(-rings, rings + 1):
        for row in range(-rings, rings + 1):
            if is_hexagonal and abs(column + row) > rings:
                continue
            # a hexagon of width w has its neighbours at w, and at w/2, w * sqrt(3)/2
            x, y = (side * (column + row / 2), side * row * 0.866) if is_hexagonal else (side * column, side * row)
            position = (x * cos - y * sin, x * sin + y * cos)
            width = side * (1.13 if is_hexagonal else 0.97)
            size = (width, width, 0.02)
            laid.append(Thing("hexagon" if is_hexagonal else "box", None, position, yaw, size, rng.choice(surfaces)))
            if rng.random() < 0.75:  # noqa: PLR2004
                turned = yaw + rng.choice((0.0, 0.0, rng.uniform(0, 360)))
                number = rng.randint(2, 12)
                text = f"{number}" + rng.choice(("", "\n" + "." * rng.randint(1, 5)))
                laid.append(Thing("cylinder", None, position, turned, (token_size, token_size, 0.04), token, text=text))
    return laid


def _prints(rng: random.Random, *, reach: float) -> list[Thing]:
    """Scatter a few pages, cards and buttons with letters on them."""
    pages = []
    for _ in range(rng.choice((0, 1, 2, 4, 7))):
        size = _log_uniform(rng, 0.5, 5.0)
        paper = Surface("plain", _any_colour(rng), _any_colour(rng), 1.0, roughness=rng.uniform(0.3, 0.9))
        letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:?!*+"
        lines = rng.choice((1, 1, 2, 4, 8))
        text = "\n".join("".join(rng.choice(letters) for _ in range(rng.randint(1, 3 * lines))) for _ in range(lines))
        position = (rng.uniform(-reach, reach), rng.uniform(-reach, reach))
        kind = rng.choice(("box", "box", "cylinder"))
        pages.append(Thing(kind, None, position, rng.uniform(0, 360), (size, size, 0.05), paper, text=text))
    return pages


def _distractor(rng: random.Random, position: tuple[float, float]) -> Thing:
    kind = rng.choice(_DISTRACTORS)
    size = _log_uniform(rng, 0.3, 4.0)
    is_flat = rng.random() < 0.4  # noqa: PLR2004 - cards, coins, paper, pens
    is_cube = not is_flat and rng.random() < 0.2  # noqa: PLR2004 - what an object may be taken for
    height = size * rng.uniform(0.01, 0.1) if is_flat else size * rng.uniform(0.3, 1.0)
    width = size * _log_uniform(rng, 0.12, 1.0)
    if is_cube:
        kind, size = "box", _log_uniform(rng, 0.4, 1.3)
        width = height = size
    return Thing(
        kind=kind,
        label=None,
        position=position,
        yaw_deg=rng.uniform(0, 360),
        size=(size, width, min(height, 2.0)),
        # upright things with spots would be dice
        surface=_surface(
            rng, patterns=_PATTERNS if is_flat else ("plain", "noise", "marble", "wood", "weave", "checker")
        ),
        edge=rng.choice((0.0, rng.uniform(0.02, 0.2))),
    )


def _distance_to_wall(position: tuple[float, float], tray: Tray) -> float:
    cos, sin = math.cos(math.radians(-tray.yaw_deg)), math.sin(math.radians(-tray.yaw_deg))
    x = abs(position[0] * cos - position[1] * sin) - tray.half_x
    y = abs(position[0] * sin + position[1] * cos) - tray.half_y
    return max(x, y)


def _surface(rng: random.Random, *, patterns: Sequence[str], is_ground: bool = False) -> Surface:
    pattern = rng.choice(patterns)
    rgb = _any_colour(rng)
    rgb2 = _any_colour(rng)
    if pattern in ("noise", "weave", "marble", "cells") and rng.random() < 0.75:  # noqa: PLR2004 - one material, not two paints
        shade = rng.uniform(0.65, 1.35)
        rgb2 = (min(rgb[0] * shade, 1.0), min(rgb[1] * shade, 1.0), min(rgb[2] * shade, 1.0))
    if pattern == "wood":
        rgb = _hsv(rng, hue=(0.04, 0.12), saturation=(0.2, 0.8), value=(0.1, 0.7))
        shade = rng.uniform(0.3, 0.85)
        rgb2 = (rgb[0] * shade, rgb[1] * shade, rgb[2] * shade)
    return Surface(
        pattern,
        rgb,
        rgb2,
        scale=_log_uniform(rng, 0.15, 12.0 if is_ground else 6.0),
        roughness=rng.uniform(0.15, 1.0),
        metallic=1.0 if not is_ground and rng.random() < 0.1 else 0.0,  # noqa: PLR2004
        bump=rng.choice((0.0, rng.uniform(0.0, 0.06))),
    )


def _light(rng: random.Random) -> Rgb:
    return _hsv(rng, hue=(0, 1), saturation=(0, 0.35), value=(0.5, 0.95))


def _dark(rng: random.Random) -> Rgb:
    return _hsv(rng, hue=(0, 1), saturation=(0, 1), value=(0.01, 0.2))


def _any_colour(rng: random.Random) -> Rgb:
    """Most of what lies on tables is white, grey, black or beige."""
    kind = rng.random()
    if kind < 0.38:  # noqa: PLR2004
        return _hsv(rng, hue=(0.05, 0.65), saturation=(0, 0.12), value=(0.35, 0.92))
    if kind < 0.6:  # noqa: PLR2004
        return _hsv(rng, hue=(0.05, 0.15), saturation=(0, 0.3), value=(0.01, 0.5))
    return _hsv(rng, hue=(0, 1), saturation=(0.2, 1), value=(0.02, 0.8))


def _lamp(rng: random.Random, camera: Camera) -> Lamp:
    distance = math.dist(camera.position, (0, 0, 0)) * rng.uniform(0.5, 1.5)
    tilt, azimuth = math.radians(rng.uniform(5, 70)), rng.uniform(0, 2 * math.pi)
    position: Vector = (
        distance * math.sin(tilt) * math.cos(azimuth),
        distance * math.sin(tilt) * math.sin(azimuth),
        distance * math.cos(tilt),
    )
    warmth = rng.uniform(-0.25, 0.35)
    return Lamp(
        position=position,
        size=distance * _log_uniform(rng, 0.02, 0.8),
        energy=_log_uniform(rng, 0.2, 3.0),
        rgb=(1.0, 1.0 - max(warmth, 0) * 0.5, 1.0 - warmth),
    )


def _hsv(
    rng: random.Random, *, hue: tuple[float, float], saturation: tuple[float, float], value: tuple[float, float]
) -> Rgb:
    return colorsys.hsv_to_rgb(rng.uniform(*hue) % 1.0, rng.uniform(*saturation), rng.uniform(*value))


def _log_uniform(rng: random.Random, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


RECIPES: dict[str, Callable[[int, int], SceneSpec]] = {"dice": dice, "dice-board": dice_board}
"""Name -> what draws its scenes from (seed, attempt)."""
