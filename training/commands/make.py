"""The command `make`: turn a 3D model into a release."""

import argparse
from pathlib import Path

from training.commands import flags
from training.commands.render_flags import add_sources
from training.presets import MAKE_COUNTS, preset_names


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command to the parser."""
    parser.description = (
        "Render photos of a 3D model, train a detector on them, measure it, and publish it. A stopped "
        "command goes on when it is repeated."
    )
    add_sources(parser)
    parser.add_argument("--name", help="the release's name (default: the labels, or the recipe)")
    parser.add_argument(
        "--photos", type=Path, help="real photos with LabelMe JSON: they measure, and are never trained on"
    )
    parser.add_argument("--out", type=Path, help="the work folder (default: runs/make/NAME)")
    parser.add_argument(
        "--count",
        type=flags.positive,
        help=f"photos to render (default: {MAKE_COUNTS['cpu']}, or {MAKE_COUNTS['cuda']} with a GPU)",
    )
    parser.add_argument("--epochs", type=flags.positive, help="passes over them (default: the preset's)")
    parser.add_argument("--weights", help="coco, imagenet, none, a state dict's file, or a release")
    parser.add_argument(
        "--preset", help=f"{', '.join(preset_names())}, or the path of a TOML file (default: make-cpu or make-gpu)"
    )
    flags.add_machine(parser)
    flags.add_release_json(parser)


def run(options: argparse.Namespace) -> None:
    """Make the release."""
    from training.commands.make_job import make_release

    make_release(options)
