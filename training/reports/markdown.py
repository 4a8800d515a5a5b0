"""The sim-to-real report as Markdown, for a page of its own or a model card."""

from collections.abc import Sequence

import numpy as np

from training.data.findings import Finding
from training.measuring import bootstrap
from training.measuring.object_sizes import size_rows
from training.measuring.sim2real import Sim2Real
from training.measuring.tables import NO_VALUE, class_table, figures_table, number, table
from training.measuring.thresholds import SURE, OperatingPoint, at_precision, at_score

PRECISION_RECALL = "precision_recall.png"
BOX_SIZES = "box_sizes.png"
RELIABILITY = "reliability.png"
CONFUSION = "confusion.png"
FALSE_ALARMS = "false_alarms.jpg"
MISSES = "misses.jpg"
FIGURE_PICTURES = (PRECISION_RECALL, BOX_SIZES, RELIABILITY, CONFUSION)
CROPS = (FALSE_ALARMS, MISSES)
"""File names of the pictures in the section `MISTAKES`, which show parts of the photos."""

MISTAKES = "## Worst mistakes"

_NOTHING = (
    "Nothing stands out. Compared were object sizes, the margin of boxes, brightness, confused classes, classes never "
    "found, and false alarms in photos without objects."
)


def page(report: Sim2Real, changes: Sequence[Finding]) -> str:
    """Return the whole report as Markdown; it links to pictures in the same folder.

    Args:
        report: the report.
        changes: what to change, from `training.measuring.advice`.
    """
    title = f"# From renders to photos: {report.model}"
    return "\n".join([title, "", *figures(report), "", *_what_to_change(changes), "", *sections(report), ""])


def _what_to_change(changes: Sequence[Finding]) -> list[str]:
    lines = [f"- **{change.what}** {change.advice}" for change in changes]
    return ["## What to change", "", *(lines or [_NOTHING])]


def figures(report: Sim2Real) -> list[str]:
    """Return the tables of figures as lines of Markdown."""
    return [
        *figures_table(report.columns()),
        "",
        f"In brackets: {bootstrap.LEVEL:.0%} intervals from {bootstrap.RESAMPLES} bootstrap resamples of the images "
        f"(seed {bootstrap.SEED}). {NO_VALUE}: there is no such object or detection.",
        "",
        "AP / AP50 of each class:",
        "",
        *class_table([item.metrics() for item in report.domains], report.synthetic.data.class_names),
    ]


def sections(report: Sim2Real, *, with_photos: bool = True) -> list[str]:
    """Return the sections after the figures as lines of Markdown, each picture under its heading.

    Args:
        report: the report.
        with_photos: whether to include the section `MISTAKES`, which shows parts of the photos.
    """
    photos, matrix = report.photos, report.confusion()
    right = int(np.trace(matrix[:-1, :-1]))
    confused = int(matrix[:-1, :-1].sum()) - right
    above = f"above score {report.score_threshold:g}"
    return [
        "## Precision over recall",
        "",
        f"![precision over recall]({PRECISION_RECALL})",
        "",
        "## Box sizes",
        "",
        "In px of the original photos, before the network resizes them.",
        "",
        f"![sizes of the true boxes]({BOX_SIZES})",
        "",
        "## How large an object must be",
        "",
        "Sizes are square roots of box areas, in px of the network's input. Counted are detections "
        f"{above}, at IoU 0.5.",
        "",
        *_size_table(report),
        "",
        "## Scores and thresholds",
        "",
        *_threshold_table(report),
        "",
        _calibration_words(report),
        "",
        f"![reliability]({RELIABILITY})",
        "",
        "## Confusion",
        "",
        f"On {photos.name}, {above}, at IoU 0.5: {right} objects are found with the right class, {confused} with a "
        f"wrong class, and {int(matrix[:-1, -1].sum())} are missed. {int(matrix[-1].sum())} detections are on the "
        "background or repeat an object.",
        "",
        f"![confusion matrix]({CONFUSION})",
        *(_mistakes(report) if with_photos else []),
    ]


def _size_table(report: Sim2Real) -> list[str]:
    header = ["size"]
    for item in report.domains:
        header += [f"objects in {item.name}", "found", "of these, named right"]
    return table(header, size_rows([report.sizes(item) for item in report.domains]))


def _mistakes(report: Sim2Real) -> list[str]:
    above = f"above score {report.score_threshold:g}"
    return [
        "",
        MISTAKES,
        "",
        f"On {report.shown.name}. Truth is blue, detections are orange.",
        "",
        f"False alarms {above}, highest score first:",
        "",
        f"![false alarms]({FALSE_ALARMS})",
        "",
        f"Misses {above}, largest first. Orange is a detection below that score:",
        "",
        f"![misses]({MISSES})",
    ]


def _threshold_table(report: Sim2Real) -> list[str]:
    sure = f"{SURE:.0%} precision"
    rows = []
    for item in report.domains if len(report.real) == 1 else (*report.domains, report.photos):
        curve = item.result.curve
        points = (item.result.best_f1, at_precision(curve, SURE), at_score(curve, report.score_threshold))
        rows.append([item.name, *(_point_words(point) for point in points)])
    return table(["score threshold, precision, recall", "best F1", sure, "in use"], rows)


def _point_words(point: OperatingPoint | None) -> str:
    if point is None:
        return "not reached"
    return f"{point.score_threshold:g}, {number(point.precision)}, {number(point.recall)}"


def _calibration_words(report: Sim2Real) -> str:
    best, error = report.photos.result.best_f1, report.reliability().error
    best_words = (
        f"F1 is best above **{best.score_threshold:g}** ({best.f1:.3f})"
        if best.f1
        else "no detection is correct, so no threshold can be recommended"
    )
    sure = report.thresholds().get(f"{SURE:.0%} precision")
    reached = (
        f"No threshold reaches {SURE:.0%} precision on {report.photos.name}."
        if sure is None
        else f"{SURE:.0%} precision is reached above {sure.score_threshold:g}, where {sure.recall:.1%} of the objects "
        "are found."
    )
    return f"On {report.photos.name}, {best_words}. {reached} " + (
        "There are no detections." if error is None else f"The expected calibration error is {error:.3f}."
    )
