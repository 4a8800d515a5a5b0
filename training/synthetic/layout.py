"""The layout of a scene: objects, distractors, a tray and lamps placed at random, as a SceneSpec."""

import math
import random
from collections.abc import Callable, Sequence

from training.synthetic import sensor
from training.synthetic.annotate import MIN_IN_FRAME, MIN_VISIBLE
from training.synthetic.camera import SIZE_PX, draw_camera, project, unproject
from training.synthetic.scene import Camera, Die, Distractor, Lamp, SceneSpec, Tray, Vector
from training.synthetic.surfaces import GROUNDS, PATTERNS, log_uniform, surface
from training.synthetic.visibility import estimate_visibility, footprints_overlap

WORLDS = ("city", "courtyard", "forest", "interior", "night", "studio", "sunrise", "sunset")
_DISTRACTORS = ("box", "cylinder", "cone", "ball", "ring")
_MAX_TRIES = 40
_VISIBILITY_MARGIN = 0.06
"""Margin added to the visibility limits when they are applied to the estimate before rendering."""


def draw_scene(
    recipe: str,
    seed: int,
    attempt: int,
    rng: random.Random,
    *,
    draw_object: Callable[[tuple[float, float]], Die],
    size_px: float,
    max_count: float = 45,
    empty_share: float = 0.07,
    draw_board: Callable[[], list[Distractor]] = list,
) -> SceneSpec:
    """Return a scene with objects, distractors, camera, ground and lights placed at random.

    Args:
        recipe: name of the recipe.
        seed: seed of the image.
        attempt: number of the redraw.
        rng: source of all random numbers.
        draw_object: draws an object at a point x, y of the ground.
        size_px: approximate size of an object of one world unit in the middle of the image.
        max_count: largest number of objects.
        empty_share: fraction of the scenes without an object.
        draw_board: draws the flat things below everything else.
    """
    camera = draw_camera(rng, size_px)
    is_empty = rng.random() < empty_share
    wanted = 0 if is_empty else _count(rng, size_px, max_count)
    things = _place_objects(rng, camera, wanted, draw_object)
    tray = _tray(rng, things) if rng.random() < 0.25 else None  # noqa: PLR2004
    distractors = _distractors(rng, camera, things, tray, at_least=3 if is_empty else 0)
    things = _drop_hidden(camera, things, distractors)
    return SceneSpec(
        recipe=recipe,
        seed=seed,
        attempt=attempt,
        camera=camera,
        ground=surface(rng, patterns=GROUNDS, is_ground=True),
        tray=tray,
        things=(*things, *distractors, *draw_board()),
        world=(rng.choice(WORLDS), rng.uniform(0, 360), log_uniform(rng, 0.3, 2.0)),
        lamps=tuple(draw_lamp(rng, math.dist(camera.position, (0, 0, 0))) for _ in range(rng.choice((0, 1, 1, 2, 3)))),
        samples=2,
        sensor=sensor.draw(rng, size_px=size_px),
    )


def _count(rng: random.Random, size_px: float, max_count: float) -> int:
    room = max(1.0, 0.22 * (SIZE_PX / size_px) ** 2)
    return max(1, min(round(room), round(log_uniform(rng, 2, max_count))))


def _place_objects(
    rng: random.Random, camera: Camera, wanted: int, draw_object: Callable[[tuple[float, float]], Die]
) -> list[Die]:
    """Return objects scattered over the visible ground, alone or in heaps; they may touch, but not overlap."""
    placed: list[Die] = []
    is_heap = rng.random() < 0.3  # noqa: PLR2004
    edge_px = 0.06 * SIZE_PX
    for _ in range(wanted):
        for _ in range(_MAX_TRIES):
            if is_heap and placed:
                near = rng.choice(placed)
                angle, reach = rng.uniform(0, 2 * math.pi), log_uniform(rng, 1.0, 2.2)
                x, y = near.position
                position = (x + reach * math.cos(angle), y + reach * math.sin(angle))
            else:
                margin = 0.25 * SIZE_PX if is_heap else edge_px  # room for the heap around its first object
                pixel = (rng.uniform(margin, SIZE_PX - margin), rng.uniform(margin, SIZE_PX - margin))
                hit = unproject(camera, pixel)
                if hit is None:
                    continue
                position = hit
            thing = draw_object(position)
            middle = project(camera, (*position, thing.size[2] / 2))
            is_seen = middle is not None and all(0 <= value <= SIZE_PX for value in middle)
            if is_seen and not any(footprints_overlap(thing, other) for other in placed):
                placed.append(thing)
                break
    return placed


def _drop_hidden(camera: Camera, things: Sequence[Die], others: Sequence[Distractor]) -> list[Die]:
    """Return the objects that are visible enough to label.

    Hidden objects are removed one at a time, because each may have hidden the next.
    """
    kept = list(things)
    while kept:
        shares = estimate_visibility(camera, [*kept, *others])[: len(kept)]
        worst = min(range(len(kept)), key=lambda number: shares[number][0])
        far_out = [number for number, share in enumerate(shares) if share[1] < MIN_IN_FRAME + _VISIBILITY_MARGIN]
        if shares[worst][0] >= MIN_VISIBLE + _VISIBILITY_MARGIN and not far_out:
            break
        del kept[far_out[0] if far_out else worst]
    return kept


def _tray(rng: random.Random, things: Sequence[Die]) -> Tray | None:
    """Draw a tray around all placed objects."""
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
        wall=surface(rng, patterns=("plain", "wood", "noise", "print")),
        floor=surface(rng, patterns=GROUNDS, is_ground=True),
    )


def _distractors(
    rng: random.Random, camera: Camera, things: Sequence[Die], tray: Tray | None, *, at_least: int
) -> list[Distractor]:
    """Return scattered things of many shapes that are never labelled."""
    placed: list[Distractor] = []
    wanted = max(at_least, rng.choice((0, 0, 1, 2, 3, 5, 9)))
    for _ in range(wanted):
        for _ in range(_MAX_TRIES):
            hit = unproject(camera, (rng.uniform(0, SIZE_PX), rng.uniform(0, SIZE_PX)))
            if hit is None:
                continue
            thing = draw_distractor(rng, hit)
            in_wall = tray is not None and abs(_distance_to_wall(hit, tray)) < max(thing.size)
            others: list[Die | Distractor] = [*things, *placed]
            if not in_wall and not any(footprints_overlap(thing, other) for other in others):
                placed.append(thing)
                break
    return placed


def draw_distractor(rng: random.Random, position: tuple[float, float]) -> Distractor:
    """Draw a thing of any shape and surface that is never labelled."""
    kind = rng.choice(_DISTRACTORS)
    size = log_uniform(rng, 0.3, 4.0)
    is_flat = rng.random() < 0.4  # noqa: PLR2004 - cards, coins, paper, pens
    is_cube = not is_flat and rng.random() < 0.2  # noqa: PLR2004 - resembles a die
    height = size * rng.uniform(0.01, 0.1) if is_flat else size * rng.uniform(0.3, 1.0)
    width = size * log_uniform(rng, 0.12, 1.0)
    if is_cube:
        kind, size = "box", log_uniform(rng, 0.4, 1.3)
        width = height = size
    return Distractor(
        kind=kind,
        position=position,
        yaw_deg=rng.uniform(0, 360),
        size=(size, width, min(height, 2.0)),
        # no dots on upright things: they would look like dice
        surface=surface(
            rng, patterns=PATTERNS if is_flat else ("plain", "noise", "marble", "wood", "weave", "checker")
        ),
        edge=rng.choice((0.0, rng.uniform(0.02, 0.2))),
    )


def _distance_to_wall(position: tuple[float, float], tray: Tray) -> float:
    cos, sin = math.cos(math.radians(-tray.yaw_deg)), math.sin(math.radians(-tray.yaw_deg))
    x = abs(position[0] * cos - position[1] * sin) - tray.half_x
    y = abs(position[0] * sin + position[1] * cos) - tray.half_y
    return max(x, y)


def draw_lamp(rng: random.Random, camera_distance: float) -> Lamp:
    """Draw a lamp, nearer than the camera or farther away."""
    distance = camera_distance * rng.uniform(0.5, 1.5)
    tilt, azimuth = math.radians(rng.uniform(5, 70)), rng.uniform(0, 2 * math.pi)
    position: Vector = (
        distance * math.sin(tilt) * math.cos(azimuth),
        distance * math.sin(tilt) * math.sin(azimuth),
        distance * math.cos(tilt),
    )
    warmth = rng.uniform(-0.25, 0.35)
    return Lamp(
        position=position,
        size=distance * log_uniform(rng, 0.02, 0.8),
        energy=log_uniform(rng, 0.2, 3.0),
        rgb=(1.0, 1.0 - max(warmth, 0) * 0.5, 1.0 - warmth),
    )
