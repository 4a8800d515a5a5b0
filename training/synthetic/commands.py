"""The verbs that render: `render` and `preview`."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rendersight.annotations import AnnotationError
from rendersight.annotations.folder import read_folder
from training import flags, inspection
from training.console import Stopped, bar_of, say, stop_on_signals
from training.dataset import names_in
from training.synthetic import recipes
from training.synthetic.blender import check_python
from training.synthetic.dataset import Draw, Workers, name_of, render_dataset

MESH_SUFFIXES = (".glb", ".gltf", ".obj", ".stl", ".ply", ".blend")
PREVIEW_COUNT = 16

_BLENDER = Path(".venv-render/bin/python")


def add_render(verbs: Any) -> None:
    """Add the verb `render`."""
    parser = verbs.add_parser(
        "render",
        help="render labelled photos of dice or of your own meshes",
        description="Render photos with LabelMe JSON, one for each seed. What is in --out already is not rendered "
        "again: a stopped command goes on when it is repeated.",
    )
    add_sources(parser)
    parser.add_argument("--count", type=flags.positive, required=True, help="how many photos")
    parser.add_argument("--first-seed", type=int, default=0, help="seeds run from here (default: 0)")
    parser.add_argument("--out", type=Path, required=True, help="the dataset's folder")
    parser.set_defaults(verb=_render)


def add_preview(verbs: Any) -> None:
    """Add the verb `preview`."""
    parser = verbs.add_parser(
        "preview",
        help=f"render {PREVIEW_COUNT} scenes and show them with their boxes",
        description="Render a few scenes and lay them out on a contact sheet with their boxes drawn.",
    )
    add_sources(parser)
    parser.add_argument("--first-seed", type=int, default=0, help="seeds run from here (default: 0)")
    parser.add_argument("--out", type=Path, help="folder of the scenes (default: runs/preview/NAME)")
    parser.set_defaults(verb=_preview)


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Add what is rendered, and with how many processes of which interpreter."""
    parser.add_argument(
        "what", nargs="+", help=f"a recipe ({', '.join(recipes.RECIPES)}), or mesh files ({' '.join(MESH_SUFFIXES)})"
    )
    parser.add_argument("--label", action="append", default=[], help="class of a mesh file; once for each, in order")
    workers = max(2, cores() // 2)
    parser.add_argument(
        "--workers", type=flags.positive, default=workers, help=f"Blender processes (default: {workers})"
    )
    parser.add_argument("--blender", type=Path, default=_BLENDER, help=f"interpreter with bpy (default: {_BLENDER})")


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers_of(options: argparse.Namespace) -> Workers:
    """Give each process twice its share of the cores: one traces while the other builds its scene."""
    return Workers(options.blender, options.workers, threads=max(1, 2 * cores() // options.workers))


def draw_of(what: Sequence[str], labels: Sequence[str]) -> Draw:
    """Return what draws the scenes of a recipe, or of mesh files with their labels.

    Raises:
        AnnotationError: no such recipe or file, or labels that do not go with the files.
    """
    if len(what) == 1 and what[0] in recipes.RECIPES:
        if labels:
            raise AnnotationError(f"the recipe {what[0]} has its own labels; leave out --label")
        return recipes.RECIPES[what[0]]
    for item in what:
        path = Path(item)
        if path.suffix.lower() not in MESH_SUFFIXES:
            known = ", ".join(recipes.RECIPES)
            raise AnnotationError(f"{item} is neither a recipe ({known}) nor a mesh file ({' '.join(MESH_SUFFIXES)})")
        if not path.is_file():
            raise AnnotationError(f"{item} is no file")
    if len(labels) != len(what):
        raise AnnotationError(f"{len(what)} mesh files need as many --label, {len(labels)} are given")
    if not all(label.strip() for label in labels):
        raise AnnotationError("a --label is empty")
    objects = [recipes.MeshObject(str(Path(item).resolve()), label) for item, label in zip(what, labels, strict=True)]
    return lambda seed, attempt: recipes.meshes(objects, seed, attempt)


def _render(options: argparse.Namespace) -> None:
    draw = draw_of(options.what, options.label)
    check_python(options.blender)
    seeds = range(options.first_seed, options.first_seed + options.count)
    stop_asked = stop_on_signals()
    count = render_dataset(
        draw,
        seeds,
        options.out,
        workers=workers_of(options),
        progress=bar_of("images"),
        stop_asked=stop_asked,
    )
    if stop_asked():
        raise Stopped(f"stopped after {count} images; repeat the command to go on")
    say(f"{count} images rendered, {len(seeds)} in {options.out}")


def _preview(options: argparse.Namespace) -> None:
    draw = draw_of(options.what, options.label)
    check_python(options.blender)
    out = options.out or Path("runs/preview") / Path(options.what[0]).stem
    seeds = range(options.first_seed, options.first_seed + PREVIEW_COUNT)
    for seed in seeds:  # the recipe may have changed since
        for path in out.glob(f"{name_of(seed)}.*"):
            path.unlink()
    render_dataset(
        draw,
        seeds,
        out,
        workers=workers_of(options),
        progress=bar_of("scenes"),
        stop_asked=stop_on_signals(),
    )
    found = read_folder(out)
    wanted = {f"{name_of(seed)}.jpg" for seed in seeds}
    found = replace(found, images=tuple(image for image in found.images if image.name in wanted))
    sheet = out.with_suffix(".jpg")
    inspection.sheet(found, names_in(found), most=PREVIEW_COUNT).save(sheet, quality=88)
    say(f"contact sheet: {sheet}")
