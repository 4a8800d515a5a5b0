"""The golden check: a loaded release must find on its golden image what it found when it was published."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model_store.errors import GoldenMismatch
from model_store.manifest import ExpectedDetection
from rendersight.detections import Detections, box_iou


@dataclass(frozen=True)
class Tolerance:
    """How far a detection may move and still count as the same."""

    min_iou: float
    max_score_change: float


EXACT = Tolerance(0.9, 0.05)
"""Of fp32, on whatever machine."""

REDUCED = Tolerance(0.75, 0.15)
"""Of bf16, fp16 and int8."""


def expectation(found: Detections, *, score_threshold: float) -> tuple[ExpectedDetection, ...]:
    """Write down what the eager fp32 network found above the recommended threshold."""
    kept = found.above(score_threshold).by_score()
    return tuple(
        ExpectedDetection(label_id=int(label), score=float(score), box_xyxy=tuple(float(v) for v in box))
        for box, label, score in zip(kept.boxes_xyxy, kept.labels, kept.scores, strict=True)
    )


def check(
    found: Detections,
    expected: Sequence[ExpectedDetection],
    *,
    score_threshold: float,
    tolerance: Tolerance = EXACT,
) -> None:
    """Compare what a loaded engine finds on the golden image with its manifest, one to one.

    Two detections agree by label, IoU and score. One whose score lies within the tolerance of the threshold may
    be absent on the other side.

    Raises:
        GoldenMismatch: an expected object was not found, or something else was; the message says which.
    """
    max_score_change = tolerance.max_score_change
    known = Detections.of(
        [item.box_xyxy for item in expected], [item.label_id for item in expected], [item.score for item in expected]
    )
    agree = (
        (box_iou(known.boxes_xyxy, found.boxes_xyxy) >= tolerance.min_iou)
        & (known.labels[:, None] == found.labels[None, :])
        & (np.abs(known.scores[:, None] - found.scores[None, :]) <= max_score_change)
    )
    taken = np.zeros(len(found), bool)
    for i in range(len(known)):
        matches = np.flatnonzero(agree[i] & ~taken)
        if len(matches):
            taken[matches[0]] = True
        elif known.scores[i] > score_threshold + max_score_change:
            raise GoldenMismatch(f"golden image: {_describe(known, i)} was not found again")
    for j in np.flatnonzero(~taken & (found.scores > score_threshold + max_score_change)):
        raise GoldenMismatch(f"golden image: {_describe(found, int(j))} was found but is not expected")


def _describe(items: Detections, index: int) -> str:
    box = ", ".join(f"{value:.0f}" for value in items.boxes_xyxy[index])
    return f"label {items.labels[index]} with score {items.scores[index]:.2f} at ({box})"
