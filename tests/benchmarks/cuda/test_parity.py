"""Parity of an engine with the reference, on boxes made by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.cuda.parity import EXACT, REDUCED, compare
from rendersight.detections import Detections

BOXES = np.array([[0, 0, 100, 100], [200, 0, 300, 100], [0, 200, 100, 300], [200, 200, 300, 300]], np.float32)
KNOWN = Detections.of(BOXES, [1, 2, 3, 1], [0.9, 0.8, 0.7, 0.3])
"""Three clear objects and one below the threshold."""


def found(
    boxes: NDArray[np.float32] = KNOWN.boxes_xyxy,
    labels: NDArray[np.int64] = KNOWN.labels,
    scores: NDArray[np.float32] = KNOWN.scores,
) -> Detections:
    return Detections.of(boxes, labels, scores)


def test_same_objects_are_within_limits() -> None:
    parity = compare([KNOWN, KNOWN], [KNOWN, KNOWN])
    assert (parity.clear, parity.again, parity.new) == (6, 6, 0)
    assert parity.is_within(EXACT)


def test_rounding_is_within_reduced_limits_only() -> None:
    parity = compare([KNOWN], [found(KNOWN.boxes_xyxy + 0.5, scores=KNOWN.scores - np.float32(0.01))])
    assert (parity.clear, parity.again, parity.new) == (3, 3, 0)
    np.testing.assert_allclose(parity.box_changes_px, [0.5] * 3)
    np.testing.assert_allclose(parity.score_changes, [0.01] * 3, rtol=1e-4)
    assert parity.is_within(REDUCED)
    assert not parity.is_within(EXACT)


@pytest.mark.parametrize(
    ("other", "again", "new"),
    [
        pytest.param(found(KNOWN.boxes_xyxy + 10), 0, 3, id="boxes elsewhere"),
        pytest.param(found(labels=KNOWN.labels % 3 + 1), 0, 3, id="labels permuted"),
        pytest.param(found(KNOWN.boxes_xyxy + 2), 3, 0, id="boxes shifted by 2 px"),
        pytest.param(found(scores=KNOWN.scores - np.float32(0.1)), 3, 0, id="lower scores"),
        pytest.param(KNOWN.select(np.arange(2)), 2, 0, id="one lost"),
        pytest.param(Detections.of([], [], []), 0, 0, id="nothing found"),
    ],
)
def test_wrong_objects_are_beyond_limits(other: Detections, again: int, new: int) -> None:
    parity = compare([KNOWN], [other])
    assert (parity.clear, parity.again, parity.new) == (3, again, new)
    assert len(parity.score_changes) == len(parity.box_changes_px) == again
    assert not parity.is_within(REDUCED)


def test_ignores_object_that_becomes_clear() -> None:
    parity = compare([KNOWN], [found(scores=np.array([0.9, 0.8, 0.7, 0.6], np.float32))])
    assert (parity.clear, parity.again, parity.new) == (3, 3, 0)


def test_new_object_is_beyond_limits() -> None:
    more = Detections.of([*BOXES, [400, 0, 500, 100]], [*KNOWN.labels, 1], [*KNOWN.scores, 0.9])
    parity = compare([KNOWN], [more])
    assert (parity.again, parity.new) == (3, 1)
    assert not parity.is_within(REDUCED)


def test_no_objects_is_not_parity() -> None:
    nothing = Detections.of([], [], [])
    assert not compare([nothing], [nothing]).is_within(REDUCED)
