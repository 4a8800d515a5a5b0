"""The parts of composites in one folder: cut-outs of the objects and of clutter, and backdrops."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rendersight.annotations import Fault
from training.data.dataset import BrokenDataset
from training.synthetic.composites.cutouts import clutter, draw, render_cutouts
from training.synthetic.dataset import render_dataset
from training.synthetic.piles import MeshObject
from training.synthetic.recipes import backdrop, plain
from training.synthetic.renderer import Workers

_FEWEST_EACH, _MOST_EACH, _MOST_OBJECTS = 30, 200, 720

OBJECTS, CLUTTER, BACKDROPS = "objects", "clutter", "backdrops"


@dataclass(frozen=True)
class PartCounts:
    """Numbers of pictures to render; objects are counted over all mesh files together."""

    objects: int
    clutter: int = 240
    backdrops: int = 120

    @classmethod
    def suiting(cls, meshes: int, each: int | None = None) -> "PartCounts":
        """Return the numbers for so many mesh files.

        Args:
            meshes: number of mesh files, at least 1.
            each: pictures of each; None takes 200 of one, and fewer of each of many.
        """
        objects = meshes * (each or max(_FEWEST_EACH, min(_MOST_EACH, _MOST_OBJECTS // meshes)))
        return cls(objects, clutter=min(objects, cls.clutter), backdrops=min(objects, cls.backdrops))


def render_parts(
    objects: Sequence[MeshObject],
    counts: PartCounts,
    out: Path,
    *,
    workers: Workers,
    progress: Callable[..., Iterable[Any]],
    stop_asked: Callable[[], bool],
) -> None:
    """Render the parts that are not in the folder yet.

    Raises:
        BrokenDataset: pictures could not be rendered; all others are.
    """
    common: dict[str, Any] = {"workers": workers, "progress": progress, "stop_asked": stop_asked}
    faults: list[Fault] = []
    for render in (
        partial(render_cutouts, partial(draw, objects), range(counts.objects), out / OBJECTS),
        partial(render_cutouts, partial(clutter, objects), range(counts.clutter), out / CLUTTER),
        partial(render_dataset, plain(backdrop), range(counts.backdrops), out / BACKDROPS),
    ):
        try:
            render(**common)
        except BrokenDataset as error:
            faults += error.faults
    if faults:
        raise BrokenDataset(faults)
