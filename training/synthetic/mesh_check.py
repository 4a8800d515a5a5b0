"""A quick check that Blender can read a mesh: one small render of the mesh alone."""

from dataclasses import replace
from itertools import count
from pathlib import Path

from rendersight.annotations import AnnotationError
from training.synthetic.recipes import Draw
from training.synthetic.renderer import Blender, RenderFailed
from training.synthetic.scene import Mesh, SceneSpec

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
    (mesh,) = spec.things
    assert isinstance(mesh, Mesh)
    with Blender(python, threads=1) as process:
        try:
            process.render(spec)
        except RenderFailed as error:
            raise AnnotationError(f"{mesh.source} cannot be rendered: {error}") from error


def _alone(draw: Draw) -> SceneSpec:
    """Return the first scene that has an object, reduced to it; some scenes are empty on purpose."""
    spec = next(spec for spec in (draw(seed, 0) for seed in count()) if spec.labelled)
    camera = replace(spec.camera, size_px=_SIZE_PX)
    return replace(spec, things=spec.labelled[:1], tray=None, lamps=(), camera=camera, samples=1)
