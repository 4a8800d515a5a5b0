import numpy as np
import pytest

from rendersight.detections import Detections
from tests.training.truth import NOTHING, labelled, random_case
from training.measuring.evaluation import evaluate
from training.measuring.measured import ANY_AP50, measure, pool

LEFT, RIGHT = (0, 0, 50, 50), (100, 0, 150, 50)


def test_merged_classes_forgive_a_wrong_name() -> None:
    domain = measure("photos", labelled([("cat", LEFT)]), [Detections.of([LEFT], [2], [0.9])])
    assert (domain.figures()["AP50"], domain.figures()[ANY_AP50]) == (0.0, 1.0)
    assert domain.intervals() == {"AP": (0.0, 0.0), "AP50": (0.0, 0.0), ANY_AP50: (1.0, 1.0)}


def test_its_metrics_are_those_of_a_manifest() -> None:
    data, found = random_case(0)
    metrics = measure("photos", data, found).metrics()
    result = evaluate(data, found)
    assert (metrics.data, metrics.image_count) == ("photos", 12)
    assert metrics.figures["AP"] == round(result.figures["AP"], 4)
    assert metrics.per_class_ap50 == result.per_class_ap50
    for name, (low, high) in metrics.intervals.items():
        assert low < metrics.figures[name] < high


def test_sizes_are_square_roots_of_areas() -> None:
    domain = measure("photos", labelled([("cat", (10, 0, 14, 9))], [], [("dog", LEFT)]), [NOTHING] * 3)
    assert domain.sizes_px().tolist() == [6.0, 50.0]
    assert measure("empty", labelled([]), [NOTHING]).sizes_px().shape == (0,)


def test_without_objects_there_is_no_interval() -> None:
    domain = measure("empty", labelled([], []), [NOTHING, NOTHING])
    assert domain.intervals() == {}
    assert domain.figures() == {}


def test_sets_taken_together_count_as_one() -> None:
    first, second = measure("a", *random_case(1)), measure("b", *random_case(2))
    both = pool([first, second])
    assert both.name == "a + b"
    assert (both.result.image_count, len(both.found)) == (24, 24)
    assert both.result.object_count == first.result.object_count + second.result.object_count
    assert len(both.result.curve.scores) == len(first.result.curve.scores) + len(second.result.curve.scores)
    assert both.result.curve.hits.sum() == first.result.curve.hits.sum() + second.result.curve.hits.sum()
    assert pool([first]) is first


def test_pooled_detections_stay_with_their_images() -> None:
    right = measure("a", labelled([("cat", LEFT)]), [Detections.of([LEFT], [1], [0.9])])
    wrong = measure("b", labelled([("cat", RIGHT)]), [Detections.of([LEFT], [1], [0.8])])
    both = pool([wrong, right]).result
    assert both.curve.hits.tolist() == [True, False]
    assert both.best_f1.score_threshold == pytest.approx(0.85)
    assert np.isfinite(both.figures["AP"])
