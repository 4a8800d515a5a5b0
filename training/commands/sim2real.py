"""The verb `sim2real`: compare a detector's figures on rendered photos with those on real ones."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from rendersight.annotations import AnnotationError
from training.commands import flags
from training.commands.evaluate import read_listed
from training.console import progress_bar, say


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments to the parser."""
    parser.description = (
        "Measure a detector on renders and on real photos. Write a report that shows both figures with their "
        "intervals, thresholds, confused classes, and the worst mistakes on real photos."
    )
    flags.add_model(parser)
    parser.add_argument(
        "--synthetic", type=Path, required=True, help="folder of labelled renders that the model was not trained on"
    )
    parser.add_argument("--synthetic-names", type=Path, metavar="FILE", help="use only the renders listed in this file")
    parser.add_argument(
        "--box-margin",
        type=flags.score,
        default=0.0,
        help="widen each box of the renders by this share, as in training (default: 0)",
    )
    parser.add_argument(
        "--real",
        metavar="[NAME=]FOLDER",
        type=flags.maybe_named_folder,
        action="append",
        required=True,
        help="folder of labelled photos; repeat it for each set",
    )
    parser.add_argument(
        "--real-names",
        metavar="[NAME=]FILE",
        type=flags.maybe_named,
        action="append",
        default=[],
        help="use only the photos of the set NAME that this file lists",
    )
    parser.add_argument(
        "--score-threshold", type=flags.score, help="show mistakes with a higher score (default: the model's own)"
    )
    parser.add_argument("--out", type=Path, help="folder for the report (default: runs/sim2real/MODEL)")
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    flags.add_machine(parser)


def run(options: argparse.Namespace) -> None:
    """Measure both domains and write the report."""
    from training.data.dataset import with_margin
    from training.measuring.measured import detect
    from training.measuring.sim2real import Sim2Real
    from training.records.run_folder import check_folder
    from training.reports.report_folder import REPORT, write_sim2real

    names = _lists_of(options.real_names, [name for name, _ in options.real])
    loaded, engine = flags.open_model(options)
    out = options.out or Path("runs/sim2real") / f"{loaded.info.name}-{loaded.info.version}"
    check_folder(out)
    class_names = loaded.info.class_names
    synthetic = read_listed(options.synthetic, class_names, options.synthetic_names).widened(options.box_margin)
    real = [(name, read_listed(folder, class_names, names.get(name))) for name, folder in options.real]
    report = Sim2Real.of(
        f"{loaded.info.name}@{loaded.info.version}",
        sha256=loaded.info.sha256,
        input_rule=loaded.info.input,
        score_threshold=loaded.info.score_threshold if options.score_threshold is None else options.score_threshold,
        synthetic=detect(engine, with_margin("synthetic", options.box_margin), synthetic, bar=progress_bar),
        real=[detect(engine, name, data, bar=progress_bar) for name, data in real],
    )
    write_sim2real(out, report)
    print(json.dumps(report.as_json(), indent=2) if options.json else "\n".join(report.summary()))
    say(f"report: {out / REPORT}")


def _lists_of(lists: Sequence[tuple[str, Path]], sets: Sequence[str]) -> dict[str, Path]:
    """Return real set -> file that lists its images; a list without a name belongs to the only set."""
    if twice := next((name for name in sets if [*sets, "synthetic"].count(name) > 1), None):
        raise AnnotationError(f"two sets of photos are called {twice}; name them with --real NAME=FOLDER")
    found = {}
    for given, path in lists:
        name = given or (sets[0] if len(sets) == 1 else "")
        if name not in sets:
            raise AnnotationError(
                f"--real-names {given or path}: not the name of a set; the sets are {', '.join(sets)}"
            )
        if name in found:
            raise AnnotationError(f"two lists for the set {name}; give one")
        found[name] = path
    return found
