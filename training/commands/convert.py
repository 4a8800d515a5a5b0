"""The verb `convert`: write a dataset in another format."""

import argparse
from pathlib import Path

from rendersight.annotations.formats import FORMATS
from training.commands import flags
from training.console import say


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments to the parser."""
    parser.description = (
        "Read a dataset in LabelMe's, COCO's, Pascal VOC's or YOLO's format and write it in another one, whole or not "
        "at all."
    )
    parser.add_argument("dataset", type=Path, metavar="SRC", help=flags.DATASET)
    parser.add_argument("target", type=Path, metavar="DST", help="folder to write, which does not exist or is empty")
    parser.add_argument("--to", choices=FORMATS, required=True, help="the format to write")
    parser.add_argument(
        "--from", dest="format", choices=FORMATS, help="what to read SRC as (default: what it looks like)"
    )
    parser.add_argument(
        "--labels",
        type=flags.names,
        help="class names in order, comma-separated; else those that SRC declares, else the data's, sorted",
    )
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
        source_format=options.format,
        class_names=options.labels,
    )
    print(done.words())
    say(f"written as {options.to}: {options.target}")
