import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.measuring.thresholds import Curve, at_precision, at_score, best_f1


def curve(scores: list[float], hits: list[int], *, true_count: int) -> Curve:
    return Curve.of(np.array(scores, np.float64), np.array(hits, bool), true_count=true_count)


FALLING = curve([0.7, 0.9, 0.6, 0.8], [0, 1, 1, 1], true_count=4)  # in order of score: hit, hit, miss, hit


def test_a_curve_worked_out_by_hand() -> None:
    assert FALLING.scores.tolist() == [0.9, 0.8, 0.7, 0.6]
    assert FALLING.hits.tolist() == [True, True, False, True]
    assert FALLING.precision.tolist() == pytest.approx([1, 1, 2 / 3, 3 / 4])
    assert FALLING.recall.tolist() == [0.25, 0.5, 0.5, 0.75]


def test_the_best_f1_worked_out_by_hand() -> None:
    best = best_f1(FALLING)  # .4, .667, .571, .75
    assert (best.score_threshold, best.f1) == (0.3, 0.75)


def test_the_threshold_of_a_precision_lets_in_as_much_as_it_can() -> None:
    sure = at_precision(FALLING, 0.95)
    assert sure is not None
    assert (sure.score_threshold, sure.precision, sure.recall) == (0.75, 1.0, 0.5)
    looser = at_precision(FALLING, 0.7)  # not kept at the third detection, but again at the fourth
    assert looser is not None
    assert (looser.precision, looser.recall) == (0.75, 0.75)


def test_equal_scores_are_let_in_together() -> None:
    assert at_precision(curve([0.9, 0.9], [1, 0], true_count=1), 0.95) is None


def test_nothing_found_or_nothing_right_has_no_threshold_of_its_own() -> None:
    for empty in (curve([], [], true_count=3), curve([0.9], [0], true_count=3)):
        assert at_precision(empty, 0.95) is None
        assert (best_f1(empty).score_threshold, best_f1(empty).f1) == (0.5, 0.0)


def test_a_given_threshold_is_strict() -> None:
    point = at_score(FALLING, 0.7)
    assert (point.score_threshold, point.precision, point.recall) == (0.7, 1.0, 0.5)
    nothing = at_score(FALLING, 0.9)
    assert (nothing.precision, nothing.recall, nothing.f1) == (0.0, 0.0, 0.0)


SCORED = st.lists(st.tuples(st.sampled_from([0.1, 0.25, 0.5, 0.75, 1.0]), st.booleans()), min_size=1, max_size=12)


@given(SCORED, st.floats(0.05, 1.0))
def test_no_other_threshold_of_this_precision_finds_more(scored: list[tuple[float, bool]], precision: float) -> None:
    drawn = curve([score for score, _ in scored], [int(hit) for _, hit in scored], true_count=len(scored))
    found = at_precision(drawn, precision)
    enough = [
        point.recall
        for point in (at_score(drawn, score) for score in (0.0, 0.1, 0.25, 0.5, 0.75))
        if point.precision >= precision
    ]
    if found is None:
        assert enough == []
    else:
        assert found.recall == max(enough)
        assert at_score(drawn, found.score_threshold) == found
