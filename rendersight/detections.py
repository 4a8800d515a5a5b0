"""Boxes, labels and scores of one image, checked and filtered together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class Detections:
    """The N objects that a detector found in one image.

    Attributes:
        boxes_xyxy: float32 (N, 4), px of the upright image, origin top-left, x0 < x1 and y0 < y1.
        labels: int64 (N,), 1..K in the order of the release's class names; never 0, the background.
        scores: float32 (N,) in [0, 1].

    Raises:
        ValueError: the shapes do not agree, a box has no area, or a value is not finite.
    """

    boxes_xyxy: NDArray[np.float32]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]

    def __post_init__(self) -> None:
        count = len(self.scores)
        shapes = (self.boxes_xyxy.shape, self.labels.shape, self.scores.shape)
        if shapes != ((count, 4), (count,), (count,)):
            raise ValueError(f"boxes, labels and scores do not belong together: shapes {shapes}")
        if not (np.isfinite(self.boxes_xyxy).all() and np.isfinite(self.scores).all()):
            raise ValueError("a box or a score is not finite")
        if not (self.boxes_xyxy[:, 2:] > self.boxes_xyxy[:, :2]).all():
            raise ValueError("a box has no area: x0 < x1 and y0 < y1 are required")

    @classmethod
    def of(cls, boxes_xyxy: ArrayLike, labels: ArrayLike, scores: ArrayLike) -> Self:
        """Build from array-like values, converted to the class's dtypes; empty lists become (0, 4), (0,) and (0,)."""
        return cls(
            np.asarray(boxes_xyxy, np.float32).reshape(-1, 4),
            np.asarray(labels, np.int64).reshape(-1),
            np.asarray(scores, np.float32).reshape(-1),
        )

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, keep: NDArray[Any]) -> Self:
        """Return the rows selected by `keep`, a bool mask (N,) or an array of indices, in its order."""
        return type(self)(self.boxes_xyxy[keep], self.labels[keep], self.scores[keep])

    def by_score(self) -> Self:
        """Return the same detections, best score first; equal scores keep their order."""
        return self.select(np.argsort(-self.scores, kind="stable"))

    def above(self, score_threshold: float) -> Self:
        """Return the detections whose score is strictly above the threshold."""
        return self.select(self.scores > score_threshold)

    def of_labels(self, labels: Sequence[int]) -> Self:
        """Return the detections whose label is one of `labels`."""
        return self.select(np.isin(self.labels, np.asarray(labels, np.int64)))

    def suppressed(self, iou_threshold: float, *, class_agnostic: bool = False) -> Self:
        """Return the detections left by greedy non-maximum suppression, best score first.

        Args:
            iou_threshold: of two boxes with a larger intersection over union, the one with the lower score is removed.
            class_agnostic: also compare boxes of different classes.
        """
        ordered = self.by_score()
        rivals = box_iou(ordered.boxes_xyxy, ordered.boxes_xyxy) > iou_threshold
        if not class_agnostic:
            rivals &= ordered.labels[:, None] == ordered.labels[None, :]
        keep = np.ones(len(ordered), bool)
        for i in range(len(ordered)):
            if keep[i]:
                keep[i + 1 :] &= ~rivals[i, i + 1 :]
        return ordered.select(keep)


def box_iou(a_xyxy: NDArray[np.float32], b_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return intersection over union of every pair of boxes.

    Args:
        a_xyxy: float32 (N, 4), px.
        b_xyxy: float32 (M, 4), px.

    Returns:
        float32 (N, M) in [0, 1].
    """
    intersection = _intersections(a_xyxy, b_xyxy)
    areas_a = (a_xyxy[:, 2:] - a_xyxy[:, :2]).prod(axis=1)
    areas_b = (b_xyxy[:, 2:] - b_xyxy[:, :2]).prod(axis=1)
    union = areas_a[:, None] + areas_b[None, :] - intersection
    result: NDArray[np.float32] = (intersection / np.maximum(union, 1e-9)).astype(np.float32)
    return result


def share_inside(a_xyxy: NDArray[np.float32], b_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return intersection over the area of the first box, of every pair of boxes.

    Args:
        a_xyxy: float32 (N, 4), px, each with an area.
        b_xyxy: float32 (M, 4), px.

    Returns:
        float32 (N, M) in [0, 1].
    """
    areas = (a_xyxy[:, 2:] - a_xyxy[:, :2]).prod(axis=1)
    result: NDArray[np.float32] = (_intersections(a_xyxy, b_xyxy) / np.maximum(areas, 1e-9)[:, None]).astype(np.float32)
    return result


def _intersections(a_xyxy: NDArray[np.float32], b_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the common area of every pair of boxes, (N, M), px²."""
    top_left = np.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    bottom_right = np.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:])
    areas: NDArray[np.float32] = (bottom_right - top_left).clip(min=0).prod(axis=2)
    return areas
