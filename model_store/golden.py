"""The golden check: whether a loaded model is the published one, wired up correctly, with sane arithmetic.

The check compares an engine's detections on the release's golden images with those of eager fp32. Rounding (another
processor, library or precision) moves a few borderline scores and every box a little. Other weights, permuted labels,
swapped channels or shifted boxes move all of them a lot. So the check compares medians over the clear objects: those
away from the image's edge and well above the threshold.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_store.errors import GoldenMismatch
from model_store.manifest import EngineRecord, ExpectedDetection, GoldenImage
from rendersight.detections import Detections, box_iou

_EDGE = 0.01
"""Margin at the image's edge, as a fraction of its side. A box there may be cut off, so rounding moves its edge."""

_MIN_IOU = 0.5
_MAX_MISSED = 0.1
"""Maximum fraction of the clear objects that may be lost, and of unexpected objects that may appear."""

_MAX_MISSED_UNCLEAR = 0.5
"""The same maximum if no object is clear and all are compared."""

_MAX_MISSED_OF_CLASS = 0.5


@dataclass(frozen=True)
class Tolerance:
    """Limits for the medians.

    Attributes:
        box: maximum distance of a box's edge from the expected edge, as a fraction of the box's side.
        logit: maximum change of the score's logit.
    """

    box: float
    logit: float

    def of(self, count: int) -> "Tolerance":
        """Return the tolerance for medians over `count` objects: three times as large for one, 1.4 times for 25."""
        room = 1 + 2 / math.sqrt(max(1, count))
        return Tolerance(room * self.box, room * self.logit)


EXACT = Tolerance(box=0.001, logit=0.02)
"""Tolerance of fp32 on any CPU, over many objects."""

REDUCED = Tolerance(box=0.007, logit=0.7)
"""Tolerance of bf16, fp16, int8 and TF32, over many objects.

`python -m benchmarks.golden` prints the measurements on both sides of it.
"""

_LEAST = Tolerance(box=0.003, logit=0.3)
_TIMES_RECORDED = 2.5
"""Factor on an engine's recorded drift.

int8 of `dice@6` drifts 1.6 times as far on AVX2 as on VNNI, where it was prepared, and 3.2 times with BGR.
"""


def tolerance(name: str, record: EngineRecord | None, *, is_cpu: bool, count: int) -> Tolerance:
    """Return the tolerance for an engine.

    Args:
        name: the engine's name.
        record: the engine's record in the manifest, if any.
        is_cpu: whether the engine runs on a CPU; a GPU computes fp32 convolutions in TF32.
        count: number of compared objects.
    """
    is_exact = name.endswith("-fp32") and is_cpu
    if record is None or record.golden_drift is None:
        return (EXACT if is_exact else REDUCED).of(count)
    least, drift = EXACT.of(count) if is_exact else _LEAST, record.golden_drift
    return Tolerance(max(least.box, _TIMES_RECORDED * drift.box), max(least.logit, _TIMES_RECORDED * drift.logit))


@dataclass(frozen=True)
class GoldenDetections:
    """One golden image with an engine's detections; its size is in px."""

    golden: GoldenImage
    size_wh: tuple[int, int]
    found: Detections


@dataclass(frozen=True, eq=False)
class GoldenDifference:
    """The differences between the expected detections and an engine's.

    Attributes:
        labels: int64 (N,), labels of the clear objects.
        is_found: bool (N,), whether the engine found an object of the same label at the same place.
        extra: number of clear detections where none is expected.
        box: median distance of the found boxes' edges from the expected ones, as a fraction of the box's side.
        logit: median change of the score's logit.
        is_clear: False if no object is clear, and all expected ones were compared instead.
    """

    labels: NDArray[np.int64]
    is_found: NDArray[np.bool_]
    extra: int
    box: float
    logit: float
    is_clear: bool = True


def expectation(found: Detections, *, score_threshold: float) -> tuple[ExpectedDetection, ...]:
    """Return the eager fp32 detections above the recommended threshold, best first."""
    kept = found.above(score_threshold).by_score()
    return tuple(
        ExpectedDetection(label_id=int(label), score=float(score), box_xyxy=tuple(float(v) for v in box))
        for box, label, score in zip(kept.boxes_xyxy, kept.labels, kept.scores, strict=True)
    )


def clear(found: Detections, *, size_wh: tuple[int, int], score_threshold: float) -> NDArray[np.bool_]:
    """Return which detections are safe from rounding: bool (N,), well above the threshold and away from the edge."""
    margin = _EDGE * np.array(size_wh * 2, np.float32)
    is_inside = (found.boxes_xyxy[:, :2] >= margin[:2]) & (found.boxes_xyxy[:, 2:] <= np.array(size_wh) - margin[2:])
    is_sure = found.scores > (1 + score_threshold) / 2
    return np.asarray(is_inside.all(axis=1) & is_sure)


def compare(images: Sequence[GoldenDetections], *, score_threshold: float) -> GoldenDifference:
    """Compare detections on the golden images with the expected ones: the clear objects, or all if none is clear."""
    known = [_known(seen.golden) for seen in images]
    kept = [
        clear(expected, size_wh=seen.size_wh, score_threshold=score_threshold)
        for expected, seen in zip(known, images, strict=True)
    ]
    is_clear = any(item.any() for item in kept)
    if not is_clear:
        kept = [np.ones(len(item), bool) for item in kept]
    labels, is_found, boxes, logits, extra = [], [], [], [], 0
    for expected, keep, seen in zip(known, kept, images, strict=True):
        match = _match(expected, seen.found)
        labels.append(expected.labels[keep])
        is_found.append(match[keep] >= 0)
        pairs = np.flatnonzero(keep & (match >= 0))
        boxes.append(_box_change(expected.boxes_xyxy[pairs], seen.found.boxes_xyxy[match[pairs]]))
        logits.append(np.abs(_logit(seen.found.scores[match[pairs]]) - _logit(expected.scores[pairs])))
        sure = clear(seen.found, size_wh=seen.size_wh, score_threshold=score_threshold)
        sure[match[match >= 0]] = False
        extra += int(sure.sum())
    return GoldenDifference(
        labels=np.concatenate(labels),
        is_found=np.concatenate(is_found),
        extra=extra,
        box=_median(np.concatenate(boxes)),
        logit=_median(np.concatenate(logits)),
        is_clear=is_clear,
    )


def check(moved: GoldenDifference, tolerance: Tolerance) -> None:
    """Raise if the differences exceed those of rounding.

    Raises:
        GoldenMismatch: the message gives the statistic, its value and the limit.
    """
    count = len(moved.labels)
    limit = int((_MAX_MISSED if moved.is_clear else _MAX_MISSED_UNCLEAR) * count)
    missed = count - int(moved.is_found.sum())
    if missed > limit:
        raise GoldenMismatch(
            f"golden images: {missed} of {count} clear objects were not found again with their label; "
            f"at most {limit} may be missed"
        )
    for label in np.unique(moved.labels):
        of_class = moved.is_found[moved.labels == label]
        if len(of_class) > 1 and of_class.mean() < _MAX_MISSED_OF_CLASS:
            raise GoldenMismatch(f"golden images: most of the {len(of_class)} objects of label {label} were not found")
    if moved.extra > limit:
        raise GoldenMismatch(
            f"golden images: {moved.extra} objects were found, but are not expected; at most {limit} are accepted"
        )
    for what, value, most in (("boxes", moved.box, tolerance.box), ("scores", moved.logit, tolerance.logit)):
        if value > most:
            raise GoldenMismatch(
                f"golden images: the {what} of {count} clear objects moved by {value:.4f} (median); "
                f"at most {most:.4f} is accepted"
            )


def _known(golden: GoldenImage) -> Detections:
    return Detections.of(
        [item.box_xyxy for item in golden.expected],
        [item.label_id for item in golden.expected],
        [item.score for item in golden.expected],
    )


def _match(expected: Detections, found: Detections) -> NDArray[np.intp]:
    """Return the best overlapping detection of the same label for each expected object: index (N,), or -1."""
    iou = box_iou(expected.boxes_xyxy, found.boxes_xyxy)
    iou[expected.labels[:, None] != found.labels[None, :]] = 0
    match = np.full(len(expected), -1, np.intp)
    for i in range(len(expected)):
        if len(found) and iou[i].max() >= _MIN_IOU:
            match[i] = iou[i].argmax()
            iou[:, match[i]] = 0  # each detection matches only one object
    return match


def _box_change(expected: NDArray[np.float32], found: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the distances of the edges as fractions of the expected box's width and height: (4 N,)."""
    sides = np.tile(expected[:, 2:] - expected[:, :2], 2)
    return np.asarray(np.abs(found - expected) / sides).ravel()


def _logit(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    bounded = scores.astype(np.float64).clip(1e-4, 1 - 1e-4)
    return np.asarray(np.log(bounded / (1 - bounded)))


def _median(values: NDArray[np.floating]) -> float:
    return float(np.median(values)) if len(values) else 0.0
