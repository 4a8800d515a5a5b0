"""What a run or an evaluation leaves behind for people: JSON and pictures in a folder."""

import json
from collections.abc import Sequence
from pathlib import Path

from rendersight.detections import Detections
from training.dataset import LabelledImages
from training.evaluation import Evaluation, detections_as_coco, truth_as_coco
from training.gallery import false_alarms, gallery, misses
from training.page import BOX_SIZES, CONFUSION, FALSE_ALARMS, MISSES, PRECISION_RECALL, RELIABILITY, page
from training.pictures import compare_with_truth
from training.plots import plot_box_sizes, plot_confusion, plot_epochs, plot_precision_recall, plot_reliability
from training.run_folder import PLOTS, read_metrics
from training.sim2real import Sim2Real

DETECTIONS = "detections.json"
TRUTH = "truth.json"
FIGURES = "figures.json"
REPORT = "report.md"
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


def write_sim2real(out: Path, report: Sim2Real) -> None:
    """Write the report from renders to photos, all of its figures, and its pictures."""
    out.mkdir(parents=True, exist_ok=True)
    (out / REPORT).write_text(page(report), "utf-8")
    (out / FIGURES).write_text(json.dumps(report.as_json(), indent=2) + "\n", "utf-8")
    write_sim2real_pictures(out, report)


def write_sim2real_pictures(folder: Path, report: Sim2Real) -> None:
    """Write the pictures that the report's Markdown shows, for the report itself or a model card."""
    photos, threshold = report.photos, report.score_threshold
    plot_precision_recall({item.name: item.result for item in report.domains}, folder / PRECISION_RECALL)
    plot_box_sizes({item.name: item.sizes_px() for item in report.domains}, folder / BOX_SIZES)
    plot_reliability(report.reliability(), report.thresholds(), folder / RELIABILITY)
    plot_confusion(report.confusion(), photos.data.class_names, folder / CONFUSION)
    for name, find in ((FALSE_ALARMS, false_alarms), (MISSES, misses)):
        mistakes = find(report.shown.data, report.shown.found, score_threshold=threshold)
        gallery(report.shown.data, mistakes).save(folder / name, quality=85)


def _write_pictures(folder: Path, data: LabelledImages, found: Sequence[Detections], result: Evaluation) -> None:
    plot_precision_recall({"": result}, folder / PRECISION_RECALL)
    sheet = compare_with_truth(data, found, score_threshold=result.best_f1.score_threshold)
    sheet.save(folder / HOLD_OUT_SHEET)
