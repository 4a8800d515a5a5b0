"""Arguments of `render`, `cutouts`, `preview` and `make`: the objects to render and the number of processes."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from model_store.cpu import usable_cores
from rendersight.annotations import AnnotationError
from training.commands import flags
from training.synthetic import recipes
from training.synthetic.mesh_check import try_meshes
from training.synthetic.piles import MeshObject
from training.synthetic.recipes import Recipe
from training.synthetic.renderer import Workers, check_python

MESH_SUFFIXES = (".glb", ".gltf", ".obj", ".stl", ".ply", ".blend")

_BLENDER = Path(".venv-render", "Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for the objects to render, the number of processes and their interpreter."""
    parser.add_argument(
        "what", nargs="+", help=f"a recipe ({', '.join(recipes.RECIPES)}), or mesh files ({' '.join(MESH_SUFFIXES)})"
    )
    parser.add_argument(
        "--label", action="append", default=[], help="class of a mesh file; repeat it for each file, in the same order"
    )
    parser.add_argument(
        "--any-colour",
        action="store_true",
        help="the objects come in all colours: paint them anew in most pictures (default: meshes keep their colours; "
        "only meshes without any are painted)",
    )
    workers = max(2, usable_cores() // 2)
    parser.add_argument(
        "--workers", type=flags.positive, default=workers, help=f"number of Blender processes (default: {workers})"
    )
    parser.add_argument(
        "--threads", type=flags.positive, help="threads of each process (default: twice its share of the cores)"
    )
    parser.add_argument(
        "--blender", type=Path, default=_BLENDER, help=f"Python interpreter with bpy (default: {_BLENDER})"
    )


def workers_of(options: argparse.Namespace) -> Workers:
    """Return the number of processes, and for each the threads: by default twice its share of the cores.

    While one process builds its scene, another can then trace on its cores.
    """
    return Workers(
        options.blender, options.workers, threads=options.threads or max(1, 2 * usable_cores() // options.workers)
    )


def recipe_of(what: Sequence[str], labels: Sequence[str], *, any_colour: bool = False) -> Recipe:
    """Return a recipe, or that of mesh files with their labels.

    Raises:
        AnnotationError: the recipe or a file does not exist, or the labels do not match the files.
    """
    if len(what) == 1 and what[0] in recipes.RECIPES:
        for flag, given in (("--label", bool(labels)), ("--any-colour", any_colour)):
            if given:
                raise AnnotationError(f"the recipe {what[0]} has its own labels and colours; leave out {flag}")
        return recipes.RECIPES[what[0]]
    return recipes.meshes(objects_of(what, labels, any_colour=any_colour))


def objects_of(what: Sequence[str], labels: Sequence[str], *, any_colour: bool = False) -> list[MeshObject]:
    """Return the mesh files with their labels.

    Raises:
        AnnotationError: a file does not exist or is not a mesh, or the labels do not match the files.
    """
    for item in what:
        path = Path(item)
        if path.suffix.lower() not in MESH_SUFFIXES:
            known = ", ".join(recipes.RECIPES)
            raise AnnotationError(f"{item} is neither a recipe ({known}) nor a mesh file ({' '.join(MESH_SUFFIXES)})")
        if not path.is_file():
            raise AnnotationError(f"{item} is not a file")
    if len(labels) != len(what):
        raise AnnotationError(f"{len(what)} mesh files and {len(labels)} --label; give one --label for each file")
    if not all(label.strip() for label in labels):
        raise AnnotationError("a --label is empty")
    return [MeshObject(str(Path(item).resolve()), label, any_colour) for item, label in zip(what, labels, strict=True)]


def check_blender(options: argparse.Namespace) -> None:
    """Check that Blender runs and can read each mesh, before the first scene.

    Raises:
        BlenderMissing: the interpreter has no bpy.
        AnnotationError: a mesh, or a file that it names, cannot be read, or the meshes are in different units.
    """
    check_python(options.blender)
    if options.label:  # a recipe has none
        try_meshes(options.what, options.blender)
