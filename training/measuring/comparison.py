"""Comparison of runs: differences in configuration and data, and the resulting figures."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path
from typing import Any

from training.console import clock
from training.data.findings import counted
from training.errors import TrainingError
from training.measuring.tables import LABELS, NO_VALUE, number
from training.records.history import History
from training.records.run_folder import RunError

FIGURES = ("AP", "AP50", "AP75", "f1", "threshold")
"""Figures in the table, by the names in `LABELS`; --json has all figures."""

_DIGEST = re.compile(r"([0-9a-f]{12})[0-9a-f]{28,}(\+?)")
"""Pattern of a commit, with a `+` if it has changes, or of a fingerprint."""


@dataclass(frozen=True)
class Comparison:
    """Two or more runs, each with a display name."""

    runs: tuple[tuple[str, History], ...]

    def differences(self) -> dict[str, list[Any]]:
        """Return the inputs that differ between the runs: name -> a value for each run."""
        made_of = [_made_of(history) for _, history in self.runs]
        names = dict.fromkeys(name for item in made_of for name in item)
        rows = {name: [item.get(name) for item in made_of] for name in names}
        return {name: values for name, values in rows.items() if any(value != values[0] for value in values)}

    def warnings(self) -> list[str]:
        """Return a line for each pair of runs whose figures are not comparable, with the reasons."""
        lines = []
        for (one, first), (other, second) in combinations(self.runs, 2):
            if reasons := list(_reasons(first, second)):
                lines.append(f"{one} and {other}: {'; '.join(reasons)}")
        return lines

    def table(self) -> str:
        """Return the comparison as lines for a terminal."""
        histories = [history for _, history in self.runs]
        classes = dict.fromkeys(label for history in histories for label in history.record.class_names)
        sections = {
            "what differs": [[name, *map(_words, values)] for name, values in self.differences().items()],
            "best epoch, on the hold-out images": [
                *([LABELS[name], *(number(history.best.get(name)) for history in histories)] for name in FIGURES),
                *(
                    [f"AP of {label}", *(number(history.best["per_class_ap"].get(label)) for history in histories)]
                    for label in classes
                ),
            ],
            "the training": [
                ["best epoch", *(str(history.best["epoch"]) for history in histories)],
                ["epochs trained", *(f"{len(item.epochs)} of {item.record.config.epochs}" for item in histories)],
                ["images to train on", *(str(len(history.train)) for history in histories)],
                ["images held out", *(str(len(history.hold_out)) for history in histories)],
                ["images/s", *(f"{history.images_per_s:.2f}" for history in histories)],
                ["time in training steps", *(clock(history.training_s) for history in histories)],
            ],
        }
        sections["what differs"] = sections["what differs"] or [["nothing", *("" for _ in histories)]]
        header = ["", *(name for name, _ in self.runs)]
        everything = [header, *chain.from_iterable(sections.values())]
        widths = [max(map(len, column)) for column in zip(*everything, strict=True)]
        lines = [_line(header, widths)]
        for title, rows in sections.items():
            lines += ["", title, *(_line(row, widths) for row in rows)]
        if warnings := self.warnings():
            lines += ["", *(f"figures are not comparable: {line}" for line in warnings)]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Return the comparison with all figures, ready for JSON."""
        runs = [
            {
                "run": name,
                **_made_of(history),
                "train_images": len(history.train),
                "hold_out_images": len(history.hold_out),
                "epochs_trained": len(history.epochs),
                "images_per_s": round(history.images_per_s, 3),
                "training_s": round(history.training_s, 3),
                "best": dict(history.best),
            }
            for name, history in self.runs
        ]
        return {"runs": runs, "differences": self.differences(), "warnings": self.warnings()}


def compare(folders: Sequence[Path]) -> Comparison:
    """Return a comparison of the runs in some folders.

    Raises:
        RunError: a folder holds no run with a finished epoch, or is given twice. One message lists all such folders.
    """
    runs, faults, seen = [], [], set()
    for folder in folders:
        if folder.resolve() in seen:
            faults.append(f"{folder} is given twice")
            continue
        seen.add(folder.resolve())
        try:
            runs.append((str(folder), History.read(folder)))
        except TrainingError as error:
            faults.append(str(error))
    if faults:
        raise RunError("; ".join(faults))
    return Comparison(tuple(runs))


def _made_of(history: History) -> dict[str, Any]:
    record = history.record
    return {
        "dataset": record.dataset,
        "dataset_fingerprint": record.dataset_fingerprint,
        "dataset_format": record.reading.format,
        "class_names": list(record.class_names),
        "continued_from": record.continued_from,
        **record.config.model_dump(mode="json"),
        "commit": record.commit,
        **record.library_versions,
    }


def _reasons(first: History, second: History) -> Iterator[str]:
    """Yield the reasons why two runs were not measured on the same task and the same images."""
    if alone := set(first.hold_out) ^ set(second.hold_out):
        shared = len(set(first.hold_out) & set(second.hold_out))
        only = counted(len(alone), "is", "are")
        yield f"different images are held out: {only} in one of them only, {shared} in both"
    elif first.record.dataset_fingerprint != second.record.dataset_fingerprint:
        yield "the datasets differ, so images of the same name may have other pixels or boxes"
    if first.record.class_names != second.record.class_names:
        yield "the classes differ"
    margins = [history.record.config.box_margin for history in (first, second)]
    if margins[0] != margins[1]:
        yield f"true boxes are widened by {margins[0]:g} and by {margins[1]:g} (box_margin)"


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    text = NO_VALUE if value is None else str(value)
    return _DIGEST.sub(r"\1\2", text) if _DIGEST.fullmatch(text) else text


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join((f"  {first}", *rest)).rstrip()
