"""The report folder of a run or an evaluation: JSON, pictures and an HTML page."""

import json
from collections.abc import Sequence
from pathlib import Path

from rendersight import atomic
from rendersight.annotations.formats import coco_writing
from rendersight.detections import Detections
from training.data.contact_sheet import compare_with_truth
from training.data.dataset import LabelledImages
from training.measuring.advice import advise, mean_greys
from training.measuring.calibration import reliability
from training.measuring.confusion import confusion_matrix
from training.measuring.evaluation import Evaluation
from training.measuring.sim2real import Sim2Real
from training.measuring.thresholds import worth_recommending
from training.records.history import History
from training.records.run_folder import PAGE, PLOTS
from training.reports import report_page, tensorboard
from training.reports.gallery import false_alarms, gallery, misses
from training.reports.markdown import BOX_SIZES, CONFUSION, FALSE_ALARMS, MISSES, PRECISION_RECALL, RELIABILITY, page
from training.reports.plots import plot_box_sizes, plot_confusion, plot_epochs, plot_precision_recall, plot_reliability
from training.reports.report_page import HOLD_OUT_SHEET

DETECTIONS = "detections.json"
TRUTH = "truth.json"
FIGURES = "figures.json"
REPORT = "report.md"


def write_evaluation(out: Path, data: LabelledImages, found: Sequence[Detections], result: Evaluation) -> None:
    """Write COCO's truth and result JSON, the figures, pictures of the detections, and a page that shows them."""
    out.mkdir(parents=True, exist_ok=True)
    (out / TRUTH).write_text(json.dumps(coco_writing.dataset(data.images, data.class_names)), "utf-8")
    (out / DETECTIONS).write_text(json.dumps(coco_writing.results(found)), "utf-8")
    (out / FIGURES).write_text(json.dumps(result.as_json(), indent=2) + "\n", "utf-8")
    _write_pictures(out, data, found, result)
    (out / PAGE).write_text(
        report_page.evaluation_page(out.resolve().name, data, result, pictures=out), "utf-8", "replace"
    )


def write_run_plots(
    run: Path, hold_out: LabelledImages, found: Sequence[Detections], result: Evaluation, *, train: LabelledImages
) -> None:
    """Write a run's curves so far, its best weights' results on the hold-out images, and a page that shows them.

    If TensorBoard is installed, also add the latest epoch to its curves.

    Args:
        run: the run's folder, with the latest epoch in its metrics.
        hold_out: N images.
        found: N detections of the latest epoch's weights, in the same order; drawn if the epoch is the best so far.
        result: accuracy of `found`.
        train: images that the run learns from.
    """
    history, folder = History.read(run), run / PLOTS
    folder.mkdir(exist_ok=True)
    plot_epochs(history.epochs, folder)
    tensorboard.write_scalars(run, history.epochs[-1])
    if history.best == history.epochs[-1]:
        _write_pictures(folder, hold_out, found, result)
    text = report_page.run_page(run, history, train=train, hold_out=hold_out, pictures=folder)
    atomic.write_bytes(run / PAGE, text.encode("utf-8", "replace"))  # a path may contain invalid UTF-8


def write_sim2real(out: Path, report: Sim2Real) -> None:
    """Write the sim-to-real report with all of its figures and pictures."""
    out.mkdir(parents=True, exist_ok=True)
    changes = advise(report, render_greys=mean_greys(report.synthetic.data), photo_greys=mean_greys(report.photos.data))
    (out / REPORT).write_text(page(report, changes), "utf-8")
    (out / FIGURES).write_text(json.dumps(report.as_json(), indent=2) + "\n", "utf-8")
    write_sim2real_pictures(out, report)


def write_sim2real_pictures(folder: Path, report: Sim2Real) -> None:
    """Write the pictures that the report's Markdown links to, for the report itself or a model card."""
    photos, threshold = report.photos, report.score_threshold
    plot_precision_recall({item.name: item.result for item in report.domains}, folder / PRECISION_RECALL)
    plot_box_sizes({item.name: item.sizes_px() for item in report.domains}, folder / BOX_SIZES)
    plot_reliability(report.reliability(), report.thresholds(), folder / RELIABILITY)
    plot_confusion(report.confusion(), photos.data.class_names, folder / CONFUSION)
    _write_mistakes(folder, report.shown.data, report.shown.found, score_threshold=threshold)


def _write_pictures(folder: Path, data: LabelledImages, found: Sequence[Detections], result: Evaluation) -> None:
    threshold = result.best_f1.score_threshold
    plot_precision_recall({"": result}, folder / PRECISION_RECALL)
    plot_reliability(reliability(result.curve), worth_recommending(result.curve), folder / RELIABILITY)
    plot_confusion(confusion_matrix(data, found, score_threshold=threshold), data.class_names, folder / CONFUSION)
    _write_mistakes(folder, data, found, score_threshold=threshold)
    compare_with_truth(data, found, score_threshold=threshold).save(folder / HOLD_OUT_SHEET)


def _write_mistakes(folder: Path, data: LabelledImages, found: Sequence[Detections], *, score_threshold: float) -> None:
    for name, find in ((FALSE_ALARMS, false_alarms), (MISSES, misses)):
        gallery(data, find(data, found, score_threshold=score_threshold)).save(folder / name, quality=85)
