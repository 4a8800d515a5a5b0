"""The report on a run or an evaluation as one self-contained HTML page."""

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from training.console import clock
from training.data.dataset import LabelledImages
from training.data.findings import counted
from training.measuring.evaluation import Evaluation
from training.measuring.tables import NO_VALUE, Column, figure_rows, number
from training.records.history import History
from training.reports.html_page import document, figure, file, jpeg, table, tiles
from training.reports.markdown import CONFUSION, FALSE_ALARMS, MISSES, PRECISION_RECALL, RELIABILITY
from training.reports.plots import AP, LEARNING_RATE, LOSSES
from training.reports.reproduction import publishing_commands, training_command

HOLD_OUT_SHEET = "hold_out.png"

_SHEET_PX = 1200
_HEADLINE = {"AP": "mAP@[.5:.95]", "AP50": "AP50", "AP75": "AP75", "f1": "best F1", "threshold": "score threshold"}


def of_run(run: Path, history: History, *, train: LabelledImages, hold_out: LabelledImages, pictures: Path) -> str:
    """Return the page of a run so far; `pictures` is the folder of its plots and its best epoch's hold-out pictures."""
    record, best, latest = history.record, history.best, history.epochs[-1]
    columns = [Column(f"epoch {epoch['epoch']}", epoch) for epoch in ([best] if best is latest else [best, latest])]
    columns[0] = Column(f"best, {columns[0].title}", best)
    commands = [training_command(run, record, train=train, hold_out=hold_out), *publishing_commands(run)]
    code = f"Code: {record.commit or 'outside a repository'}. " + ", ".join(
        f"{name} {version}" for name, version in record.library_versions.items()
    )
    return document(
        f"Run {run.resolve().name}",
        [
            _dim(
                f"{record.config.architecture}, begun from {record.continued_from or 'random weights'}, on "
                f"{record.dataset}. Figures and pictures are of epoch {best['epoch']}, the best one, whose weights are "
                f"kept; {len(history.epochs)} of {record.config.epochs} epochs have ended."
            ),
            tiles(
                {
                    **_headline(best),
                    "epochs": f"{len(history.epochs)} / {record.config.epochs}",
                    "images/s": f"{history.images_per_s:.2f}",
                    "in training steps": clock(history.training_s),
                }
            ),
            "<h2>Curves</h2>",
            _plots(pictures, {LOSSES: "Losses", AP: "On the hold-out images", LEARNING_RATE: "Learning rate"}),
            *_figures(columns),
            *_found(pictures, best["threshold"]),
            *_classes({"trained on": train, "held out": hold_out}, best["per_class_ap"]),
            _dim(f"{record.dataset}, fingerprint {record.dataset_fingerprint}"),
            "<h2>Configuration</h2>",
            *_configuration(record.config.model_dump(), record.config.model_dump(exclude_defaults=True)),
            _dim(code),
            "<h2>Again, publish, serve</h2>",
            *(f"<pre>{escape(command)}</pre>" for command in commands),
        ],
    )


def of_evaluation(name: str, data: LabelledImages, result: Evaluation, *, pictures: Path) -> str:
    """Return the page of an evaluation; `pictures` is the folder of its pictures."""
    figures = result.summary()
    return document(
        f"Evaluation {name}",
        [
            _dim(f"{counted(result.image_count, 'image')}, {counted(result.object_count, 'object')}"),
            tiles(_headline(figures)),
            *_figures([Column("", figures)]),
            *_found(pictures, result.best_f1.score_threshold),
            *_classes({"objects": data}, result.per_class_ap),
        ],
    )


def _dim(text: str) -> str:
    return f'<p class="dim">{escape(text)}</p>'


def _headline(figures: Mapping[str, Any]) -> dict[str, str]:
    return {title: number(figures[name]) for name, title in _HEADLINE.items()}


def _plots(folder: Path, captions: Mapping[str, str]) -> str:
    shown = [
        figure(file(folder / name, caption, "plot"), caption)
        for name, caption in captions.items()
        if (folder / name).exists()  # older versions of the program did not draw all of them
    ]
    return f'<div class="charts">{"".join(shown)}</div>'


def _figures(columns: Sequence[Column]) -> list[str]:
    return ["<h2>Figures</h2>", table(figure_rows(columns), ["", *(column.title for column in columns)])]


def _found(folder: Path, threshold: float) -> list[str]:
    """Return HTML of the pictures of detections, each below a line that describes it."""
    above = f"above score {threshold:g}, where F1 is best"
    parts = [
        "<h2>Precision, recall and the threshold</h2>",
        _plots(folder, {PRECISION_RECALL: "Precision over recall", RELIABILITY: "Whether a score means what it says"}),
        "<h2>What is taken for what</h2>",
        _dim(f"Pairs of truth and detection {above}, at IoU 0.5."),
        _plots(folder, {CONFUSION: "Counts, coloured by the part of each true class"}),
    ]
    for name, title, words in (
        (FALSE_ALARMS, "Worst false alarms", f"Detections {above}, highest score first. Truth blue, detection orange."),
        (MISSES, "Worst misses", f"Objects without a detection {above}, largest first; orange is one below it."),
    ):
        if (folder / name).exists():
            parts += [f"<h2>{title}</h2>", _dim(words), file(folder / name, title)]
    if (folder / HOLD_OUT_SHEET).exists():
        with Image.open(folder / HOLD_OUT_SHEET) as sheet:
            sheet.thumbnail((_SHEET_PX, _SHEET_PX))
            parts += [
                "<h2>Truth beside detections</h2>",
                _dim(f"Some photos, evenly chosen: the truth left, detections {above} right."),
                jpeg(sheet, "truth beside detections", "sheet"),
            ]
    return parts


def _classes(parts: Mapping[str, LabelledImages], per_class_ap: Mapping[str, float]) -> list[str]:
    """Return HTML of a table: each class's objects in each part of the data, and its AP."""
    counts = [Counter(label for image in data.images for label in image.labels) for data in parts.values()]
    (class_names,) = {data.class_names for data in parts.values()}
    rows = [[name, *(str(count[name]) for count in counts), number(per_class_ap.get(name))] for name in class_names]
    rows.append(["all objects", *(str(count.total()) for count in counts), ""])
    rows.append(["images", *(str(len(data.images)) for data in parts.values()), ""])
    rows.append(
        [
            "images without objects",
            *(str(sum(not image.labels for image in data.images)) for data in parts.values()),
            "",
        ]
    )
    return ["<h2>Dataset and classes</h2>", table(rows, ["", *parts, "AP"])]


def _configuration(values: Mapping[str, Any], changed: Mapping[str, Any]) -> list[str]:
    def rows(chosen: Mapping[str, Any]) -> list[list[str]]:
        return [[name, NO_VALUE if value is None else str(value)] for name, value in chosen.items()]

    return [
        table(rows(changed), ["what is not the default", ""]) if changed else _dim("All as the defaults are."),
        f"<details><summary>all of it</summary>{table(rows(values))}</details>",
    ]
