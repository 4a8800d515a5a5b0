import numpy as np
import pytest

from app.errors import InvalidParameter
from app.inference.selection import check_labels, default_threshold, select, threshold_of
from app.schemas import DetectQuery
from rendersight.detections import Detections
from tests.app.fakes import CARD, FOUND


def selected(found: Detections = FOUND, **query: object) -> Detections:
    asked = DetectQuery.model_validate(query)
    return select(found, asked, class_names=CARD.class_names, score_threshold=threshold_of(asked, CARD, None))


@pytest.mark.parametrize(
    ("configured", "expected"),
    [(None, 0.6), (0.9, 0.9), (0.0, 0.05), (0.05, 0.05)],
    ids=["release", "set", "0", "floor"],
)
def test_default_threshold_is_at_least_the_floor(configured: float | None, expected: float) -> None:
    assert default_threshold(CARD, configured) == expected


def test_scores_are_strictly_above_the_threshold() -> None:
    kept = selected(FOUND, score_threshold=float(np.float32(0.8)))
    assert kept.scores.tolist() == pytest.approx([0.95])


def test_below_the_floor_the_floor_is_used() -> None:
    assert threshold_of(DetectQuery(score_threshold=0.01), CARD, None) == CARD.score_floor
    assert len(selected(score_threshold=0.01)) == 5


def test_keeps_the_better_of_overlapping_objects() -> None:
    inside = [[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 9, 9], [20, 20, 30, 30]]
    crowded = Detections.of(inside, [1, 2, 1, 1], [0.9, 0.8, 0.7, 0.6])
    by_class = selected(crowded, score_threshold=0, iou_threshold=0.5)
    assert by_class.scores.tolist() == pytest.approx([0.9, 0.8, 0.6])
    agnostic = selected(crowded, score_threshold=0, iou_threshold=0.5, class_agnostic=True)
    assert agnostic.scores.tolist() == pytest.approx([0.9, 0.6])
    assert len(selected(crowded, score_threshold=0, class_agnostic=True)) == 4


def test_label_does_not_report_the_second_guess() -> None:
    die = Detections.of([[0, 0, 10, 10], [0, 0, 10, 10], [20, 0, 30, 10]], [1, 2, 2], [0.9, 0.8, 0.7])
    kept = selected(die, score_threshold=0.5, iou_threshold=0.5, class_agnostic=True, labels=["pear"])
    assert kept.scores.tolist() == pytest.approx([0.7])


def test_labels_filter_before_the_count_cuts() -> None:
    kept = selected(FOUND, score_threshold=0.0, labels=["pear", "plum"], max_detections=2)
    assert kept.labels.tolist() == [2, 3]


def test_keeps_the_best_in_any_input_order() -> None:
    shuffled = FOUND.select(np.array([3, 0, 4, 2, 1]))
    kept = selected(shuffled, score_threshold=0.0, max_detections=3)
    assert kept.scores.tolist() == pytest.approx([0.95, 0.8, 0.6])


def test_nothing_found_stays_nothing() -> None:
    assert selected(Detections.of([], [], []), labels=["plum"], max_detections=1).boxes_xyxy.shape == (0, 4)


def test_names_unknown_labels() -> None:
    with pytest.raises(InvalidParameter, match="no such class: 'fig', 'kiwi'; accepted: apple, pear, plum") as raised:
        check_labels(["apple", "fig", "kiwi"], CARD.class_names)
    assert [(item.name, item.value) for item in raised.value.errors] == [("labels", "fig"), ("labels", "kiwi")]
