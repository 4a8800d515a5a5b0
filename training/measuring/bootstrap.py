"""How sure a figure is: average precision over images drawn again with replacement, from matches made once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.measuring.matching import IOU_50, ClassMatches, Matches

RESAMPLES = 1000
SEED = 0
LEVEL = 0.95
_DRAWINGS_AT_ONCE = 50  # a few MB for each array, of some 10,000 detections of a class
_RECALLS = np.linspace(0.0, 1.0, 101)  # COCO's recall points

Interval = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Resamples:
    """Figures of B drawings of the images; NaN in a drawing without a true object.

    Attributes:
        ap: float64 (B,), over IoU .5:.95.
        ap50: float64 (B,), at IoU 0.5.
    """

    ap: NDArray[np.float64]
    ap50: NDArray[np.float64]


def resample(matches: Matches, *, count: int = RESAMPLES, seed: int = SEED) -> Resamples:
    """Draw as many images as there are, with replacement, `count` times, and measure each drawing."""
    rng = np.random.default_rng(seed)
    n = matches.image_count
    times = rng.multinomial(n, np.full(n, 1 / n), size=count)  # (B, N), how often each image is drawn
    blocks = np.array_split(times, -(-count // _DRAWINGS_AT_ONCE))
    by_iou = np.concatenate([average_precision(matches, block) for block in blocks])
    return Resamples(ap=by_iou.mean(axis=1), ap50=by_iou[:, IOU_50])


def interval(values: NDArray[np.float64], *, level: float = LEVEL) -> Interval | None:
    """Return the percentile interval of resampled values (Efron and Tibshirani 1993, ch. 13); None without any."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def average_precision(matches: Matches, times: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return COCO's AP of datasets in which images occur several times or not at all.

    An image that occurs m times is one whose detections and objects count m-fold. That equals what COCOeval gives for
    copies of the image: copies of a right detection only raise the precision up to the last of them, copies of a
    wrong one only lower it, and COCO reads the highest precision at a recall or beyond it.

    Args:
        matches: K classes of N images.
        times: int64 (B, N), how often each image occurs.

    Returns:
        float64 (B, 10), the mean over the classes at each IoU; NaN without any true object.
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
    """Return the AP of one class, (B, 10), from how often each of its detections counts, (B, D); 0 without truth."""
    result = np.zeros((len(weights), len(item.hits)))
    let_in = np.cumsum(weights, axis=1)
    for t, hits in enumerate(item.hits):
        right = np.cumsum(weights[:, hits], axis=1)  # (B, H): only a hit can raise the envelope of the precision
        precision = right / np.maximum(let_in[:, hits], 1)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        padded = np.concatenate([envelope, np.zeros((len(weights), 1))], axis=1)  # what is never recalled has 0
        recall = right / np.maximum(true_counts, 1)[:, None]
        for b in np.flatnonzero(true_counts):
            result[b, t] = padded[b, np.searchsorted(recall[b], _RECALLS)].mean()
    return result
