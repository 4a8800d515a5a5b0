"""The verb `preview`: render a few scenes onto a contact sheet."""

import argparse
from dataclasses import replace
from pathlib import Path

from rendersight.annotations.dataset import read_annotations
from training.commands.render_flags import add_sources, check_blender, recipe_of, workers_of
from training.console import bar_of, progress_bar, say
from training.stopping import stop_on_signals

PREVIEW_COUNT = 16


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments to the parser."""
    parser.description = "Render a few scenes and show them with their boxes on a contact sheet."
    add_sources(parser)
    parser.add_argument("--first-seed", type=int, default=0, help="seed of the first scene (default: 0)")
    parser.add_argument("--out", type=Path, help="folder for the scenes (default: runs/preview/NAME)")


def run(options: argparse.Namespace) -> None:
    """Render the scenes and write the contact sheet."""
    from training.data.contact_sheet import contact_sheet
    from training.data.dataset import names_in
    from training.records.run_folder import check_file, check_folder
    from training.synthetic.dataset import render_dataset

    recipe = recipe_of(options.what, options.label, any_colour=options.any_colour)
    out = options.out or Path("runs/preview") / Path(options.what[0]).stem
    sheet = out.parent / f"{out.resolve().name}.jpg"
    check_folder(out)
    check_file(sheet)
    check_blender(options)
    first, step = options.first_seed, recipe.views  # one picture of each settled scene
    seeds = range(first * step, (first + PREVIEW_COUNT) * step, step)
    for seed in seeds:  # the recipe may have changed since
        for path in out.glob(f"{recipe.name_of(seed)}.*"):
            path.unlink()
    with stop_on_signals() as stop_asked:
        render_dataset(
            recipe, seeds, out, workers=workers_of(options), progress=bar_of("scenes"), stop_asked=stop_asked
        )
    found = read_annotations(out)
    wanted = {f"{recipe.name_of(seed)}.jpg" for seed in seeds}
    found = replace(found, images=tuple(image for image in found.images if image.name in wanted))
    contact_sheet(found, names_in(found), most=PREVIEW_COUNT, bar=progress_bar).save(sheet, quality=88)
    say(f"contact sheet: {sheet}")
