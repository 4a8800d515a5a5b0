"""The confusion matrix: detections paired with true objects of any class."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rendersight.annotations import AnnotatedImage
from rendersight.detections import Detections, box_iou, share_inside
from training.data.dataset import LabelledImages

MIN_IOU = 0.5
NONE = -1


def pair(truth_xyxy: NDArray[np.float32], found: Detections, *, min_iou: float = MIN_IOU) -> NDArray[np.int64]:
    """Pair each detection, best score first, with the unpaired true object of any class that it overlaps most.

    Args:
        truth_xyxy: float32 (N, 4), px.
        found: M detections in any order.
        min_iou: smallest IoU of a pair.

    Returns:
        int64 (M,), index of the true object paired with each detection; -1 without a pair.
    """
    taken = np.full(len(found), NONE, np.int64)
    if not len(truth_xyxy):
        return taken
    overlap = box_iou(found.boxes_xyxy, truth_xyxy)  # (M, N)
    for index in np.argsort(-found.scores, kind="stable"):
        best = int(overlap[index].argmax())
        if overlap[index, best] >= min_iou:
            taken[index] = best
            overlap[:, best] = -1.0
    return taken


def counted_pairs(image: AnnotatedImage, found: Detections) -> tuple[Detections, NDArray[np.int64]]:
    """Return the detections of an image that count, and their `pair` with its true objects.

    A detection without a pair does not count if at least half of its area lies in an ignored box, as in COCO's crowds.
    """
    taken = pair(image.boxes_xyxy, found)
    inside = share_inside(found.boxes_xyxy, image.ignored_xyxy).max(axis=1, initial=0.0) >= MIN_IOU
    counts = (taken != NONE) | ~inside
    return found.select(counts), taken[counts]


def missed(taken: NDArray[np.int64], truth_count: int) -> NDArray[np.int64]:
    """Return the indices of the true objects without a detection; `taken` is the result of `pair`."""
    return np.setdiff1d(np.arange(truth_count), taken)


def confusion_matrix(data: LabelledImages, found: Sequence[Detections], *, score_threshold: float) -> NDArray[np.int64]:
    """Count the pairs of true and detected class at IoU 0.5, for detections above a score threshold.

    Returns:
        int64 (K + 1, K + 1): row i is the true class i + 1, the last row background; column j is the detected class
        j + 1, the last column no detection. The last column counts misses, the last row false alarms; the corner is 0.
    """
    background = len(data.class_names)
    matrix = np.zeros((background + 1, background + 1), np.int64)
    for image, item in zip(data.images, found, strict=True):
        kept, taken = counted_pairs(image, item.above(score_threshold))
        truth = np.array([*data.label_ids(image), background + 1], np.int64) - 1  # index -1 is the background
        np.add.at(matrix, (truth[taken], kept.labels - 1), 1)
        lost = truth[missed(taken, len(image.labels))]
        np.add.at(matrix, (lost, np.full_like(lost, background)), 1)
    return matrix
