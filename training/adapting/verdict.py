"""The verdict on an adapted detector: better, worse, or cannot tell, and whether it may be published."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from model_store.manifest import Manifest
from rendersight.detections import Detections, box_iou
from training.data.dataset import LabelledImages
from training.data.findings import counted
from training.measuring import bootstrap
from training.measuring.evaluation import evaluate

MIN_KEPT = 0.8
"""Smallest share of the objects on the release's golden images that the adapted detector must still find."""

_SAME_IOU = 0.5


@dataclass(frozen=True)
class Verdict:
    """The outcome of an adaptation.

    Attributes:
        outcome: whether the adapted detector is better than the release.
        text: the reason in words, with figures and their uncertainty.
        is_published: whether the adapted detector becomes a release.
    """

    outcome: Literal["better", "worse", "cannot tell"]
    text: str
    is_published: bool

    def __str__(self) -> str:
        return f"{self.outcome}{' ' if self.outcome == 'better' else ': '}{self.text}"


@dataclass(frozen=True)
class Difference:
    """AP50 after minus AP50 before, on the same photos, with its 95 % interval; all in points (1.0 is 0.01)."""

    points: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{abs(self.points):.1f} ± {(self.high - self.low) / 2:.1f} AP50"


def difference(data: LabelledImages, before: Sequence[Detections], after: Sequence[Detections]) -> Difference | None:
    """Return the difference in AP50 between two detectors by a paired bootstrap over the photos.

    Args:
        data: N photos with their true boxes.
        before: N detections of the first detector.
        after: N detections of the second one.

    Returns:
        The difference; None if no photo shows an object.
    """
    old, new = evaluate(data, before), evaluate(data, after)
    if not old.object_count:
        return None
    # equal seeds draw the same photos for both
    drawn = bootstrap.resample(new.matches).ap50 - bootstrap.resample(old.matches).ap50
    low, high = bootstrap.interval(drawn) or (np.nan, np.nan)
    points = new.figures["AP50"] - old.figures["AP50"]
    return Difference(100 * points, 100 * low, 100 * high)


def share_kept(manifest: Manifest, found: Sequence[Detections]) -> float:
    """Return the share of the objects on a release's golden images that a detector finds with their labels.

    Args:
        manifest: manifest of the release, with G golden images.
        found: G detections above the release's threshold.
    """
    kept = []
    for image, item in zip(manifest.golden, found, strict=True):
        for expected in image.expected:
            same = item.of_labels([expected.label_id])
            overlap = box_iou(np.array([expected.box_xyxy], np.float32), same.boxes_xyxy)
            kept.append(bool((overlap >= _SAME_IOU).any()))
    return float(np.mean(kept)) if kept else 1.0


def judge(
    source: str,
    *,
    measured: Difference | None,
    labelled_count: int,
    agreements: tuple[float | None, float | None],
    kept: float,
) -> Verdict:
    """Return the verdict.

    Args:
        source: reference of the release that was adapted.
        measured: the difference on labelled photos, none of which the measured detector has learned from; None if
            there is none.
        labelled_count: number of labelled photos.
        agreements: agreement between the views before and after; None if a detector found nothing.
        kept: result of `share_kept`.
    """
    if kept < MIN_KEPT:
        text = f"finds {kept:.0%} of the objects on the golden images of {source}; kept {source}"
        return Verdict("worse", text, is_published=False)
    if measured is not None:
        return _by_labels(source, measured, counted(labelled_count, "labelled photo"))
    before, after = agreements
    if before is None or after is None:
        return Verdict("worse", f"the views agree on no object; kept {source}", is_published=False)
    told = f"agreement between views {'fell' if after < before else 'rose'} from {before:.2f} to {after:.2f}"
    if after < before:
        return Verdict("worse", f"{told}; kept {source}", is_published=False)
    few = f"{counted(labelled_count, 'labelled photo')}, too few to learn from and to measure on"
    return Verdict("cannot tell", f"{few if labelled_count else 'no labels'}; {told}", is_published=True)


def _by_labels(source: str, measured: Difference, photos: str) -> Verdict:
    if measured.low > 0:
        return Verdict("better", f"by {measured} on {photos}", is_published=True)
    if measured.points < 0:
        return Verdict("worse", f"by {measured} on {photos}; kept {source}", is_published=False)
    return Verdict("cannot tell", f"higher by {measured} on {photos}", is_published=True)
