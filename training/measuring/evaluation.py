"""COCO figures, the precision-recall curve and the best score threshold, from the matches of pycocotools."""

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from model_store.engines import Engine
from rendersight.annotations import AnnotatedImage, Fault
from rendersight.annotations.dataset import load_pixels
from rendersight.annotations.formats import coco_writing
from rendersight.detections import Detections
from rendersight.images import ImageError
from training.data.dataset import BrokenDataset, LabelledImages
from training.data.findings import counted
from training.measuring.matching import IOU_50, Matches
from training.measuring.thresholds import Curve, OperatingPoint, best_f1

FIGURES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""COCO's twelve figures in pycocotools' order (cocodataset.org/#detection-eval)."""

POINT = ("f1", "precision", "recall", "threshold")
"""The best operating point, in `Evaluation.summary`."""

_ALL_AREAS = 0
_MOST_DETECTIONS = -1
_COCO_DETECTIONS = 100
_AP_OF: dict[str, tuple[slice | int, int]] = {
    "AP": (slice(None), 0),
    "AP50": (0, 0),
    "AP75": (5, 0),
    **{f"AP{size}": (slice(None), area) for size, area in (("s", 1), ("m", 2), ("l", 3))},
}
"""AP -> its IoU thresholds and its range of areas in COCOeval's precision."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Accuracy of detections against the true boxes.

    Attributes:
        figures: COCO's twelve, by the names in `FIGURES`; AP and AR are averages over IoU .5:.95. A figure that
            measures objects of which the data has none is absent.
        per_class_ap: class name -> AP over IoU .5:.95; classes without a true object are absent.
        per_class_ap50: class name -> AP at IoU 0.5; classes without a true object are absent.
        best_f1: threshold with the highest F1; the default threshold without a correct detection.
        curve: precision over recall at IoU 0.5.
        matches: matches of each image, from which all figures are computed.
        image_count: number of images evaluated.
        object_count: number of true objects in them.
        ignored_count: number of ignored boxes in them.
    """

    figures: dict[str, float]
    per_class_ap: dict[str, float]
    per_class_ap50: dict[str, float]
    best_f1: OperatingPoint
    curve: Curve
    matches: Matches
    image_count: int
    object_count: int
    ignored_count: int

    def summary(self) -> dict[str, float]:
        """Return the figures that a release records, rounded to 4 digits; the threshold is exact.

        The figures of `POINT` are absent too if there is no object.
        """
        rounded = {name: round(value, 4) for name, value in self.figures.items()}
        if not self.object_count:
            return rounded
        best = self.best_f1
        point = {"f1": best.f1, "precision": best.precision, "recall": best.recall}
        rounded |= {name: round(value, 4) for name, value in point.items()}
        return {**rounded, "threshold": best.score_threshold}

    def every_figure(self) -> dict[str, float | None]:
        """Return the summary with None for each figure that cannot be measured."""
        return {**dict.fromkeys((*FIGURES, *POINT)), **self.summary()}

    def best_in_words(self) -> str:
        """Return the best F1 and its threshold as text."""
        if not self.object_count:
            return "not measurable: the images show no object"
        if not self.best_f1.f1:
            return "no correct detection"
        return f"best F1 {self.best_f1.f1:.3f} above {self.best_f1.score_threshold:.2f}"

    def as_json(self) -> dict[str, Any]:
        """Return all fields except the curve and the matches, ready for JSON."""
        return {
            "image_count": self.image_count,
            "object_count": self.object_count,
            "ignored_count": self.ignored_count,
            **self.every_figure(),
            "per_class_ap": self.per_class_ap,
            "per_class_ap50": self.per_class_ap50,
        }

    def table(self) -> str:
        """Return the figures as lines for a terminal."""
        best = self.best_f1
        ignored = f", {counted(self.ignored_count, 'ignored box', 'ignored boxes')}" if self.ignored_count else ""
        lines = [f"{self.image_count} images, {self.object_count} objects{ignored}", ""]
        if not self.object_count:
            return "\n".join([*lines, self.best_in_words()])
        lines += [f"  {name:<6} {_number(self.figures.get(name))}" for name in FIGURES]
        lines += ["", "  class: AP, AP50"]
        lines += [
            f"  {name}: {value:.3f}, {self.per_class_ap50[name]:.3f}" for name, value in self.per_class_ap.items()
        ]
        lines += [
            "",
            f"best F1 {best.f1:.3f} at IoU 0.5 above score {best.score_threshold:.3f}: "
            f"precision {best.precision:.3f}, recall {best.recall:.3f}"
            if best.f1
            else self.best_in_words(),
        ]
        return "\n".join(lines)


def _number(value: float | None) -> str:
    return "    –" if value is None else f"{value:.3f}"


def detect_all(engine: Engine, images: Sequence[AnnotatedImage], *, progress: Any = None) -> list[Detections]:
    """Return the detections of an engine on every image; `progress` wraps the iterable, as tqdm does.

    Raises:
        BrokenDataset: images do not decode. The message lists all of them.
    """
    wrapped: Iterable[AnnotatedImage] = images if progress is None else progress(images)
    found, faults = [], []
    for image in wrapped:
        try:
            pixels = load_pixels(image)
        except (ImageError, OSError) as error:
            faults.append(Fault(image.name, str(error)))
        else:
            found += engine.detect([pixels])
    if faults:
        raise BrokenDataset(faults)
    return found


def evaluate(data: LabelledImages, found: Sequence[Detections]) -> Evaluation:
    """Return the accuracy of detections against the true boxes.

    COCO counts at most 100 detections of an image. If an image shows more objects, AP counts as many as it shows. A
    detection in an ignored box counts neither for nor against, of whatever class; COCO's crowds are of one class.

    Args:
        data: N images with their true boxes.
        found: N detections in the same order.
    """
    truth = coco_writing.truth(data.images, data.class_names)
    most = max([_COCO_DETECTIONS, *(len(image.labels) for image in data.images)])
    evaluation = _run_cocoeval(truth, coco_writing.results(found), most)
    precision = evaluation.eval["precision"]  # (IoU T, recall R, class K, area A, detections M)
    matches = Matches.of(evaluation)
    curve = _curve(matches)
    return Evaluation(
        figures=_figures(evaluation, precision),
        per_class_ap=_per_class(precision, data.class_names),
        per_class_ap50=_per_class(precision[IOU_50 : IOU_50 + 1], data.class_names),
        best_f1=best_f1(curve),
        curve=curve,
        matches=matches,
        image_count=len(data.images),
        object_count=sum(len(image.labels) for image in data.images),
        ignored_count=sum(len(image.ignored) for image in data.images),
    )


def as_one_class(data: LabelledImages, found: Sequence[Detections]) -> tuple[LabelledImages, list[Detections]]:
    """Merge all classes of truth and detections into the class `object`, without suppressing any detection."""
    images = tuple(replace(image, labels=("object",) * len(image.labels)) for image in data.images)
    merged = [replace(item, labels=np.ones_like(item.labels)) for item in found]
    return LabelledImages(images, ("object",)), merged


def _run_cocoeval(truth: Mapping[str, Any], results: list[dict[str, Any]], most: int) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        if results:
            detections = coco.loadRes(results)
        else:  # loadRes rejects an empty list
            detections = COCO()
            detections.dataset = {**truth, "annotations": []}
            detections.createIndex()
        evaluation = COCOeval(coco, detections, "bbox")
        if most > _COCO_DETECTIONS:
            evaluation.params.maxDets = [1, 10, _COCO_DETECTIONS, most]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _figures(evaluation: Any, precision: NDArray[np.float64]) -> dict[str, float]:
    """Return the figures that have an object to measure; AP over the most detections, which may be more than COCO's."""
    figures = {name: float(value) for name, value in zip(FIGURES, evaluation.stats, strict=True) if value >= 0}
    for name in figures.keys() & _AP_OF.keys():
        ious, area = _AP_OF[name]
        values = precision[ious, ..., area, _MOST_DETECTIONS]
        figures[name] = float(values[values > -1].mean())
    return figures


def _per_class(precision: NDArray[np.float64], class_names: Sequence[str]) -> dict[str, float]:
    result = {}
    for k, name in enumerate(class_names):
        values = precision[:, :, k, _ALL_AREAS, _MOST_DETECTIONS]
        if (values > -1).any():
            result[name] = round(float(values[values > -1].mean()), 4)
    return result


def _curve(matches: Matches) -> Curve:
    """Return one curve from the matches of all images and classes at IoU 0.5."""
    return Curve.of(
        np.concatenate([item.scores[~item.ignored[IOU_50]] for item in matches.classes]),
        np.concatenate([item.hits[IOU_50][~item.ignored[IOU_50]] for item in matches.classes]),
        true_count=sum(item.true_count for item in matches.classes),
    )
