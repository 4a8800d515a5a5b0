"""Recipes: how a scene is drawn from its seed.

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
from training.synthetic.piles import VIEWS, MeshObject, draw_pile, settle, view
from training.synthetic.renderer import Blender
from training.synthetic.scene import Die, Distractor, SceneSpec
from training.synthetic.surfaces import log_uniform

Draw = Callable[[int, int, Blender], SceneSpec]
"""Function that draws the scene of (seed, attempt); things that have to fall do so in the Blender process."""


SCENE = r"^\d+"
"""Regular expression of the part of a file's name that pictures of the same things share."""


@dataclass(frozen=True)
class Recipe:
    """How the pictures of a dataset are drawn.

    Attributes:
        draw: draws a scene.
        labels: its classes in order; empty if they are those of mesh files.
        views: number of pictures of the same things, with consecutive seeds from a multiple of `views` on.
    """

    draw: Draw
    labels: tuple[str, ...] = ()
    views: int = 1

    def name_of(self, seed: int) -> str:
        """Return the stem of a seed's files. Pictures of the same things have the same digits before a dash."""
        return f"{seed:06d}" if self.views == 1 else f"{seed // self.views:06d}-{seed % self.views + 1}"


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


def meshes(objects: Sequence[MeshObject]) -> "Recipe":
    """Return the recipe of piles of meshes, each labelled with its class.

    Args:
        objects: the meshes to choose from.
    """
    sources = sorted({item.source for item in objects})

    def draw(seed: int, _attempt: int, process: Blender) -> SceneSpec:
        return view(settle(process, draw_pile(objects, seed // VIEWS), sources), seed)

    return Recipe(draw, views=VIEWS)


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


def _draw_nothing(position: tuple[float, float]) -> Die:
    raise AssertionError(position)


def plain(draw: Callable[[int, int], SceneSpec], labels: tuple[str, ...] = ()) -> Recipe:
    """Return the recipe of scenes in which nothing has to fall."""
    return Recipe(lambda seed, attempt, _process: draw(seed, attempt), labels)


RECIPES = {"dice": plain(dice, DICE_LABELS), "dice-board": plain(dice_board, DICE_LABELS)}
"""Recipes by their names."""
