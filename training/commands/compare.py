"""The verb `compare`: differences between runs, and their results."""

import argparse
import json
from pathlib import Path


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments to the parser."""
    parser.description = (
        "Print runs side by side: differences between their configurations, the figures of their best epochs, and "
        "whether these were measured on the same images."
    )
    parser.add_argument("first", type=Path, metavar="RUN", help="a run folder")
    parser.add_argument("others", type=Path, metavar="RUN", nargs="+", help="run folders to compare it with")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(options: argparse.Namespace) -> None:
    """Print the comparison as a table or as JSON."""
    from training.measuring.comparison import compare

    found = compare([options.first, *options.others])
    print(json.dumps(found.as_json(), indent=2) if options.json else found.table())
