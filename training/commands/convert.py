"""The verb `convert`: write a dataset in another format."""

import argparse
from pathlib import Path

from rendersight.annotations.formats import WRITABLE
from training.commands import flags
from training.console import say


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments to the parser."""
    parser.description = "Read a dataset and write it in another format, whole or not at all."
    parser.add_argument("dataset", type=Path, metavar="SRC", help=flags.DATASET)
    parser.add_argument("target", type=Path, metavar="DST", help="folder to write, which does not exist or is empty")
    parser.add_argument("--to", choices=WRITABLE, required=True, help="the format to write")
    flags.add_reading(parser, format_flag="--from")
    places = parser.add_mutually_exclusive_group()
    places.add_argument("--copy", action="store_true", help="copy images (default)")
    places.add_argument("--link", action="store_true", help="make symbolic links to images")


def run(options: argparse.Namespace) -> None:
    """Convert the dataset."""
    from rendersight.annotations.writing import copy_image, link_image
    from training.data.conversion import convert

    done = convert(
        options.dataset,
        options.target,
        options.to,
        place_image=link_image if options.link else copy_image,
        reading=flags.reading_of(options),
        class_names=options.labels,
    )
    print(done.words())
    say(f"written as {options.to}: {options.target}")
