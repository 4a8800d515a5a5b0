import pytest

from rendersight.detections import Detections
from tests.training.truth import NOTHING, labelled, random_case
from training.measuring.evaluation import evaluate

LEFT, RIGHT = (0, 0, 50, 50), (100, 0, 150, 50)


def test_matches_worked_out_by_hand() -> None:
    data = labelled([("cat", LEFT)], [], [("cat", LEFT), ("cat", RIGHT), ("dog", RIGHT)])
    shifted = (0, 0, 50, 40)  # IoU 0.8: right up to there
    found = [Detections.of([LEFT], [1], [0.6]), NOTHING, Detections.of([shifted, (60, 60, 90, 90)], [1, 1], [0.9, 0.7])]
    matches = evaluate(data, found).matches
    cats, dogs = matches.classes
    assert matches.image_count == 3
    assert cats.scores.tolist() == pytest.approx([0.9, 0.7, 0.6])
    assert cats.images.tolist() == [2, 2, 0]
    assert cats.hits.tolist() == [[True, False, True]] * 7 + [[False, False, True]] * 3
    assert cats.true_counts.tolist() == [1, 0, 2]
    assert (dogs.scores.shape, dogs.hits.shape) == ((0,), (10, 0))
    assert dogs.true_counts.tolist() == [0, 0, 1]
    assert (cats.true_count, dogs.true_count) == (3, 1)


def test_an_image_counts_at_most_100_detections_of_a_class() -> None:
    many = Detections.of([LEFT] * 120, [1] * 120, [0.5] * 120)
    assert evaluate(labelled([("cat", LEFT)]), [many]).matches.classes[0].hits.shape == (10, 100)


@pytest.mark.parametrize("seed", range(4))
def test_all_objects_and_detections_are_there(seed: int) -> None:
    data, found = random_case(seed)
    matches = evaluate(data, found).matches
    assert sum(item.true_count for item in matches.classes) == sum(len(image.labels) for image in data.images)
    assert sum(len(item.scores) for item in matches.classes) == sum(len(item) for item in found)
