"""The verb `cutouts`: render the parts of composites for mesh files."""

import argparse
from pathlib import Path

from rendersight.annotations import AnnotationError
from rendersight.photos import find_photos
from training.commands import flags
from training.commands.render_flags import MESH_SUFFIXES, add_sources, check_blender, objects_of, workers_of
from training.console import bar_of, progress_bar, say
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
    parser.add_argument("--clutter", type=flags.count, default=120, help="pictures of clutter (default: 120)")
    parser.add_argument("--backdrops", type=flags.count, default=120, help="number of backdrops (default: 120)")
    parser.add_argument(
        "--backgrounds", type=Path, metavar="FOLDER", help="photos without the objects, as more backdrops"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")


def run(options: argparse.Namespace) -> None:
    """Render the parts."""
    from training.records.run_folder import check_folder
    from training.synthetic.composites.backgrounds import add_backgrounds
    from training.synthetic.composites.parts import BACKDROPS, PartCounts, render_parts

    if named := [item for item in options.what if item in RECIPES]:
        raise AnnotationError(f"{named[0]} is a recipe; cutouts takes mesh files ({' '.join(MESH_SUFFIXES)})")
    objects = objects_of(options.what, options.label, any_colour=options.any_colour)
    backgrounds = [] if options.backgrounds is None else find_photos([options.backgrounds], stems_differ=False)
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
        add_backgrounds(backgrounds, options.out / BACKDROPS, bar=progress_bar)
        is_stopped = stop_asked()
    if is_stopped:
        raise Stopped("stopped; repeat the command to continue")
    backdrops = counts.backdrops + len(backgrounds)
    say(f"cut-outs: {counts.objects}; of clutter: {counts.clutter}; backdrops: {backdrops}; all in {options.out}")
