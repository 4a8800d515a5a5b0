"""Matplotlib plots of a training run and of a detector's results."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from training.measuring.calibration import Reliability
from training.measuring.evaluation import Evaluation
from training.measuring.thresholds import OperatingPoint

LOSSES = "losses.png"
LEARNING_RATE = "learning_rate.png"
AP = "ap.png"

_DPI = 110
_SIZE_BINS = 40
_DARK_CELL = 0.5
_READABLE_CLASSES = 20


def plot_epochs(epochs: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Draw `losses.png`, `learning_rate.png` and `ap.png` from the lines of a run's metrics."""
    numbers = [epoch["epoch"] for epoch in epochs]
    terms = [name for name in epochs[0] if name.startswith("loss")]
    _lines(folder / LOSSES, numbers, {name: [epoch[name] for epoch in epochs] for name in terms}, "loss")
    rates = {"at the epoch's end": [epoch["learning_rate"] for epoch in epochs]}
    _lines(folder / LEARNING_RATE, numbers, rates, "learning rate")
    figures = {name: [epoch[name] for epoch in epochs] for name in ("AP", "AP50", "AP75", "f1")}
    _lines(folder / AP, numbers, figures, "on the hold-out images", top=1.0)


def _lines(
    path: Path, x: Sequence[int], series: Mapping[str, Sequence[float]], label: str, *, top: float | None = None
) -> None:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, values in series.items():
        axes.plot(x, values, marker=".", label=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.set_ylim(bottom=0, top=top)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=_DPI)


def plot_precision_recall(results: Mapping[str, Evaluation], path: Path) -> None:
    """Draw precision over recall at IoU 0.5 for each data set, with the best F1 marked; the name '' is not shown."""
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    for name, result in results.items():
        best = result.best_f1
        words = f"F1 {best.f1:.3f} above score {best.score_threshold:.2f}" if best.f1 else "no correct detection"
        (line,) = axes.plot(result.curve.recall, result.curve.precision, label=f"{name}: " * bool(name) + words)
        if best.f1:
            axes.plot([best.recall], [best.precision], "o", color=line.get_color())
    _unit_square(axes, "recall at IoU 0.5", "precision")
    figure.legend(loc="outside lower center", fontsize="small")
    figure.savefig(path, dpi=_DPI)


def plot_box_sizes(sizes_px: Mapping[str, NDArray[np.float64]], path: Path) -> None:
    """Draw a histogram of the true box sizes of each data set: square root of the area in px, as fractions of all."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    everything = np.concatenate([*sizes_px.values(), np.zeros(0)])
    low, high = (everything.min() / 1.1, everything.max() * 1.1) if len(everything) else (1.0, 1000.0)
    edges = np.geomspace(low, high, _SIZE_BINS + 1)
    for name, sizes in sizes_px.items():
        counts, _ = np.histogram(sizes, edges)
        title = f"{name}: {len(sizes)} boxes" + (f", median {np.median(sizes):.0f} px" if len(sizes) else "")
        axes.stairs(counts / max(len(sizes), 1), edges, label=title, fill=True, alpha=0.25)
        axes.stairs(counts / max(len(sizes), 1), edges, color=axes.patches[-1].get_facecolor()[:3])
    for limit in (32, 96):
        axes.axvline(limit, color="grey", linestyle=":", linewidth=1)
    axes.set_xscale("log")
    ticks = [tick for tick in (4, 8, 16, 32, 64, 96, 128, 256, 512, 1024, 2048, 4096) if low <= tick <= high]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("box size, square root of the area, px (dotted: COCO's size limits, 32 and 96)")
    axes.set_ylabel("fraction of the boxes")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", fontsize="small")
    figure.savefig(path, dpi=_DPI)


def plot_reliability(reliability: Reliability, thresholds: Mapping[str, OperatingPoint], path: Path) -> None:
    """Draw precision over confidence, the number of detections in each bin, and the thresholds."""
    figure = Figure(figsize=(6, 5.5), layout="constrained")
    axes, below = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    edges = np.linspace(0, 1, len(reliability.counts) + 1)
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--", linewidth=1, label="perfect calibration")
    axes.stairs(np.nan_to_num(reliability.precision), edges, fill=True, alpha=0.35, color="C0")
    axes.plot(reliability.confidence, reliability.precision, "o", color="C0", label="detections in bins of score")
    for number, (name, point) in enumerate(thresholds.items(), 1):
        for panel in (axes, below):
            panel.axvline(point.score_threshold, color=f"C{number}", label=f"{name}: {point.score_threshold:.3f}")
    error = reliability.error
    axes.set_title("no detections" if error is None else f"expected calibration error {error:.3f}", fontsize="medium")
    _unit_square(axes, "", "precision at IoU 0.5")
    axes.legend(loc="upper left", fontsize="small")
    below.stairs(reliability.counts, edges, fill=True, alpha=0.35, color="C0")
    below.set_xlabel("score")
    below.set_ylabel("detections")
    below.grid(alpha=0.3)
    figure.savefig(path, dpi=_DPI)


def plot_confusion(matrix: NDArray[np.int64], class_names: Sequence[str], path: Path) -> None:
    """Draw a confusion matrix, int (K + 1, K + 1), coloured by the fraction of each true class; see `confusion.py`."""
    side = min(3 + 0.5 * len(matrix), 14)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    parts = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(parts, cmap="Blues", vmin=0, vmax=1)
    if len(matrix) <= _READABLE_CLASSES + 1:
        for i, j in np.argwhere(matrix):
            colour = "white" if parts[i, j] > _DARK_CELL else "black"
            axes.text(j, i, str(matrix[i, j]), ha="center", va="center", color=colour)
    places = range(len(matrix))
    axes.set_xticks(places, [*class_names, "missed"], rotation=45, ha="right", parse_math=False)
    axes.set_yticks(places, [*class_names, "background"], parse_math=False)
    for line in (axes.axhline, axes.axvline):
        line(len(class_names) - 0.5, color="grey", linewidth=1)
    axes.set_xlabel("found")
    axes.set_ylabel("truth")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # the font may lack a name's script
        figure.savefig(path, dpi=_DPI)


def _unit_square(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.3)
