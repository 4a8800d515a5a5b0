"""Detections: what may be in them, filtering, and overlap of boxes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rendersight.detections import Detections, box_iou, share_inside


def three() -> Detections:
    return Detections.of([[0, 0, 2, 2], [1, 1, 4, 5], [3, 0, 9, 1]], [2, 1, 2], [0.5, 0.9, 0.5])


def test_lists_become_arrays_of_the_right_type() -> None:
    found = three()
    assert (found.boxes_xyxy.dtype, found.labels.dtype, found.scores.dtype) == (np.float32, np.int64, np.float32)
    assert (found.boxes_xyxy.shape, found.labels.shape, found.scores.shape) == ((3, 4), (3,), (3,))
    assert len(found) == 3


def test_nothing_found_is_an_empty_array_of_boxes() -> None:
    empty = Detections.of([], [], [])
    assert (len(empty), empty.boxes_xyxy.shape, empty.labels.shape) == (0, (0, 4), (0,))
    assert empty.by_score().above(0.5).of_labels([1]).boxes_xyxy.shape == (0, 4)


@pytest.mark.parametrize(
    ("boxes", "labels", "scores", "message"),
    [
        ([[0, 0, 1, 1]], [1, 2], [0.5], "do not belong together"),
        ([[0, 0, 1, 1]], [1], [0.5, 0.6], "do not belong together"),
        ([[0, 0, 0, 1]], [1], [0.5], "no area"),
        ([[0, 2, 1, 1]], [1], [0.5], "no area"),
        ([[0, 0, np.inf, 1]], [1], [0.5], "not finite"),
        ([[0, 0, 1, np.nan]], [1], [0.5], "not finite"),
        ([[0, 0, 1, 1]], [1], [np.nan], "not finite"),
    ],
)
def test_what_is_no_detection_is_refused(
    boxes: list[list[float]], labels: list[int], scores: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Detections.of(boxes, labels, scores)


def test_a_score_at_the_threshold_is_not_above_it() -> None:
    found = Detections.of([[0, 0, 1, 1]] * 3, [1, 2, 3], [0.25, 0.5, 0.75])
    assert found.above(0.5).labels.tolist() == [3]
    assert found.above(0.0).labels.tolist() == [1, 2, 3]
    assert len(found.above(1.0)) == 0


def test_best_first_and_equals_in_their_order() -> None:
    ordered = three().by_score()
    assert ordered.scores.tolist() == pytest.approx([0.9, 0.5, 0.5])
    assert ordered.boxes_xyxy.tolist() == [[1, 1, 4, 5], [0, 0, 2, 2], [3, 0, 9, 1]]


def test_select_keeps_rows_together_in_the_order_asked() -> None:
    chosen = three().select(np.array([2, 0]))
    assert chosen.boxes_xyxy[:, 2].tolist() == [9, 2]
    assert chosen.labels.tolist() == [2, 2]
    masked = three().select(np.array([False, True, False]))
    assert masked.boxes_xyxy.tolist() == [[1, 1, 4, 5]]


def test_of_labels() -> None:
    assert three().of_labels([2]).boxes_xyxy[:, 0].tolist() == [0, 3]
    assert len(three().of_labels([])) == 0
    assert len(three().of_labels([1, 2, 7])) == 3


def test_a_box_that_overlaps_only_one_that_is_gone_stays() -> None:
    row = Detections.of([[0, 0, 10, 1], [4, 0, 14, 1], [8, 0, 18, 1]], [1, 1, 1], [0.7, 0.9, 0.8])
    # the best, in the middle, overlaps both by 6 of 14; they overlap each other by 2 of 18
    assert row.suppressed(0.4).boxes_xyxy[:, 0].tolist() == [4]
    assert row.suppressed(6 / 14 + 1e-4).boxes_xyxy[:, 0].tolist() == [4, 8, 0]
    chain = Detections.of(row.boxes_xyxy, row.labels, [0.9, 0.8, 0.7])
    assert chain.suppressed(0.4).boxes_xyxy[:, 0].tolist() == [0, 8]


def test_nothing_suppresses_nothing() -> None:
    assert len(Detections.of([], [], []).suppressed(0.5)) == 0


@pytest.mark.parametrize("class_agnostic", [False, True])
def test_what_is_left_does_not_overlap_and_what_is_gone_does(class_agnostic: bool) -> None:
    random = np.random.default_rng(3)
    corner = random.uniform(0, 50, (60, 2))
    boxes = np.hstack([corner, corner + random.uniform(5, 30, (60, 2))])
    found = Detections.of(boxes, random.integers(1, 4, 60), random.uniform(0, 1, 60))
    kept = found.suppressed(0.3, class_agnostic=class_agnostic)
    assert 0 < len(kept) < 60
    assert (np.diff(kept.scores) <= 0).all()

    def rivals(one: Detections, other: Detections) -> np.ndarray:
        overlap = box_iou(one.boxes_xyxy, other.boxes_xyxy) > 0.3
        return overlap & (class_agnostic | (one.labels[:, None] == other.labels[None, :]))

    assert (rivals(kept, kept) == np.eye(len(kept), dtype=bool)).all()
    better = found.scores[:, None] <= kept.scores[None, :]
    assert (rivals(found, kept) & better).any(axis=1).all()


def test_iou_by_hand() -> None:
    one = np.array([[0, 0, 2, 2]], np.float32)
    others = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [2, 0, 4, 2], [0, 0, 1, 2], [50, 50, 51, 51]], np.float32)
    # the same; 1 of 7; touching edges; half of it; far away
    assert box_iou(one, others)[0] == pytest.approx([1, 1 / 7, 0, 1 / 2, 0])


def test_share_inside_by_hand() -> None:
    boxes = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [-2, 0, 0, 2], [0, 0, 1, 2]], np.float32)
    region = np.array([[0, 0, 2, 4], [9, 9, 10, 10]], np.float32)
    assert share_inside(boxes, region).tolist() == [[1, 0], [0.5, 0], [0, 0], [1, 0]]
    assert share_inside(boxes, region[:0]).shape == (4, 0)


def test_iou_of_nothing_has_the_shape_of_nothing() -> None:
    none, one = np.zeros((0, 4), np.float32), np.array([[0, 0, 2, 2]], np.float32)
    assert box_iou(none, one).shape == (0, 1)
    assert box_iou(one, none).shape == (1, 0)
    assert box_iou(none, none).shape == (0, 0)


BOXES = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(1, 50), st.integers(1, 50)).map(
        lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3])
    ),
    min_size=1,
    max_size=6,
).map(lambda boxes: np.array(boxes, np.float32))


@settings(max_examples=50, deadline=None)
@given(BOXES, BOXES)
def test_iou_is_symmetric_bounded_and_one_with_itself(a: np.ndarray, b: np.ndarray) -> None:
    overlap = box_iou(a, b)
    np.testing.assert_allclose(overlap, box_iou(b, a).T)
    assert ((overlap >= 0) & (overlap <= 1)).all()
    np.testing.assert_allclose(np.diag(box_iou(a, a)), 1, rtol=1e-6)
