"""Selection of the reported objects: overlap, then score, then labels, then the maximum count."""

from collections.abc import Sequence
from itertools import islice

import numpy as np

from app.errors import MAX_FAULTS, InputFault, InvalidParameter, shown
from app.schemas import SelectQuery
from model_store.model_info import ModelInfo
from rendersight.detections import Detections


def default_threshold(info: ModelInfo, configured: float | None) -> float:
    """Return the default score threshold: the configured one, else the release's; never below the network's floor."""
    return max(info.score_threshold if configured is None else configured, info.score_floor)


def threshold_of(query: SelectQuery, info: ModelInfo, configured: float | None) -> float:
    """Return the score threshold for one request: the query's, else the default; never below the network's floor."""
    asked = query.score_threshold
    return default_threshold(info, configured) if asked is None else max(asked, info.score_floor)


def check_labels(labels: Sequence[str], class_names: Sequence[str]) -> None:
    """Raise an error if a label is not a class of the model.

    Raises:
        InvalidParameter: a label is unknown; the error names the first `MAX_FAULTS`.
    """
    known = ", ".join(class_names)
    others = (name for name in labels if name not in class_names)
    unknown = [InputFault("query", "labels", shown(name), f"one of {known}") for name in islice(others, MAX_FAULTS)]
    if unknown:
        names = ", ".join(repr(item.value) for item in unknown)
        raise InvalidParameter(f"parameter labels: no such class: {names}; accepted: {known}", errors=unknown)


def select(found: Detections, query: SelectQuery, *, class_names: Sequence[str], score_threshold: float) -> Detections:
    """Return the objects to report, best score first.

    Args:
        found: all objects of one photo.
        query: the request's selection; `check_labels` has accepted its labels.
        class_names: names of labels 1..K.
        score_threshold: objects with a score strictly above it are reported; see `threshold_of`.
    """
    if query.iou_threshold is not None:  # before the labels: the second guess on an object is not an answer
        found = found.suppressed(query.iou_threshold, class_agnostic=query.class_agnostic)
    found = found.above(score_threshold)
    if query.labels:
        found = found.of_labels([class_names.index(name) + 1 for name in query.labels])
    found = found.by_score()
    return found.select(np.arange(min(len(found), query.max_detections or len(found))))
