"""Confidence intervals of average precision, by resampling the images; detections are matched only once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.measuring.matching import IOU_50, ClassMatches, Matches

RESAMPLES = 1000
SEED = 0
LEVEL = 0.95
_DRAWINGS_AT_ONCE = 50  # each array then takes a few MB for about 10,000 detections of a class
_RECALLS = np.linspace(0.0, 1.0, 101)  # COCO's recall points

Interval = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Resamples:
    """Figures of B resamples of the images; NaN in a resample without a true object.

    Attributes:
        ap: float64 (B,), over IoU .5:.95.
        ap50: float64 (B,), at IoU 0.5.
    """

    ap: NDArray[np.float64]
    ap50: NDArray[np.float64]


def resample(matches: Matches, *, count: int = RESAMPLES, seed: int = SEED) -> Resamples:
    """Return the figures of `count` resamples, each of as many images as the data set has, drawn with replacement."""
    rng = np.random.default_rng(seed)
    n = matches.image_count
    times = rng.multinomial(n, np.full(n, 1 / n), size=count)  # (B, N), number of times each image is drawn
    blocks = np.array_split(times, -(-count // _DRAWINGS_AT_ONCE))
    by_iou = np.concatenate([average_precision(matches, block) for block in blocks])
    return Resamples(ap=by_iou.mean(axis=1), ap50=by_iou[:, IOU_50])


def interval(values: NDArray[np.float64], *, level: float = LEVEL) -> Interval | None:
    """Return the percentile interval of resampled values (Efron and Tibshirani 1993, ch. 13); None without values."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def average_precision(matches: Matches, times: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return COCO's AP of datasets in which an image may occur several times or not at all.

    If an image occurs m times, its detections and objects count m-fold. COCOeval gives the same result for m copies of
    the image: copies of a correct detection only raise the precision up to the last copy, copies of a wrong detection
    only lower it, and COCO reads the highest precision at a recall or beyond it.

    Args:
        matches: matches of K classes in N images.
        times: int64 (B, N), number of times each image occurs.

    Returns:
        float64 (B, 10), mean over the classes at each IoU; NaN without any true object.
    """
    total = np.zeros((len(times), len(matches.classes[0].hits)))
    measured = np.zeros(len(times), np.int64)
    for item in matches.classes:
        true_counts = times @ item.true_counts  # (B,)
        measured += true_counts > 0  # a class without a true object does not count
        total += _of_class(item, times[:, item.images], true_counts)
    mean: NDArray[np.float64] = np.where(measured[:, None] > 0, total, np.nan) / np.maximum(measured, 1)[:, None]
    return mean


def _of_class(item: ClassMatches, weights: NDArray[np.int64], true_counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the AP of one class, (B, 10); 0 without a true object. `weights` (B, D) counts each detection."""
    result = np.zeros((len(weights), len(item.hits)))
    for t, (hits, ignored) in enumerate(zip(item.hits, item.ignored, strict=True)):
        let_in = np.cumsum(weights * ~ignored, axis=1)
        right = np.cumsum(weights[:, hits], axis=1)  # (B, H); only a hit can raise the envelope of the precision
        precision = right / np.maximum(let_in[:, hits], 1)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        padded = np.concatenate([envelope, np.zeros((len(weights), 1))], axis=1)  # unreached recall: 0
        recall = right / np.maximum(true_counts, 1)[:, None]
        for b in np.flatnonzero(true_counts):
            result[b, t] = padded[b, np.searchsorted(recall[b], _RECALLS)].mean()
    return result
