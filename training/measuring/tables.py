"""Markdown tables of the figures of several data sets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from model_store.manifest import Metrics
from training.measuring.bootstrap import Interval

LABELS = {
    "AP": "mAP@[.5:.95]",
    "AP50": "AP50",
    "AP50_any": "AP50, classes merged",
    "AP75": "AP75",
    "APs": "AP, objects below 32² px",
    "APm": "AP, 32² to 96² px",
    "APl": "AP, above 96² px",
    "AR1": "AR, 1 detection",
    "AR10": "AR, 10 detections",
    "AR100": "AR, 100 detections",
    "ARs": "AR, objects below 32² px",
    "ARm": "AR, 32² to 96² px",
    "ARl": "AR, above 96² px",
    "f1": "best F1 at IoU 0.5",
    "precision": "precision there",
    "recall": "recall there",
    "threshold": "score threshold there",
}
"""Figure's name in a manifest -> its label in a table; AP and AR are averages over IoU .5:.95."""

NO_VALUE = "–"


@dataclass(frozen=True)
class Column:
    """A title and values, by the names in `LABELS`; a value that is absent or None was not measurable.

    Older releases and runs record it as -1.
    """

    title: str
    values: Mapping[str, float | None]
    intervals: Mapping[str, Interval] = field(default_factory=dict)


def column_of(metrics: Metrics) -> Column:
    """Return the column of one data set."""
    return Column(f"{metrics.data} ({metrics.image_count} images)", metrics.figures, metrics.intervals)


def figures_table(columns: Sequence[Column]) -> list[str]:
    """Return a table with a row for each figure that any column has, with its interval if known."""
    return table(["", *(column.title for column in columns)], figure_rows(columns))


def figure_rows(columns: Sequence[Column]) -> list[list[str]]:
    """Return a row for each figure that any column has: its label, and a cell for each column."""
    known = [name for name in LABELS if any(name in column.values for column in columns)]
    return [[LABELS[name], *(cell(column, name) for column in columns)] for name in known]


def class_table(metrics: Sequence[Metrics], class_names: Sequence[str]) -> list[str]:
    """Return a table of the AP of each class, followed by its AP50 if known."""
    rows = []
    for label in class_names:
        row = [label]
        for item in metrics:
            row.append(number(item.per_class_ap.get(label)))
            if item.per_class_ap50:
                row[-1] += f" / {number(item.per_class_ap50.get(label))}"
        rows.append(row)
    return table(["class", *(item.data for item in metrics)], rows)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    rule = "|" + "---|" * len(header)
    return [_line(header), rule, *(_line(row) for row in rows)]


def number(value: float | None) -> str:
    """Return a figure with three digits, or a dash if it could not be measured."""
    return NO_VALUE if value is None or value < 0 else f"{value:.3f}"


def cell(column: Column, name: str) -> str:
    """Return a figure as text, with its interval in brackets if known."""
    text = number(column.values.get(name))
    if name in column.intervals:
        low, high = column.intervals[name]
        text += f" ({low:.3f} to {high:.3f})"
    return text


def _line(cells: Sequence[str]) -> str:
    safe = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
    return "| " + " | ".join(safe) + " |"
