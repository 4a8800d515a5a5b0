"""The verb `inspect`: report the contents and the faults of a dataset."""

import argparse
import json
from pathlib import Path

from training.commands import flags
from training.console import progress_bar, say

_RESULTS = Path("runs/inspect")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments to the parser."""
    parser.description = (
        "Print counts by class, box sizes, and everything that is wrong or doubtful. Write a page with pictures of the "
        "faults, and a contact sheet with the boxes."
    )
    parser.add_argument("dataset", type=Path, help=flags.DATASET)
    flags.add_reading(parser)
    parser.add_argument(
        "--against",
        type=Path,
        metavar="DATASET",
        help="report images that this dataset shares with that one, such as a test set",
    )
    parser.add_argument("--preset", help="check box sizes against the network and input size of this preset")
    parser.add_argument("--architecture", help="check box sizes against this network")
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="check box sizes against this hyperparameter, such as min_size=1024",
    )
    parser.add_argument("--json", action="store_true", help="print all boxes and findings as JSON")
    parser.add_argument("--report", type=Path, help="the page (default: runs/inspect/DATASET.html)")
    parser.add_argument("--sheet", type=Path, help="the contact sheet (default: runs/inspect/DATASET.jpg)")


def run(options: argparse.Namespace) -> None:
    """Inspect the dataset and print or write the report."""
    from PIL import Image

    from model_store.devices import choose_device
    from rendersight.annotations import AnnotationError
    from rendersight.annotations.dataset import read_annotations
    from training.config import parse_assignments, resolve
    from training.data import inspection
    from training.data.anchor_fit import geometry_of
    from training.data.contact_sheet import contact_sheet
    from training.data.dataset import all_faults, names_in
    from training.data.duplicates import look_at
    from training.data.findings import counted
    from training.records.run_folder import RunError, check_file
    from training.reports.inspection_page import page

    name = options.dataset.resolve().name
    path, sheet = options.report or _RESULTS / f"{name}.html", options.sheet or _RESULTS / f"{name}.jpg"
    check_file(path)
    check_file(sheet)
    if Image.registered_extensions().get(sheet.suffix.lower()) not in Image.SAVE:
        raise RunError(f"{sheet} is not the name of an image file; accepted: a name such as sheet.jpg or sheet.png")
    given = {"architecture": options.architecture} if options.architecture else {}
    overrides = {**given, **parse_assignments(options.set)}
    geometry = geometry_of(resolve(options.preset, overrides, device=choose_device("auto")))
    found = read_annotations(options.dataset, flags.reading_of(options), bar=progress_bar)
    class_names = options.labels or tuple(names_in(found))
    others = None
    if options.against:
        others = (str(options.against), look_at(read_annotations(options.against, bar=progress_bar).images))
    report = inspection.inspect(name, found, class_names, geometry, against=others)
    if options.json:
        print(json.dumps(inspection.as_json(report), indent=2))
    else:
        print(inspection.as_text(report))
    _made(path).write_text(page(report), "utf-8")
    say(f"report: {path}")
    if found.images:
        contact_sheet(found, report.all_labels, bar=progress_bar).save(_made(sheet), quality=88)
        say(f"contact sheet: {sheet}")
    if faults := all_faults(found, class_names):
        count = len({fault.file for fault in faults})
        raise AnnotationError(f"{counted(count, 'file')} of {options.dataset} cannot be used, as listed above")


def _made(path: Path) -> Path:
    """Return the path after creating its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
