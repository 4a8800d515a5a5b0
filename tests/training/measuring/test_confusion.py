import numpy as np
import pytest

from rendersight.detections import Detections
from tests.training.truth import NOTHING, ignoring, labelled, random_case
from training.measuring.confusion import confusion_matrix, missed, pair

LEFT, RIGHT, ELSEWHERE = (0, 0, 50, 50), (100, 0, 150, 50), (60, 60, 90, 90)


def test_a_matrix_worked_out_by_hand() -> None:
    data = labelled([("cat", LEFT), ("dog", RIGHT)], [("cat", LEFT)], [])
    found = Detections.of(
        [LEFT, RIGHT, LEFT, ELSEWHERE, RIGHT],
        [1, 1, 2, 1, 2],
        [0.9, 0.8, 0.7, 0.6, 0.4],  # the last one is right, but below the threshold
    )
    matrix = confusion_matrix(data, [found, NOTHING, NOTHING], score_threshold=0.5)
    assert matrix.tolist() == [
        [1, 0, 1],  # a cat found, a cat missed
        [1, 0, 0],  # a dog taken for a cat
        [1, 1, 0],  # a cat out of nothing, a dog where the cat was found already
    ]


def test_a_detection_in_an_ignored_box_counts_only_with_an_object() -> None:
    data = ignoring(labelled([("cat", LEFT)]), (0, 0, 60, 100), ELSEWHERE)
    found = Detections.of(
        [LEFT, LEFT, (40, 20, 80, 40), (41, 20, 81, 40), ELSEWHERE, RIGHT],
        [2, 1, 1, 1, 2, 2],  # the cat taken for a dog, found twice, half inside, less than half, all inside, far away
        [0.9, 0.8, 0.7, 0.7, 0.7, 0.7],
    )
    matrix = confusion_matrix(data, [found], score_threshold=0.5)
    assert matrix.tolist() == [[0, 1, 0], [0, 0, 0], [1, 1, 0]]


def test_nothing_to_find_and_nothing_found() -> None:
    assert not confusion_matrix(labelled([], []), [NOTHING, NOTHING], score_threshold=0.5).any()
    alarms = Detections.of([LEFT], [2], [0.9])
    assert confusion_matrix(labelled([]), [alarms], score_threshold=0.5).tolist() == [[0, 0, 0], [0, 0, 0], [0, 1, 0]]
    blind = confusion_matrix(labelled([("dog", LEFT)]), [NOTHING], score_threshold=0.5)
    assert blind.tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize("seed", range(4))
def test_every_object_and_every_detection_is_counted_once(seed: int) -> None:
    data, found = random_case(seed)
    matrix = confusion_matrix(data, found, score_threshold=0.4)
    labels = [label for image in data.images for label in image.labels]
    assert matrix[:-1].sum(axis=1).tolist() == [labels.count("cat"), labels.count("dog")]
    kept = np.concatenate([item.above(0.4).labels for item in found])
    assert matrix[:, :-1].sum(axis=0).tolist() == [(kept == 1).sum(), (kept == 2).sum()]
    assert matrix[-1, -1] == 0
    assert matrix[:-1, :-1].sum() > 0


@pytest.mark.parametrize("seed", range(4))
def test_pairs_do_not_depend_on_the_order_of_the_detections(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 40, (12, 2))
    boxes = np.hstack([corners, corners + 40]).astype(np.float32)
    found = Detections.of(boxes[4:], [1] * 8, rng.permutation(8) / 10)
    order = rng.permutation(8)
    taken = pair(boxes[:4], found)
    assert pair(boxes[:4], found.select(order)).tolist() == taken[order].tolist()
    assert 1 < len(set(taken[taken >= 0])) == (taken >= 0).sum()


def test_the_surer_detection_takes_what_both_want_and_the_other_one_what_is_left() -> None:
    truth = np.array([(0, 0, 40, 40), (10, 0, 50, 40)], np.float32)
    found = Detections.of([(2, 0, 42, 40), (1, 0, 41, 40)], [1, 1], [0.5, 0.9])
    assert pair(truth, found).tolist() == [1, 0]


def test_half_an_overlap_is_enough_and_less_is_not() -> None:
    truth = np.array([(0, 0, 40, 40)], np.float32)
    assert pair(truth, Detections.of([(0, 0, 40, 20)], [1], [0.9])).tolist() == [0]
    assert pair(truth, Detections.of([(0, 0, 40, 19)], [1], [0.9])).tolist() == [-1]


def test_what_nothing_took_is_missed() -> None:
    assert missed(np.array([-1, 2, -1]), 3).tolist() == [0, 1]
    assert missed(np.zeros(0, np.int64), 2).tolist() == [0, 1]
    assert missed(np.array([-1]), 0).tolist() == []
