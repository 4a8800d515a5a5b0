"""Recipes: (recipe, seed) -> SceneSpec.

Ranges are wide for everything unknown about the target photos: grounds, lights, colours, cameras, distractors. They are
realistic for the appearance of the object itself: proportions of dice, pips, rounded edges.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from training.synthetic.camera import SIZE_PX
from training.synthetic.dice import DICE_LABELS, die, die_model
from training.synthetic.game_boards import board, prints
from training.synthetic.layout import draw_scene
from training.synthetic.scene import Die, Distractor, Mesh, SceneSpec
from training.synthetic.surfaces import log_uniform, paint

MESH = "mesh"
"""Name of the recipe of `meshes`."""

REPAINTED = 0.75
"""Share of the pictures that paint an object of any colour anew."""

Draw = Callable[[int, int], SceneSpec]
"""Function that draws the scene of (seed, attempt)."""


@dataclass(frozen=True)
class MeshObject:
    """A mesh to render.

    Attributes:
        source: path of the file.
        label: its class.
        any_colour: the object comes in all colours, so most pictures paint it anew.
    """

    source: str
    label: str
    any_colour: bool = False


def dice(seed: int, attempt: int = 0) -> SceneSpec:
    """Draw a scene of six-sided dice, each labelled with the face that points up.

    Args:
        seed: seed of the image; the same seed gives the same scene.
        attempt: number of redraws so far because a die was too hidden or too small to be labelled.
    """
    rng = random.Random(f"dice {seed} {attempt}")  # noqa: S311
    models = [die_model(rng) for _ in range(rng.choice((1, 2, 3, 5, 8, 12)))]

    def draw_object(position: tuple[float, float]) -> Die:
        return die(rng, rng.choice(models), position)

    size_px = log_uniform(rng, 15, 64) if rng.random() < 0.68 else log_uniform(rng, 45, 230)  # noqa: PLR2004
    return draw_scene("dice", seed, attempt, rng, draw_object=draw_object, size_px=size_px)


def dice_board(seed: int, attempt: int = 0) -> SceneSpec:
    """Draw a scene of a few dice on a game board: tiles of many colours, tokens and pages with letters and numbers.

    A detector trained on plain tables alone mistakes round, spotted or printed things for dice.

    Args:
        seed: as for `dice`.
        attempt: as for `dice`.
    """
    rng = random.Random(f"dice-board {seed} {attempt}")  # noqa: S311
    models = [die_model(rng) for _ in range(rng.choice((1, 2, 3, 5)))]

    def draw_object(position: tuple[float, float]) -> Die:
        return die(rng, rng.choice(models), position)

    size_px = log_uniform(rng, 14, 80)
    return draw_scene(
        "dice-board",
        seed,
        attempt,
        rng,
        draw_object=draw_object,
        size_px=size_px,
        max_count=10,
        empty_share=0.25,
        draw_board=lambda: board(rng) + prints(rng, reach=0.5 * SIZE_PX / size_px),
    )


def meshes(objects: Sequence[MeshObject], seed: int, attempt: int = 0) -> SceneSpec:
    """Draw a scene of arbitrary meshes, each labelled with its class.

    Args:
        objects: the meshes to choose from.
        seed: as for `dice`.
        attempt: as for `dice`.
    """
    rng = random.Random(f"mesh {seed} {attempt}")  # noqa: S311

    def draw_object(position: tuple[float, float]) -> Mesh:
        chosen = rng.choice(objects)
        size = rng.uniform(0.7, 1.3)
        return Mesh(
            label=chosen.label,
            position=position,
            yaw_deg=rng.uniform(0, 360),
            size=(size, size, size),
            surface=paint(rng),
            pose=rng.random(),
            source=chosen.source,
            is_repainted=chosen.any_colour and rng.random() < REPAINTED,
        )

    return draw_scene(MESH, seed, attempt, rng, draw_object=draw_object, size_px=log_uniform(rng, 30, 420))


def backdrop(seed: int, attempt: int = 0) -> SceneSpec:
    """Draw a scene without any object: grounds, trays, boards, prints and things of all shapes.

    Args:
        seed: as for `dice`.
        attempt: as for `dice`.
    """
    rng = random.Random(f"backdrop {seed} {attempt}")  # noqa: S311
    size_px = log_uniform(rng, 30, 300)

    def draw_board() -> list[Distractor]:
        laid = board(rng) if rng.random() < 0.2 else []  # noqa: PLR2004
        return laid + (prints(rng, reach=0.5 * SIZE_PX / size_px) if rng.random() < 0.6 else [])  # noqa: PLR2004

    return draw_scene(
        "backdrop",
        seed,
        attempt,
        rng,
        draw_object=_draw_nothing,
        size_px=size_px,
        empty_share=1.0,
        draw_board=draw_board,
    )


def _draw_nothing(position: tuple[float, float]) -> Mesh:
    raise AssertionError(position)


RECIPES: dict[str, Callable[[int, int], SceneSpec]] = {"dice": dice, "dice-board": dice_board}
"""Recipe name -> function that draws its scenes from (seed, attempt)."""

RECIPE_LABELS: dict[str, tuple[str, ...]] = {"dice": DICE_LABELS, "dice-board": DICE_LABELS}
"""Recipe name -> its classes in order."""
