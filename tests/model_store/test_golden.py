"""The golden check: one to one, by label, overlap and score."""

import pytest

from model_store.errors import GoldenMismatch
from model_store.golden import REDUCED, check, expectation
from model_store.manifest import ExpectedDetection
from rendersight.detections import Detections

LEFT = (0.0, 0.0, 100.0, 100.0)
RIGHT = (200.0, 0.0, 300.0, 100.0)
THRESHOLD = 0.5


def expected(*items: tuple[tuple[float, float, float, float], int, float]) -> list[ExpectedDetection]:
    return [ExpectedDetection(box_xyxy=box, label_id=label, score=score) for box, label, score in items]


def found(*items: tuple[tuple[float, float, float, float], int, float]) -> Detections:
    return Detections.of([box for box, _, _ in items], [label for _, label, _ in items], [score for *_, score in items])


def moved(box: tuple[float, float, float, float], right: float) -> tuple[float, float, float, float]:
    return (box[0] + right, box[1], box[2] + right, box[3])


PAIR = ((LEFT, 1, 0.9), (RIGHT, 2, 0.8))


def test_the_same_again_passes_in_any_order() -> None:
    check(found(*PAIR), expected(*PAIR), score_threshold=THRESHOLD)
    check(found(*PAIR), expected(*reversed(PAIR)), score_threshold=THRESHOLD)


def test_nothing_expected_and_nothing_found_passes() -> None:
    check(found(), [], score_threshold=THRESHOLD)


def test_a_small_difference_passes() -> None:
    # 5 px of 100: 95 of 105, IoU 0.905
    check(found((moved(LEFT, 5), 1, 0.86), PAIR[1]), expected(*PAIR), score_threshold=THRESHOLD)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (found(PAIR[0]), r"label 2 with score 0.80 at \(200, 0, 300, 100\) was not found again"),
        (found(), "label 1 with score 0.90 .* was not found again"),
        (found(*PAIR, ((400, 0, 500, 100), 1, 0.9)), r"\(400, 0, 500, 100\) was found but is not expected"),
        (found(*PAIR, PAIR[0]), "was found but is not expected"),  # one to one
        (found((LEFT, 2, 0.9), (RIGHT, 1, 0.8)), "label 1 .* was not found again"),
        (found((moved(LEFT, 6), 1, 0.9), PAIR[1]), "not found again"),  # 94 of 106, IoU 0.887
        (found((LEFT, 1, 0.84), PAIR[1]), "not found again"),
        (found((LEFT, 1, 0.96), PAIR[1]), "not found again"),
    ],
    ids=["missing", "nothing", "extra", "twice", "labels swapped", "moved", "score fell", "score rose"],
)
def test_a_difference_is_named(answer: Detections, message: str) -> None:
    with pytest.raises(GoldenMismatch, match=message):
        check(answer, expected(*PAIR), score_threshold=THRESHOLD)


def test_one_found_does_not_stand_for_two_expected() -> None:
    with pytest.raises(GoldenMismatch, match=r"score 0\.88 .* was not found again"):
        check(found((LEFT, 1, 0.9)), expected((LEFT, 1, 0.9), (LEFT, 1, 0.88)), score_threshold=THRESHOLD)


def test_a_score_near_the_threshold_may_be_absent_on_either_side() -> None:
    near = ((400.0, 0.0, 500.0, 100.0), 1, 0.54)
    check(found(*PAIR), expected(*PAIR, near), score_threshold=THRESHOLD)
    check(found(*PAIR, near), expected(*PAIR), score_threshold=THRESHOLD)


def test_a_score_beyond_the_tolerance_may_not_be_absent() -> None:
    clear = ((400.0, 0.0, 500.0, 100.0), 1, 0.56)
    with pytest.raises(GoldenMismatch, match="was not found again"):
        check(found(*PAIR), expected(*PAIR, clear), score_threshold=THRESHOLD)
    with pytest.raises(GoldenMismatch, match="is not expected"):
        check(found(*PAIR, clear), expected(*PAIR), score_threshold=THRESHOLD)


def test_what_is_below_the_threshold_does_not_count() -> None:
    check(found(*PAIR, (moved(RIGHT, 200), 1, 0.3)), expected(*PAIR), score_threshold=THRESHOLD)


def test_an_expected_one_may_be_found_below_the_threshold() -> None:
    check(found((LEFT, 1, 0.48)), expected((LEFT, 1, 0.52)), score_threshold=THRESHOLD)


def test_reduced_precision_may_ask_for_less() -> None:
    reduced = found((moved(LEFT, 12), 1, 0.78), PAIR[1])  # 88 of 112, IoU 0.786
    with pytest.raises(GoldenMismatch):
        check(reduced, expected(*PAIR), score_threshold=THRESHOLD)
    check(reduced, expected(*PAIR), score_threshold=THRESHOLD, tolerance=REDUCED)


def test_the_expectation_is_what_lies_above_the_threshold_best_first() -> None:
    answer = found((RIGHT, 2, 0.8), (LEFT, 1, 0.9), (LEFT, 2, 0.5), (RIGHT, 1, 0.1))
    written = expectation(answer, score_threshold=THRESHOLD)
    assert [(item.label_id, item.box_xyxy) for item in written] == [(1, LEFT), (2, RIGHT)]
    check(answer, written, score_threshold=THRESHOLD)
