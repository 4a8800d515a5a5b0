import json

import pytest

from rendersight.detections import Detections
from tests.training.truth import INPUT, NOTHING, labelled, random_case
from training.measuring.measured import Domain, measure
from training.measuring.sim2real import Sim2Real
from training.reports.markdown import page

LEFT, RIGHT = (0, 0, 50, 50), (100, 0, 150, 50)
PAIR = [("cat", LEFT), ("cat", RIGHT)]


def report(synthetic: Domain, *real: Domain, score_threshold: float = 0.5) -> Sim2Real:
    return Sim2Real.of(
        "pets@3", sha256="0" * 64, input_rule=INPUT, score_threshold=score_threshold, synthetic=synthetic, real=real
    )


@pytest.fixture(scope="module")
def perfect() -> Domain:
    return measure("renders", labelled(PAIR, PAIR), [Detections.of([LEFT, RIGHT], [1, 1], [0.9, 0.8])] * 2)


@pytest.fixture(scope="module")
def half() -> Domain:
    """One of two objects is found in each photo, and something wrong with a lower score."""
    found = Detections.of([LEFT, (60, 60, 90, 90)], [1, 2], [0.9, 0.25])
    return measure("desk", labelled(PAIR, PAIR, PAIR), [found] * 3)


def test_ratios_worked_out_by_hand(perfect: Domain, half: Domain) -> None:
    ratio = report(perfect, half).ratio(half)
    assert ratio.title == "ratio to renders"
    assert ratio.values["AP50"] == pytest.approx(51 / 101, abs=1e-4)
    assert ratio.values["recall"] == 0.5
    assert ratio.intervals["AP50"] == pytest.approx((51 / 101, 51 / 101), abs=1e-4)
    assert "threshold" not in ratio.values
    assert "APl" not in ratio.values  # no render has such an object


def test_nothing_found_in_the_renders_gives_no_ratio(half: Domain) -> None:
    blind = measure("renders", labelled(PAIR), [NOTHING])
    ratio = report(blind, half).ratio(half)
    assert (ratio.values, ratio.intervals) == ({}, {})


def test_the_thresholds_are_those_of_the_real_photos(perfect: Domain, half: Domain) -> None:
    thresholds = report(perfect, half).thresholds()
    assert {name: point.score_threshold for name, point in thresholds.items()} == {
        "best F1": 0.575,
        "95% precision": 0.575,
    }


def test_the_page_says_when_no_threshold_is_sure(perfect: Domain) -> None:
    guesses = Detections.of([RIGHT, LEFT], [2, 1], [0.9, 0.8])
    text = page(report(perfect, measure("desk", labelled(PAIR), [guesses])), [])
    assert "No threshold reaches 95% precision on desk." in text
    assert "| desk | 0.4, 0.500, 0.500 | not reached | 0.5, 0.500, 0.500 |" in text


def test_the_page_counts_mistakes_above_the_threshold_in_use(perfect: Domain, half: Domain) -> None:
    above = page(report(perfect, half), [])
    assert "3 objects are found with the right class, 0 with a wrong class, and 3 are missed. 0 detections" in above
    below = page(report(perfect, half, score_threshold=0.2), [])
    assert "above score 0.2, at IoU 0.5: 3 objects are found with the right class, 0 with a wrong class" in below
    assert "and 3 are missed. 3 detections" in below


def test_each_real_set_has_its_column_and_all_are_taken_together(perfect: Domain, half: Domain) -> None:
    other = measure("table", *random_case(3))
    text = page(report(perfect, half, other), [])
    assert (
        "|  | renders (2 images) | desk (3 images) | ratio to renders | table (12 images) | ratio to renders |" in text
    )
    assert "| class | renders | desk | table |" in text
    assert "| desk + table |" in text
    assert "On desk + table, F1 is best above **" in text


def test_the_json_holds_what_the_page_tells(perfect: Domain, half: Domain) -> None:
    document = json.loads(json.dumps(report(perfect, half).as_json(), allow_nan=False))
    assert document["model"] == "pets@3"
    assert document["synthetic"]["figures"]["AP50"] == 1.0
    desk = document["real"][0]
    assert (desk["data"], desk["image_count"], desk["object_count"], desk["detection_count"]) == ("desk", 3, 6, 6)
    assert desk["objects_by_class"] == {"cat": 6, "dog": 0}
    assert desk["ratio"]["figures"]["recall"] == 0.5
    assert desk["thresholds"]["precision_95"]["score_threshold"] == 0.575
    assert desk["thresholds"]["in_use"]["score_threshold"] == 0.5
    assert document["confusion"]["counts"] == [[3, 0, 3], [0, 0, 0], [0, 0, 0]]
    assert document["reliability"]["counts"] == [0, 0, 3, 0, 0, 0, 0, 0, 3, 0]
    assert document["reliability"]["error"] == pytest.approx((3 * 0.1 + 3 * 0.25) / 6, abs=1e-6)


def test_sets_without_objects_or_detections_have_a_page_too(perfect: Domain) -> None:
    for empty in (measure("desk", labelled([], []), [NOTHING] * 2), measure("desk", labelled(PAIR), [NOTHING])):
        drawn = report(perfect, empty)
        assert "There are no detections." in page(drawn, [])
        json.dumps(drawn.as_json(), allow_nan=False)
        assert drawn.as_json()["reliability"]["error"] is None
    assert "mAP@[.5:.95] | – |" in page(report(measure("renders", labelled([]), [NOTHING]), perfect), [])


def test_the_summary_has_a_line_for_each_set(perfect: Domain, half: Domain) -> None:
    lines = report(perfect, half).summary()
    assert lines[0].startswith("renders (2 images): AP 1.000 (1.000 to 1.000), AP50 1.000")
    assert lines[-1] == "desk: best F1 0.667 above 0.57"
