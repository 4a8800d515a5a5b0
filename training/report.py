"""What a run or an evaluation leaves behind for people: JSON and pictures in a folder."""

import json
from collections.abc import Sequence
from pathlib import Path

from rendersight.detections import Detections
from training.dataset import LabelledImages
from training.evaluation import Evaluation, detections_as_coco, truth_as_coco
from training.plots import compare_with_truth, plot_epochs, plot_precision_recall
from training.run_folder import PLOTS, read_metrics

DETECTIONS = "detections.json"
TRUTH = "truth.json"
FIGURES = "figures.json"
PRECISION_RECALL = "precision_recall.png"
HOLD_OUT_SHEET = "hold_out.png"


def write_evaluation(out: Path, data: LabelledImages, found: Sequence[Detections], result: Evaluation) -> None:
    """Write COCO's truth and result JSON, the figures, precision over recall and a sheet of truth beside detections."""
    out.mkdir(parents=True, exist_ok=True)
    (out / TRUTH).write_text(json.dumps(truth_as_coco(data)), "utf-8")
    (out / DETECTIONS).write_text(json.dumps(detections_as_coco(found)), "utf-8")
    (out / FIGURES).write_text(json.dumps(result.as_json(), indent=2) + "\n", "utf-8")
    _write_pictures(out, data, found, result)


def write_run_plots(run: Path, data: LabelledImages, found: Sequence[Detections], result: Evaluation) -> None:
    """Write a run's curves so far, and what the weights of the latest epoch find on the hold-out images."""
    folder = run / PLOTS
    folder.mkdir(exist_ok=True)
    plot_epochs(read_metrics(run), folder)
    _write_pictures(folder, data, found, result)


def _write_pictures(folder: Path, data: LabelledImages, found: Sequence[Detections], result: Evaluation) -> None:
    plot_precision_recall(result, folder / PRECISION_RECALL)
    sheet = compare_with_truth(data, found, score_threshold=result.best_f1.score_threshold)
    sheet.save(folder / HOLD_OUT_SHEET)
