"""Calibration of scores: confidence against precision, in bins."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.measuring.thresholds import Curve

BINS = 10


@dataclass(frozen=True, eq=False)
class Reliability:
    """Detections by score, in B bins of equal width; bin i holds scores in (i / B, (i + 1) / B].

    Attributes:
        counts: int64 (B,), number of detections.
        confidence: float64 (B,), mean score; NaN in an empty bin.
        precision: float64 (B,), fraction of detections that are correct at IoU 0.5; NaN in an empty bin.
    """

    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    precision: NDArray[np.float64]

    @property
    def error(self) -> float | None:
        """Expected calibration error (Naeini et al. 2015; Guo et al. 2017, eq. 3); None without a detection."""
        if not self.counts.any():
            return None
        gaps = np.abs(self.precision - self.confidence)
        return float(np.nansum(gaps * self.counts) / self.counts.sum())


def reliability(curve: Curve, *, bins: int = BINS) -> Reliability:
    """Sort the detections of a curve into bins; the network reports none below its own score floor."""
    edges = np.linspace(0, 1, bins + 1)
    index = np.digitize(curve.scores, edges[1:-1], right=True)
    counts = np.bincount(index, minlength=bins)
    divisor = np.where(counts > 0, counts, np.nan)
    return Reliability(
        counts=counts,
        confidence=np.bincount(index, weights=curve.scores, minlength=bins) / divisor,
        precision=np.bincount(index, weights=curve.hits, minlength=bins) / divisor,
    )
