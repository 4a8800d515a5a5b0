"""A quick check that Blender can read meshes: one small render of each alone."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rendersight.annotations import AnnotationError
from training.synthetic.piles import Pile, settle, view
from training.synthetic.renderer import Blender, RenderFailed
from training.synthetic.scene import Mesh
from training.synthetic.surfaces import paint

_SIZE_PX = 32
MOST_APART = 100.0
"""Largest ratio of the extents of two meshes of one dataset. A greater one means different units: mm and m, say."""


def try_meshes(sources: Sequence[str], python: Path) -> None:
    """Render each mesh once and discard the picture.

    Args:
        sources: the mesh files.
        python: an interpreter that has bpy.

    Raises:
        AnnotationError: Blender cannot read a mesh, a file contains none, or the meshes are in different units.
    """
    extents: dict[float, str] = {}
    with Blender(python, threads=1) as process:
        for source in sources:
            try:
                extents[_extent(process, source)] = source
            except RenderFailed as error:
                raise AnnotationError(f"{source} cannot be rendered: {error}") from error
    if extents and max(extents) > MOST_APART * min(extents):
        small, large = min(extents), max(extents)
        raise AnnotationError(
            f"{extents[large]} is {large:.3g} units long and {extents[small]} {small:.3g}; meshes keep their relative "
            f"sizes, so give them one unit, with sizes at most {MOST_APART:g} times apart"
        )


def _extent(process: Blender, source: str) -> float:
    """Return the extent of a mesh in its own units, once it was rendered."""
    rng = random.Random(source)  # noqa: S311
    surface = paint(rng)
    mesh = Mesh("object", source, (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), 0.0, surface)
    pile = settle(process, Pile(_SIZE_PX, surface, None, (), (mesh,)), [source])
    spec = view(pile, 0)
    process.render(replace(spec, camera=replace(spec.camera, size_px=_SIZE_PX), lamps=(), samples=1))
    return 1 / pile.falling[0].scale
