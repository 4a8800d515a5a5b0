"""The verb `inspect`: what a dataset holds, and what is wrong with it."""

import argparse
import json
from pathlib import Path

from training import flags
from training.console import progress_bar, say


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Say what the verb does and what it takes."""
    parser.description = (
        "Print counts by class, box sizes, negatives and problems; write a contact sheet with the boxes."
    )
    parser.add_argument("dataset", type=Path, help=flags.DATASET)
    flags.add_format(parser)
    parser.add_argument(
        "--labels", type=flags.names, help="class names in order, comma-separated; else the data's, sorted"
    )
    parser.add_argument("--json", action="store_true", help="print the boxes as read, as JSON")
    parser.add_argument("--sheet", type=Path, help="the contact sheet (default: runs/inspect/DATASET.jpg)")


def run(options: argparse.Namespace) -> None:
    """Run the verb."""
    from rendersight.annotations.folder import read_folder
    from training import inspection
    from training.dataset import BrokenDataset, all_faults, names_in

    found = read_folder(options.dataset, format=options.format, bar=progress_bar)
    seen = names_in(found)
    class_names = options.labels or tuple(seen)
    if options.json:
        print(json.dumps(inspection.as_json(found, class_names), indent=2))
    else:
        print(inspection.describe(found, class_names))
    if found.images:
        sheet = options.sheet or Path("runs/inspect") / f"{options.dataset.resolve().name}.jpg"
        sheet.parent.mkdir(parents=True, exist_ok=True)
        inspection.sheet(found, sorted({*seen, *class_names}), bar=progress_bar).save(sheet, quality=88)
        say(f"contact sheet: {sheet}")
    if faults := all_faults(found, class_names):
        raise BrokenDataset(faults)
