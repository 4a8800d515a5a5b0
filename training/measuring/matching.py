"""COCOeval's matches for each image, from which the figures of any subset of the images can be computed."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

IOU_50 = 0
"""Row of `ClassMatches.hits` for IoU 0.5; the next rows go up to 0.95 in steps of 0.05."""

_ALL_AREAS = 0


@dataclass(frozen=True, eq=False)
class ClassMatches:
    """The D detections of one class, best score first; at most 100 per image, as in COCO.

    Attributes:
        scores: float64 (D,), descending.
        images: int64 (D,), index of each detection's image, from 0.
        hits: bool (10, D), whether the detection is correct at IoU 0.5, 0.55, ..., 0.95.
        ignored: bool (10, D), whether it lies in an ignored box, and so counts neither for nor against.
        true_counts: int64 (N,), number of true objects of the class in each image.
    """

    scores: NDArray[np.float64]
    images: NDArray[np.int64]
    hits: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    true_counts: NDArray[np.int64]

    @property
    def true_count(self) -> int:
        """Number of true objects in all images."""
        return int(self.true_counts.sum())


@dataclass(frozen=True, eq=False)
class Matches:
    """COCOeval's matches in N images, for objects of any size, by class in the order of the class names."""

    classes: tuple[ClassMatches, ...]
    image_count: int

    @classmethod
    def of(cls, cocoeval: Any) -> Self:
        """Return the matches of a `COCOeval` after `evaluate`; `COCOeval.evaluateImg` defines its `evalImgs`."""
        count = len(cocoeval.params.imgIds)
        per_class = len(cocoeval.params.areaRng) * count
        starts = [k * per_class + _ALL_AREAS * count for k in range(len(cocoeval.params.catIds))]
        iou_count = len(cocoeval.params.iouThrs)
        return cls(tuple(_of_class(cocoeval.evalImgs[i : i + count], iou_count) for i in starts), count)


def _of_class(items: list[dict[str, Any] | None], iou_count: int) -> ClassMatches:
    """Join the matches of one class in all images; an image with neither truth nor detection is None."""
    scores = [np.asarray(item["dtScores"], np.float64) if item else np.zeros(0) for item in items]
    ignored = [np.asarray(item["dtIgnore"], bool) for item in items if item]
    hits = [(np.asarray(item["dtMatches"]) > 0) & ~np.asarray(item["dtIgnore"], bool) for item in items if item]
    images = np.repeat(np.arange(len(items)), [len(part) for part in scores])
    joined = np.concatenate([*scores, np.zeros(0)])
    order = np.argsort(-joined, kind="stable")
    return ClassMatches(
        scores=joined[order],
        images=images[order],
        hits=np.concatenate([*hits, np.zeros((iou_count, 0), bool)], axis=1)[:, order],
        ignored=np.concatenate([*ignored, np.zeros((iou_count, 0), bool)], axis=1)[:, order],
        true_counts=np.array([np.sum(~np.asarray(item["gtIgnore"], bool)) if item else 0 for item in items], np.int64),
    )
