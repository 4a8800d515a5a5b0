"""The report on a run or an evaluation as one self-contained HTML page."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from model_store.model_info import DEFAULT_SCORE_THRESHOLD
from training.console import clock
from training.data.dataset import LabelledImages
from training.measuring.evaluation import Evaluation
from training.measuring.tables import NO_VALUE, Column, figure_rows, number
from training.records.history import History
from training.reports.html_page import file_uri, jpeg_uri, render
from training.reports.markdown import CONFUSION, FALSE_ALARMS, MISSES, PRECISION_RECALL, RELIABILITY
from training.reports.plots import AP, LEARNING_RATE, LOSSES
from training.reports.reproduction import publishing_commands, training_command

HOLD_OUT_SHEET = "hold_out.png"

_PICTURES = (LOSSES, AP, LEARNING_RATE, PRECISION_RECALL, RELIABILITY, CONFUSION, FALSE_ALARMS, MISSES)
_SHEET_PX = 1200
_HEADLINE = {"AP": "mAP@[.5:.95]", "AP50": "AP50", "AP75": "AP75", "f1": "best F1", "threshold": "score threshold"}


def run_page(run: Path, history: History, *, train: LabelledImages, hold_out: LabelledImages, pictures: Path) -> str:
    """Return the page of a run so far; `pictures` is the folder of its plots and its best epoch's hold-out pictures."""
    record, best, latest = history.record, history.best, history.epochs[-1]
    columns = [Column(f"best, epoch {best['epoch']}", best)]
    if latest is not best:
        columns.append(Column(f"epoch {latest['epoch']}", latest))
    return render(
        "run.html",
        title=f"Run {run.resolve().name}",
        record=record,
        history=history,
        headline={
            **_headline(best),
            "epochs": f"{len(history.epochs)} / {record.config.epochs}",
            "images/s": f"{history.images_per_s:.2f}",
            "training time": clock(history.training_s),
        },
        changed=_settings(record.config.model_dump(exclude_defaults=True)),
        config=_settings(record.config.model_dump()),
        commands=[training_command(run, record, train=train, hold_out=hold_out), *publishing_commands(run)],
        **_detections(columns, pictures, best),
        **_classes({"trained on": train, "held out": hold_out}, best["per_class_ap"]),
    )


def evaluation_page(name: str, data: LabelledImages, result: Evaluation, *, pictures: Path) -> str:
    """Return the page of an evaluation; `pictures` is the folder of its pictures."""
    figures = result.every_figure()
    return render(
        "evaluation.html",
        title=f"Evaluation {name}",
        result=result,
        headline=_headline(figures),
        **_detections([Column("", figures)], pictures, figures),
        **_classes({"objects": data}, result.per_class_ap),
    )


def _headline(figures: Mapping[str, Any]) -> dict[str, str]:
    return {title: number(figures[name]) for name, title in _HEADLINE.items()}


def _settings(values: Mapping[str, Any]) -> list[list[str]]:
    return [[name, NO_VALUE if value is None else str(value)] for name, value in values.items()]


def _detections(columns: Sequence[Column], folder: Path, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures and the pictures of detections; a picture that does not exist is None."""
    is_best = bool(figures["f1"])
    sheet = None
    if (folder / HOLD_OUT_SHEET).exists():
        with Image.open(folder / HOLD_OUT_SHEET) as image:
            image.thumbnail((_SHEET_PX, _SHEET_PX))
            sheet = jpeg_uri(image)
    return {
        "figure_header": ["", *(column.title for column in columns)],
        "figure_rows": figure_rows(columns),
        "threshold": figures["threshold"] if is_best else DEFAULT_SCORE_THRESHOLD,
        "is_best": is_best,
        # older versions of the program did not draw all of them
        "pictures": {
            Path(name).stem: file_uri(folder / name) if (folder / name).exists() else None for name in _PICTURES
        },
        "hold_out_sheet": sheet,
    }


def _classes(parts: Mapping[str, LabelledImages], per_class_ap: Mapping[str, float]) -> dict[str, Any]:
    """Return a table: each class's objects in each part of the data, and its AP."""
    counts = [Counter(label for image in data.images for label in image.labels) for data in parts.values()]
    (class_names,) = {data.class_names for data in parts.values()}
    empty = [sum(not image.labels for image in data.images) for data in parts.values()]
    ignored = [sum(len(image.ignored) for image in data.images) for data in parts.values()]
    return {
        "class_header": ["", *parts, "AP"],
        "class_rows": [
            *([name, *(count[name] for count in counts), number(per_class_ap.get(name))] for name in class_names),
            ["all objects", *(count.total() for count in counts), ""],
            *([["ignored boxes", *ignored, ""]] if any(ignored) else []),
            ["images", *(len(data.images) for data in parts.values()), ""],
            ["images without objects", *empty, ""],
        ],
    }
