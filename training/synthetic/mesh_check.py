"""A quick check that Blender can read a mesh: one small render of the mesh alone."""

from dataclasses import replace
from itertools import count
from pathlib import Path

from rendersight.annotations import AnnotationError
from training.synthetic.recipes import Draw
from training.synthetic.renderer import Blender, RenderFailed
from training.synthetic.scene import SceneSpec

_SIZE_PX = 32


def try_mesh(draw: Draw, python: Path) -> None:
    """Render one object of a recipe and discard the picture.

    Args:
        draw: draws the scenes of the mesh.
        python: an interpreter that has bpy.

    Raises:
        AnnotationError: Blender cannot read the mesh, or the file contains none.
    """
    spec = _alone(draw)
    with Blender(python, threads=1) as process:
        try:
            process.render(spec)
        except RenderFailed as error:
            raise AnnotationError(f"{spec.things[0].source} cannot be rendered: {error}") from error


def _alone(draw: Draw) -> SceneSpec:
    """Return the first scene that has an object, reduced to it; some scenes are empty on purpose."""
    spec, thing = next(
        (spec, thing)
        for spec in (draw(seed, 0) for seed in count())
        for thing in spec.things
        if thing.label is not None
    )
    camera = replace(spec.camera, size_px=_SIZE_PX)
    return replace(spec, things=(thing,), tray=None, lamps=(), camera=camera, samples=1)
