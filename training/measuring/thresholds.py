"""The precision-recall curve of a detector, and the score thresholds worth recommending."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_store.model_info import DEFAULT_SCORE_THRESHOLD

SURE = 0.95
"""Precision that the second recommended threshold must reach."""

_SHORTEST_THRESHOLD = 3


@dataclass(frozen=True, eq=False)
class Curve:
    """Precision over recall at IoU 0.5 of all classes together, as the score threshold falls.

    Attributes:
        scores: float64 (M,), descending; score of the detection that each point adds.
        hits: bool (M,), whether that detection is correct.
        precision: float64 (M,).
        recall: float64 (M,).
    """

    scores: NDArray[np.float64]
    hits: NDArray[np.bool_]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]

    @classmethod
    def of(cls, scores: NDArray[np.float64], hits: NDArray[np.bool_], *, true_count: int) -> "Curve":
        """Return the curve of M detections, given in any order; `hits` marks the correct ones."""
        order = np.argsort(-scores, kind="stable")
        hits = hits[order]
        right = np.cumsum(hits)
        return cls(
            scores=scores[order],
            hits=hits,
            precision=right / np.arange(1, len(hits) + 1),
            recall=right / max(true_count, 1),
        )


@dataclass(frozen=True)
class OperatingPoint:
    """A score threshold (strictly above) and its results at IoU 0.5, all classes together."""

    score_threshold: float
    precision: float
    recall: float
    f1: float


def best_f1(curve: Curve) -> OperatingPoint:
    """Return the threshold with the highest F1; without a correct detection the default threshold, with zeros."""
    points = _points(curve)
    if not (curve.precision[points] > 0).any():
        return OperatingPoint(score_threshold=DEFAULT_SCORE_THRESHOLD, precision=0.0, recall=0.0, f1=0.0)
    return _point_at(curve, points, int(np.argmax(_f1(curve)[points])))


def at_precision(curve: Curve, precision: float) -> OperatingPoint | None:
    """Return the threshold with the highest recall of those that reach a precision, or None if none does."""
    points = _points(curve)
    enough = np.flatnonzero(curve.precision[points] >= precision)
    return _point_at(curve, points, int(enough[-1])) if len(enough) else None


def worth_recommending(curve: Curve) -> dict[str, OperatingPoint]:
    """Return purpose -> recommended threshold; a threshold that cannot be reached is absent."""
    best, sure = best_f1(curve), at_precision(curve, SURE)
    return {**({"best F1": best} if best.f1 else {}), **({} if sure is None else {f"{SURE:.0%} precision": sure})}


def at_score(curve: Curve, score_threshold: float) -> OperatingPoint:
    """Return precision, recall and F1 at a given threshold; zeros if no detection is above it."""
    last = int((curve.scores > score_threshold).sum()) - 1
    if last < 0:
        return OperatingPoint(score_threshold, precision=0.0, recall=0.0, f1=0.0)
    precision, recall, f1 = (float(values[last]) for values in (curve.precision, curve.recall, _f1(curve)))
    return OperatingPoint(score_threshold, precision=precision, recall=recall, f1=f1)


def _points(curve: Curve) -> NDArray[np.int64]:
    """Return the indices of the curve that a threshold can reach: of equal scores, only the last one."""
    return np.flatnonzero(np.diff(curve.scores, append=-1.0) < 0)


def _f1(curve: Curve) -> NDArray[np.float64]:
    f1: NDArray[np.float64] = 2 * curve.precision * curve.recall / np.maximum(curve.precision + curve.recall, 1e-12)
    return f1


def _point_at(curve: Curve, points: NDArray[np.int64], chosen: int) -> OperatingPoint:
    """Return the threshold about half-way between the lowest score above it and the highest score below it."""
    last = points[chosen]
    inside = curve.scores[last]
    outside = curve.scores[points[chosen + 1]] if chosen + 1 < len(points) else 0.0
    return OperatingPoint(
        score_threshold=_between(float(inside), float(outside)),
        precision=float(curve.precision[last]),
        recall=float(curve.recall[last]),
        f1=float(_f1(curve)[last]),
    )


def _between(inside: float, outside: float) -> float:
    """Return the shortest number near the middle of two scores that still separates them."""
    middle = (inside + outside) / 2
    rounded = (round(middle, digits) for digits in range(_SHORTEST_THRESHOLD, 9))
    return next((value for value in rounded if outside <= np.float32(value) < inside), outside)
