import numpy as np
import pytest

from rendersight.detections import Detections
from tests.training.truth import NOTHING, ignoring, labelled, random_case
from training.data.dataset import LabelledImages
from training.measuring.bootstrap import average_precision, interval, resample
from training.measuring.evaluation import evaluate

LEFT, RIGHT = (0, 0, 50, 50), (100, 0, 150, 50)


@pytest.mark.parametrize("seed", range(4))
def test_each_image_once_gives_the_figures_of_pycocotools(seed: int) -> None:
    data, found = random_case(seed)
    data = ignoring(data, (20, 0, 90, 80))
    result = evaluate(data, found)
    assert any(item.ignored.any() for item in result.matches.classes)
    by_iou = average_precision(result.matches, np.ones((1, len(data.images)), np.int64))
    assert by_iou.shape == (1, 10)
    assert by_iou.mean() == pytest.approx(result.figures["AP"])
    assert by_iou[0, 0] == pytest.approx(result.figures["AP50"])


@pytest.mark.parametrize("seed", range(4))
def test_an_image_drawn_twice_counts_as_pycocotools_counts_two_copies_of_it(seed: int) -> None:
    data, found = random_case(seed)
    data = ignoring(data, (20, 0, 90, 80))
    times = np.random.default_rng(seed).integers(0, 4, len(data.images))
    copies = [index for index, count in enumerate(times) for _ in range(count)]
    images = tuple(data.images[index] for index in copies)
    expected = evaluate(LabelledImages(images, data.class_names), [found[index] for index in copies])
    by_iou = average_precision(evaluate(data, found).matches, times[None])
    assert by_iou.mean() == pytest.approx(expected.figures["AP"])
    assert by_iou[0, 0] == pytest.approx(expected.figures["AP50"])


def test_images_that_are_all_alike_leave_no_doubt() -> None:
    data = labelled(*[[("cat", LEFT), ("cat", RIGHT)]] * 5)  # one of two found: precision 1 on 51 of 101 recall points
    drawn = resample(evaluate(data, [Detections.of([LEFT], [1], [0.9])] * 5).matches, count=50)
    for values in (drawn.ap, drawn.ap50):
        assert values.shape == (50,)
        assert interval(values) == pytest.approx((51 / 101, 51 / 101))


def test_more_images_leave_less_doubt() -> None:
    data, found = random_case(0)
    more = LabelledImages(data.images * 9, data.class_names)
    few, many = (evaluate(data, found).matches, evaluate(more, found * 9).matches)
    widths = [np.ptp(interval(resample(matches).ap50) or (0.0, 0.0)) for matches in (few, many)]
    assert widths[0] / widths[1] == pytest.approx(3, rel=0.35)  # the square root of 9


def test_the_seed_alone_decides() -> None:
    matches = evaluate(*random_case(1)).matches
    first, again, other = (resample(matches, count=20, seed=seed).ap.tolist() for seed in (3, 3, 4))
    assert first == again != other


def test_drawings_are_measured_in_blocks_as_they_would_be_at_once() -> None:
    matches = evaluate(*random_case(2)).matches
    times = np.random.default_rng(5).multinomial(12, np.full(12, 1 / 12), size=120)
    assert resample(matches, count=120, seed=5).ap50.tolist() == average_precision(matches, times)[:, 0].tolist()


def test_a_drawing_without_objects_does_not_count() -> None:
    matches = evaluate(labelled([("cat", LEFT)], []), [Detections.of([LEFT], [1], [0.9]), NOTHING]).matches
    drawn = resample(matches, count=100)
    assert 0 < np.isnan(drawn.ap).sum() < 100
    assert interval(drawn.ap) == pytest.approx((1.0, 1.0))


def test_without_objects_or_detections() -> None:
    nowhere = resample(evaluate(labelled([], []), [NOTHING, NOTHING]).matches, count=5)
    assert np.isnan(nowhere.ap).all()
    assert interval(nowhere.ap) is None
    blind = resample(evaluate(labelled([("cat", LEFT)]), [NOTHING]).matches, count=5)
    assert blind.ap.tolist() == [0.0] * 5


def test_an_interval_leaves_out_as_much_on_either_side() -> None:
    assert interval(np.arange(101.0), level=0.9) == pytest.approx((5.0, 95.0))
