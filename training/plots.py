"""Pictures of a training and of what a detector finds: curves, precision over recall, contact sheets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from rendersight.annotations.folder import load_pixels
from rendersight.detections import Detections
from rendersight.drawing import draw_boxes
from rendersight.images import RgbImage
from training.dataset import LabelledImages
from training.evaluation import Evaluation

_DPI = 110
_GAP_PX = 6


def plot_epochs(epochs: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Draw `losses.png`, `learning_rate.png` and `ap.png` from the lines of a run's metrics."""
    numbers = [epoch["epoch"] for epoch in epochs]
    terms = [name for name in epochs[0] if name.startswith("loss")]
    _lines(folder / "losses.png", numbers, {name: [epoch[name] for epoch in epochs] for name in terms}, "loss")
    rates = {"at the epoch's end": [epoch["learning_rate"] for epoch in epochs]}
    _lines(folder / "learning_rate.png", numbers, rates, "learning rate")
    figures = {name: [epoch[name] for epoch in epochs] for name in ("AP", "AP50", "AP75", "f1")}
    _lines(folder / "ap.png", numbers, figures, "on the hold-out images", top=1.0)


def _lines(
    path: Path, x: Sequence[int], series: Mapping[str, Sequence[float]], label: str, *, top: float | None = None
) -> None:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, values in series.items():
        axes.plot(x, values, marker=".", label=name)
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.set_ylim(bottom=0, top=top)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=_DPI)


def plot_precision_recall(result: Evaluation, path: Path) -> None:
    """Draw precision over recall at IoU 0.5, with the threshold of the best F1 marked."""
    figure = Figure(figsize=(5.5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(result.curve.recall, result.curve.precision)
    best = result.best_f1
    axes.plot([best.recall], [best.precision], "o", label=f"F1 {best.f1:.3f} above score {best.score_threshold:.2f}")
    axes.set_xlabel("recall at IoU 0.5")
    axes.set_ylabel("precision")
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    figure.savefig(path, dpi=_DPI)


def picture_of_truth(data: LabelledImages, index: int) -> Image.Image:
    """Draw the true boxes of one image."""
    image = data.images[index]
    return draw_boxes(load_pixels(image), image.boxes_xyxy, data.label_ids(image), image.labels)


def picture_of_detections(pixels: RgbImage, found: Detections, class_names: Sequence[str]) -> Image.Image:
    """Draw detections with class name and score."""
    captions = [
        f"{class_names[label - 1]} {score:.2f}" for label, score in zip(found.labels, found.scores, strict=True)
    ]
    return draw_boxes(pixels, found.boxes_xyxy, found.labels.tolist(), captions)


def contact_sheet(pictures: Sequence[Image.Image], *, columns: int, cell_px: int) -> Image.Image:
    """Lay pictures out on a grid, each scaled to fit a square cell of `cell_px`."""
    rows = -(-len(pictures) // columns)
    step = cell_px + _GAP_PX
    sheet = Image.new("RGB", (columns * step + _GAP_PX, rows * step + _GAP_PX), "white")
    for place, picture in enumerate(pictures):
        small = picture.copy()
        small.thumbnail((cell_px, cell_px))
        row, column = divmod(place, columns)
        sheet.paste(small, (_GAP_PX + column * step, _GAP_PX + row * step))
    return sheet


def compare_with_truth(
    data: LabelledImages, found: Sequence[Detections], *, score_threshold: float, most: int = 8
) -> Image.Image:
    """Lay out images evenly chosen from a dataset: the truth left, the detections above the threshold right."""
    chosen = np.linspace(0, len(data.images) - 1, min(most, len(data.images))).astype(int).tolist()
    pictures = []
    for index in chosen:
        pictures.append(picture_of_truth(data, index))
        kept = found[index].above(score_threshold)
        pictures.append(picture_of_detections(load_pixels(data.images[index]), kept, data.class_names))
    return contact_sheet(pictures, columns=4, cell_px=420)
