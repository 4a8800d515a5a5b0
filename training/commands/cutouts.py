"""The verb `cutouts`: render the parts of composites for mesh files."""

import argparse
from pathlib import Path

from rendersight.annotations import AnnotationError
from training.commands import flags
from training.commands.render_flags import MESH_SUFFIXES, add_sources, check_blender, objects_of, workers_of
from training.console import bar_of, say
from training.errors import Stopped
from training.stopping import stop_on_signals
from training.synthetic.recipes import RECIPES


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments to the parser."""
    parser.description = (
        "Render what composites are pasted together from: each object alone on a transparent background, clutter that "
        "is never labelled, and backdrops. Pictures that are already in --out are kept, so you can repeat a stopped "
        "command to continue. train takes the folder with --composites-from."
    )
    add_sources(parser)
    parser.add_argument("--count", type=flags.positive, default=100, help="pictures of each mesh file (default: 100)")
    parser.add_argument("--clutter", type=flags.count, default=150, help="pictures of clutter (default: 150)")
    parser.add_argument("--backdrops", type=flags.count, default=150, help="number of backdrops (default: 150)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")


def run(options: argparse.Namespace) -> None:
    """Render the parts."""
    from training.records.run_folder import check_folder
    from training.synthetic.composites.parts import PartCounts, render_parts

    if named := [item for item in options.what if item in RECIPES]:
        raise AnnotationError(f"{named[0]} is a recipe; cutouts takes mesh files ({' '.join(MESH_SUFFIXES)})")
    objects = objects_of(options.what, options.label)
    check_folder(options.out)
    check_blender(options)
    counts = PartCounts(options.count * len(objects), options.clutter, options.backdrops)
    with stop_on_signals() as stop_asked:
        render_parts(
            objects,
            counts,
            options.out,
            workers=workers_of(options),
            progress=bar_of("pictures"),
            stop_asked=stop_asked,
        )
        is_stopped = stop_asked()
    if is_stopped:
        raise Stopped("stopped; repeat the command to continue")
    say(f"{counts.objects} cut-outs, {counts.clutter} of clutter, {counts.backdrops} backdrops in {options.out}")
