"""Scenes of meshes as people photograph them: things that fell onto a table, alone, scattered, in heaps or in boxes.

A pile is drawn from its number before anything falls. A Blender process then lets it settle, and several cameras see it
in different light. Meshes keep their relative sizes: one world unit is the typical extent of the mesh files.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from training.synthetic import sensor
from training.synthetic.camera import SIZE_PX, draw_camera
from training.synthetic.composites.assemblies import assembly, package
from training.synthetic.game_boards import prints
from training.synthetic.layout import WORLDS, draw_distractor, draw_lamp
from training.synthetic.renderer import Blender, RenderFailed
from training.synthetic.scene import (
    Assembly,
    Camera,
    Distractor,
    Mesh,
    Quaternion,
    SceneSpec,
    Surface,
    Tray,
    Vector,
    thing_json,
)
from training.synthetic.surfaces import GROUNDS, log_uniform, paint, surface
from training.synthetic.visibility import footprints_overlap

MESH = "mesh"
"""Name of the recipe of these scenes."""

REPAINTED = 0.75
"""Share of the objects of any colour that are painted anew."""

VIEWS = 3
"""Pictures of each settled pile: other cameras, other light."""

SMALLEST, LARGEST = 0.03, 0.7
"""Smallest and largest extent of a typical object, as a share of the picture's side."""

_MOST_OBJECTS = 24
_EMPTY_SHARE = 0.06
_FLAT = 0.05
"""Height below which a thing lies on the ground from the beginning, world units."""
_MOST_TRIES = 40


@dataclass(frozen=True)
class MeshObject:
    """A mesh to render.

    Attributes:
        source: path of the file.
        label: its class.
        any_colour: the object comes in all colours, so most of them are painted anew.
    """

    source: str
    label: str
    any_colour: bool = False


Falling = Mesh | Assembly


@dataclass(frozen=True)
class Pile:
    """Things on a ground, before or after they have fallen.

    Attributes:
        size_px: extent of a typical object in the picture, px.
        ground: material of the ground.
        tray: walls around the things, if any.
        lying: flat things, which lie where they are.
        falling: the others. Before they fall, only x and y of their position, their turn, and the scale of an assembly
            count.
        funnel: half the side of walls that hold the things together while they fall, world units; None is no walls.
        radii: for each of `falling`, the radius of its bounding ball, world units; empty before they have fallen.
    """

    size_px: float
    ground: Surface
    tray: Tray | None
    lying: tuple[Distractor, ...]
    falling: tuple[Falling, ...]
    funnel: float | None = None
    radii: tuple[float, ...] = ()


def draw_pile(objects: Sequence[MeshObject], number: int) -> Pile:
    """Draw the pile of a number, before it falls."""
    rng = random.Random(f"pile {number}")  # noqa: S311
    size_px = SIZE_PX * log_uniform(rng, SMALLEST, LARGEST)
    frame = SIZE_PX / size_px  # world units across the picture
    arrange = rng.choices((_alone, _scattered, _heap), (0.12, 0.46, 0.42))[0]
    count, others = _counts(rng, frame, is_alone=arrange is _alone)
    tray = _tray(rng, count + others) if arrange is not _alone and rng.random() < 0.25 else None  # noqa: PLR2004
    place = _in_tray(rng, tray) if tray else arrange(rng, count + others, frame)
    lying: list[Distractor] = prints(rng, reach=0.5 * frame) if rng.random() < 0.3 else []  # noqa: PLR2004
    falling: list[Falling] = [_object(rng, objects, place()) for _ in range(count)]
    largest = 1.5 if arrange is _heap or tray else 4.0
    for _ in range(others):
        thing = _other(rng, place(), largest)
        if isinstance(thing, Assembly):
            falling.append(thing)
        elif not any(footprints_overlap(thing, other) for other in lying):
            lying.append(thing)
    rng.shuffle(falling)
    funnel = 0.4 + 0.13 * math.sqrt(count + others) if arrange is _heap and tray is None else None
    ground = surface(rng, patterns=GROUNDS, is_ground=True)
    return Pile(size_px, ground, tray, tuple(lying), tuple(falling), funnel)


def settle(process: Blender, pile: Pile, sources: Sequence[str]) -> Pile:
    """Return a pile as it lies once everything has fallen.

    Args:
        process: the Blender process that lets it fall.
        pile: a pile before it falls.
        sources: all mesh files of the dataset; their typical extent is one world unit.

    Raises:
        RenderFailed: Blender failed, or a thing fell for ever.
    """
    arrays = process.settle(
        {
            "sources": list(sources),
            "things": [thing_json(thing) for thing in (*pile.lying, *pile.falling)],
            "tray": None if pile.tray is None else asdict(pile.tray),
            "funnel": pile.funnel,
        }
    )
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise RenderFailed("a thing fell for ever")
    first = len(pile.lying)
    settled = []
    for row, thing in enumerate(pile.falling, first):
        x, y, z = arrays["positions"][row].tolist()
        w, *axis = arrays["turns"][row].tolist()
        turn = (w, axis[0], axis[1], axis[2])
        settled.append(replace(thing, position=(x, y, z), turn=turn, scale=float(arrays["scales"][row])))
    radii = tuple(float(radius) for radius in arrays["radii"][first:])
    return replace(pile, falling=tuple(settled), radii=radii)


def view(pile: Pile, seed: int) -> SceneSpec:
    """Draw the camera and light of a picture, and return its scene.

    Args:
        pile: a settled pile.
        seed: seed of the picture.
    """
    rng = random.Random(f"view {seed}")  # noqa: S311
    size_px = min(max(pile.size_px * log_uniform(rng, 0.75, 1.33), SMALLEST * SIZE_PX), LARGEST * SIZE_PX)
    camera = _camera(rng, pile, size_px)
    distance = max(math.dist(camera.position, camera.target), 3.0)
    return SceneSpec(
        recipe=MESH,
        seed=seed,
        attempt=0,
        camera=camera,
        ground=pile.ground,
        tray=pile.tray,
        things=(*pile.falling, *pile.lying),
        world=(rng.choice(WORLDS), rng.uniform(0, 360), log_uniform(rng, 0.3, 2.0)),
        lamps=tuple(draw_lamp(rng, distance) for _ in range(rng.choice((0, 0, 1, 1, 2)))),
        samples=2,
        sensor=sensor.draw(rng, size_px=size_px, luminance=(0.12, 0.45)),
    )


def _counts(rng: random.Random, frame: float, *, is_alone: bool) -> tuple[int, int]:
    """Return the number of objects and that of other things, for a picture `frame` world units wide."""
    room = max(1.0, 0.4 * frame**2)
    others = min(rng.choice((0, 1, 2, 3, 5, 8)), round(2 * room))
    if rng.random() < _EMPTY_SHARE:
        return 0, max(others, 2)
    return (1 if is_alone else min(round(room) + 1, round(log_uniform(rng, 2, _MOST_OBJECTS)))), others


Place = Callable[[], tuple[float, float]]


def _alone(rng: random.Random, _count: int, frame: float) -> Place:
    """Return a function that draws places: the first is in the middle, the others are around it."""
    left = [(0.0, 0.0)]

    def place() -> tuple[float, float]:
        angle, reach = rng.uniform(0, 2 * math.pi), rng.uniform(1.0, max(1.5, 0.6 * frame))
        return left.pop() if left else (reach * math.cos(angle), reach * math.sin(angle))

    return place


def _scattered(rng: random.Random, count: int, frame: float) -> Place:
    """Return a function that draws places in a disc, more or less close together."""
    reach = min(0.5 * frame + 0.7, math.sqrt(count) * log_uniform(rng, 0.6, 2.5))

    def place() -> tuple[float, float]:
        angle, far = rng.uniform(0, 2 * math.pi), reach * math.sqrt(rng.random())
        return far * math.cos(angle), far * math.sin(angle)

    return place


def _heap(rng: random.Random, count: int, _frame: float) -> Place:
    """Return a function that draws places on top of one another."""
    spread = 0.16 * math.sqrt(count) * rng.uniform(0.7, 1.5)
    return lambda: (rng.gauss(0, spread), rng.gauss(0, spread))


def _in_tray(rng: random.Random, tray: Tray) -> Place:
    """Return a function that draws places between the walls of a tray."""
    angle = math.radians(tray.yaw_deg)
    reach_x, reach_y = max(tray.half_x - 0.6, 0.05), max(tray.half_y - 0.6, 0.05)

    def place() -> tuple[float, float]:
        x, y = rng.uniform(-reach_x, reach_x), rng.uniform(-reach_y, reach_y)
        return x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)

    return place


def _tray(rng: random.Random, count: int) -> Tray:
    """Draw a box in which so many things lie beside or on one another."""
    side = 0.6 + math.sqrt(count) * rng.uniform(0.35, 0.75)
    aspect = log_uniform(rng, 0.7, 1.4)
    return Tray(
        half_x=side * aspect,
        half_y=side / aspect,
        height=log_uniform(rng, 0.15, 1.0),
        thickness=log_uniform(rng, 0.03, 0.3),
        yaw_deg=rng.choice((rng.gauss(0, 4), rng.uniform(0, 90))),
        wall=surface(rng, patterns=("plain", "plain", "wood", "noise", "print")),
        floor=surface(rng, patterns=GROUNDS, is_ground=True),
    )


def _object(rng: random.Random, objects: Sequence[MeshObject], place: tuple[float, float]) -> Mesh:
    chosen = rng.choice(objects)
    return Mesh(
        label=chosen.label,
        source=chosen.source,
        position=(*place, 0.0),
        turn=_any_turn(rng) if rng.random() < 0.5 else _placed_turn(rng),  # noqa: PLR2004
        scale=0.0,
        surface=paint(rng),
        is_repainted=chosen.any_colour and rng.random() < REPAINTED,
    )


def _other(rng: random.Random, place: tuple[float, float], largest: float) -> Assembly | Distractor:
    """Draw a thing that is never labelled: printed packaging, one of many parts, or one simple shape."""
    kind = rng.random()
    start = (*place, 0.0)
    if kind < 0.35:  # noqa: PLR2004
        turn = _placed_turn(rng) if rng.random() < 0.6 else _any_turn(rng)  # noqa: PLR2004
        return Assembly(package(rng), start, turn, scale=log_uniform(rng, 0.6, 0.6 * largest + 0.3))
    if kind < 0.7:  # noqa: PLR2004
        turn = _upright_turn(rng) if rng.random() < 0.7 else _any_turn(rng)  # noqa: PLR2004
        return Assembly(assembly(rng), start, turn, scale=log_uniform(rng, 0.5, 0.75 * largest))
    shape = draw_distractor(rng, place)
    if shape.size[2] < _FLAT:
        return shape
    part = replace(shape, position=(0.0, 0.0), yaw_deg=0.0)
    turn = _placed_turn(rng) if rng.random() < 0.7 else _any_turn(rng)  # noqa: PLR2004
    return Assembly(((part, 0.0),), start, turn, scale=min(1.0, largest / max(shape.size)))


def _any_turn(rng: random.Random) -> Quaternion:
    """Return a rotation drawn uniformly from all rotations."""
    w, x, y, z = (rng.gauss(0, 1) for _ in range(4))
    length = math.sqrt(w * w + x * x + y * y + z * z)
    return w / length, x / length, y / length, z / length


def _upright_turn(rng: random.Random) -> Quaternion:
    angle = rng.uniform(0, math.pi)
    return math.cos(angle), 0.0, 0.0, math.sin(angle)


def _placed_turn(rng: random.Random) -> Quaternion:
    """Return a rotation that sets a thing down on one of its six sides, as people do."""
    half = math.sqrt(0.5)
    w, x, y = rng.choice(
        ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (half, half, 0.0), (half, -half, 0.0), (half, 0.0, half), (half, 0.0, -half))
    )
    cos, _, _, sin = _upright_turn(rng)
    return cos * w, cos * x - sin * y, cos * y + sin * x, sin * w  # the yaw comes last


def _camera(rng: random.Random, pile: Pile, size_px: float) -> Camera:
    """Draw a camera that looks near an object, from outside everything, and mostly with a free line of sight."""
    frame = SIZE_PX / size_px
    bodies = list(zip(pile.falling, pile.radii, strict=True))
    wanted = [body for body in bodies if isinstance(body[0], Mesh)] or bodies
    for number in range(_MOST_TRIES):
        middle = rng.choice(wanted)[0].position if wanted else (0.0, 0.0, 0.0)
        shift = (rng.uniform(-0.35, 0.35) * frame, rng.uniform(-0.35, 0.35) * frame)
        target = (middle[0] + shift[0], middle[1] + shift[1], middle[2])
        camera = draw_camera(rng, size_px)
        position = _sum(camera.position, target)
        is_free = all(math.dist(position, thing.position) > radius + 0.25 for thing, radius in bodies)
        is_seen = number > _MOST_TRIES // 2 or not any(
            thing.position != middle and _gap(position, middle, thing.position) < 0.6 * radius
            for thing, radius in bodies
        )
        if is_free and is_seen and not _wall_hides(pile.tray, position, middle):
            return replace(camera, position=position, target=target)
    high = 1.5 + max((thing.position[2] + radius for thing, radius in bodies), default=0.0)
    distance = max(high, SIZE_PX * camera.focal_mm / 36 / size_px)
    return replace(camera, position=_sum(target, (0.0, 0.0, distance)), target=target)


def _gap(start: Vector, end: Vector, point: Vector) -> float:
    """Return the distance of a point from the line between two others; a point beyond an end is infinitely far."""
    along = _sum(end, start, sign=-1)
    away = _sum(point, start, sign=-1)
    share = sum(a * b for a, b in zip(along, away, strict=True)) / max(sum(a * a for a in along), 1e-9)
    if not 0 < share < 1:
        return math.inf
    return math.dist(away, tuple(share * a for a in along))


def _wall_hides(tray: Tray | None, position: Vector, middle: Vector) -> bool:
    """Return whether a wall of the tray is between the camera and a point, or around the camera."""
    if tray is None:
        return False
    cos, sin = math.cos(math.radians(-tray.yaw_deg)), math.sin(math.radians(-tray.yaw_deg))
    for share in np.linspace(0, 1, 30):
        x, y, z = (a + share * (b - a) for a, b in zip(position, middle, strict=True))
        across = max(abs(x * cos - y * sin) - tray.half_x, abs(x * sin + y * cos) - tray.half_y)
        if z < tray.height + 0.1 and -0.1 < across < tray.thickness + 0.2:  # noqa: PLR2004
            return bool(share < 0.9)  # noqa: PLR2004 - an object may lean on a wall
    return False


def _sum(a: Vector, b: Vector, *, sign: int = 1) -> Vector:
    return (a[0] + sign * b[0], a[1] + sign * b[1], a[2] + sign * b[2])
