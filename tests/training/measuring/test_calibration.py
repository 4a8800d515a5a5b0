import numpy as np
import pytest

from training.measuring.calibration import reliability
from training.measuring.thresholds import Curve


def curve(*detections: tuple[float, int]) -> Curve:
    scores, hits = zip(*detections, strict=True) if detections else ((), ())
    return Curve.of(np.array(scores, np.float64), np.array(hits, bool), true_count=5)


def test_bins_and_error_worked_out_by_hand() -> None:
    result = reliability(curve((0.94, 1), (0.96, 0), (0.85, 1), (0.05, 0)))
    assert result.counts.tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 1, 2]
    assert result.confidence[[0, 8, 9]].tolist() == pytest.approx([0.05, 0.85, 0.95])
    assert result.precision[[0, 8, 9]].tolist() == [0.0, 1.0, 0.5]
    assert np.isnan(result.precision[1:8]).all()
    assert result.error == pytest.approx((1 * 0.05 + 1 * 0.15 + 2 * 0.45) / 4)


def test_scores_that_mean_what_they_say_have_no_error() -> None:
    result = reliability(curve((0.75, 1), (0.75, 1), (0.75, 1), (0.75, 0), (1.0, 1)))
    assert result.error == 0.0


def test_a_bin_holds_its_upper_edge() -> None:
    result = reliability(curve((0.5, 1), (np.nextafter(0.5, 1), 1), (1.0, 1), (0.0, 1)), bins=2)
    assert result.counts.tolist() == [2, 2]


def test_without_detections_there_is_no_error() -> None:
    result = reliability(curve())
    assert result.counts.tolist() == [0] * 10
    assert result.error is None
