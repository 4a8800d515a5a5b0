"""Selection of the reported objects: overlap, then score, then labels, then the maximum count."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from app.errors import MOST_INPUTS, InvalidInput, InvalidParameter, shown
from app.schemas import SelectQuery
from model_store.model_info import ModelInfo
from rendersight.detections import Detections


@dataclass(frozen=True)
class Selection:
    """Which objects one request reports.

    Attributes:
        score_threshold: objects with a score strictly above it are reported; at least the network's floor.
        label_ids: classes 1..K to report; None reports all.
        iou_threshold: of two boxes with a larger IoU only the better one is reported; None reports both.
        class_agnostic: whether boxes of different classes suppress each other too.
        max_detections: maximum number of objects; None reports all.
    """

    score_threshold: float
    label_ids: tuple[int, ...] | None
    iou_threshold: float | None
    class_agnostic: bool
    max_detections: int | None

    def of(self, found: Detections) -> Detections:
        """Return the reported objects of `found`, best score first."""
        kept = found
        if self.iou_threshold is not None:  # before the labels: the second guess on an object is not an answer
            kept = kept.suppressed(self.iou_threshold, class_agnostic=self.class_agnostic)
        kept = kept.above(self.score_threshold)
        if self.label_ids is not None:
            kept = kept.of_labels(self.label_ids)
        kept = kept.by_score()
        if self.max_detections is None:
            return kept
        return kept.select(np.arange(min(len(kept), self.max_detections)))


def default_threshold(card: ModelInfo, configured: float | None) -> float:
    """Return the default threshold: the configured one, else the release's; never below the network's floor."""
    return max(card.score_threshold if configured is None else configured, card.score_floor)


def selection_of(query: SelectQuery, card: ModelInfo, *, default_score_threshold: float) -> Selection:
    """Translate a query into a `Selection` for one model.

    Raises:
        InvalidParameter: the query has a label that the model does not know.
    """
    asked = default_score_threshold if query.score_threshold is None else query.score_threshold
    return Selection(
        score_threshold=max(asked, card.score_floor),
        label_ids=_label_ids(query.labels, card.class_names) if query.labels else None,
        iou_threshold=query.iou_threshold,
        class_agnostic=query.class_agnostic,
        max_detections=query.max_detections,
    )


def _label_ids(labels: Sequence[str], class_names: Sequence[str]) -> tuple[int, ...]:
    known = ", ".join(class_names)
    others = (name for name in labels if name not in class_names)
    unknown = [InvalidInput("query", "labels", shown(name), f"one of {known}") for name in islice(others, MOST_INPUTS)]
    if unknown:
        named = ", ".join(repr(item.value) for item in unknown)
        raise InvalidParameter(f"parameter labels: {named} is unknown; known: {known}", errors=unknown)
    return tuple(class_names.index(name) + 1 for name in labels)
