import contextlib
import io
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from rendersight.annotations.formats import coco_writing
from rendersight.detections import Detections
from rendersight.images import RgbImage
from tests.training.truth import NOTHING, Box, ignoring, labelled, random_case
from training.data.dataset import BrokenDataset, read_dataset
from training.measuring.evaluation import FIGURES, POINT, as_one_class, detect_all, evaluate


@pytest.mark.parametrize("seed", range(4))
def test_the_twelve_figures_are_those_of_pycocotools_on_the_same_files(seed: int) -> None:
    data, found = random_case(seed)
    result = evaluate(data, found)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = coco_writing.dataset(data.images, data.class_names)
        truth.createIndex()
        reference = COCOeval(truth, truth.loadRes(coco_writing.results(found)), "bbox")
        reference.evaluate()
        reference.accumulate()
        reference.summarize()
    assert [result.figures.get(name, -1) for name in FIGURES] == pytest.approx(list(reference.stats))
    assert 0 < result.figures["AP"] < result.figures["AP50"] < 1


def test_perfect_detections_score_one_and_none_score_zero() -> None:
    data = labelled([("cat", (10, 10, 60, 60))], [("dog", (20, 20, 90, 80)), ("cat", (100, 5, 160, 95))], [])
    perfect = [
        Detections.of(image.boxes_xyxy, data.label_ids(image), np.full(len(image.labels), 0.9)) for image in data.images
    ]
    result = evaluate(data, perfect)
    assert result.figures["AP"] == pytest.approx(1.0)
    assert result.per_class_ap == {"cat": 1.0, "dog": 1.0}
    assert result.best_f1.f1 == 1.0
    nothing = evaluate(data, [NOTHING] * 3)
    assert nothing.figures["AP"] == 0.0
    assert nothing.best_f1.f1 == 0.0
    assert nothing.table().endswith("\n\nno correct detection")
    assert (nothing.image_count, nothing.object_count) == (3, 3)


@pytest.mark.parametrize("count", [100, 101, 150])
def test_every_object_of_a_crowd_can_be_found(count: int) -> None:
    boxes = [(float(x), float(y), x + 5.0, y + 4.0) for y in range(0, 100, 5) for x in range(0, 200, 6)][:count]
    data = labelled([("cat", box) for box in boxes])
    result = evaluate(data, [Detections.of(boxes, [1] * count, np.linspace(0.9, 0.5, count))])
    assert result.figures["AP"] == result.figures["APs"] == result.per_class_ap["cat"] == pytest.approx(1.0)
    assert result.figures["AR100"] == pytest.approx(100 / count)
    assert (result.best_f1.f1, len(result.curve.scores)) == (1.0, count)


def test_figures_worked_out_by_hand() -> None:
    # One class, 2 objects; falling scores: hit, miss, hit. AP50 by COCO's 101 points: recall 0..0.5 at precision 1 (51
    # points), beyond at 2/3 (50 points).
    data = labelled([("cat", (0, 0, 50, 50)), ("cat", (100, 0, 150, 50))])
    boxes = [(0, 0, 50, 50), (60, 60, 90, 90), (100, 0, 150, 50)]
    result = evaluate(data, [Detections.of(boxes, [1, 1, 1], [0.9, 0.8, 0.4])])
    assert result.figures["AP50"] == pytest.approx((51 * 1.0 + 50 * 2 / 3) / 101)
    # F1: 2*1*.5/1.5 = .667 after the first, .5 after the second, 2*(2/3)*1/(5/3) = .8 after the third
    assert result.best_f1.f1 == pytest.approx(0.8)
    assert result.best_f1.score_threshold == pytest.approx(0.2)
    assert (result.best_f1.precision, result.best_f1.recall) == pytest.approx((2 / 3, 1.0))
    assert result.per_class_ap50 == {"cat": pytest.approx(result.figures["AP50"], abs=1e-4)}


IGNORED: Box = (0, 50, 100, 100)


def test_a_detection_in_an_ignored_box_counts_neither_for_nor_against() -> None:
    data = ignoring(labelled([("cat", (0, 0, 50, 50)), ("dog", (0, 60, 30, 90))], []), IGNORED)
    inside = [(50, 50, 90, 90), (0, 40, 20, 60)]  # the second one to a half
    clean = [Detections.of([(0, 0, 50, 50), (0, 60, 30, 90)], [1, 2], [0.8, 0.3]), NOTHING]
    found = [
        Detections.of([(0, 0, 50, 50), (0, 60, 30, 90), *inside], [1, 2, 1, 2], [0.8, 0.3, 0.9, 0.9]),
        Detections.of(inside, [2, 1], [0.95, 0.95]),
    ]
    result = evaluate(data, found)
    assert (result.figures["AP50"], result.best_f1.f1) == pytest.approx((1, 1))
    assert result.curve.scores.tolist() == evaluate(data, clean).curve.scores.tolist() == pytest.approx([0.8, 0.3])
    assert (result.object_count, result.ignored_count) == (2, 2)
    assert result.table().startswith("2 images, 2 objects, 2 ignored boxes")
    # above an IoU of 0.5, a detection that is half inside is a false alarm before the only hit of its class
    assert result.figures["AP75"] == pytest.approx(1 / 2)
    assert evaluate(*as_one_class(data, found)).figures["AP50"] == pytest.approx(1)


def test_an_ignored_box_is_not_an_object_to_find() -> None:
    result = evaluate(ignoring(labelled([("cat", (0, 0, 50, 50))]), IGNORED), [NOTHING])
    assert (result.figures["AP"], result.per_class_ap, result.object_count) == (0, {"cat": 0}, 1)
    nothing = evaluate(ignoring(labelled([]), IGNORED), [Detections.of([IGNORED], [1], [0.9])])
    assert (nothing.figures, nothing.object_count, len(nothing.curve.scores)) == ({}, 0, 0)


def test_the_best_threshold_gives_its_own_precision_and_recall() -> None:
    data, found = random_case(7)
    best = evaluate(data, found).best_f1
    kept = evaluate(data, [item.above(best.score_threshold) for item in found])
    assert kept.curve.precision[-1] == pytest.approx(best.precision)
    assert kept.curve.recall[-1] == pytest.approx(best.recall)


def test_the_threshold_lies_between_the_last_let_in_and_the_first_kept_out() -> None:
    data = labelled([("cat", (0, 0, 50, 50))])
    found = [Detections.of([(0, 0, 50, 50), (100, 0, 150, 50)], [1, 1], [0.8, 0.3])]
    assert evaluate(data, found).best_f1.score_threshold == pytest.approx(0.55)


def test_a_threshold_is_not_rounded_past_the_detections_beside_it() -> None:
    data = labelled([("cat", (0, 0, 50, 50))])
    found = [Detections.of([(0, 0, 50, 50), (100, 0, 150, 50)], [1, 1], [0.9999, 0.9995])]
    result = evaluate(data, found)
    threshold = result.summary()["threshold"]
    assert threshold == result.best_f1.score_threshold == pytest.approx(0.9997)
    assert found[0].above(threshold).scores.tolist() == pytest.approx([0.9999])


@pytest.mark.parametrize("seed", range(20))
def test_a_threshold_divides_even_scores_that_are_neighbours_in_float32(seed: int) -> None:
    lower = np.float32(np.random.default_rng(seed).uniform(0.05, 1))
    upper = np.nextafter(lower, np.float32(2))
    data = labelled([("cat", (0, 0, 50, 50))])
    found = Detections.of([(0, 0, 50, 50), (100, 0, 150, 50)], [1, 1], [upper, lower])
    assert len(found.above(evaluate(data, [found]).best_f1.score_threshold)) == 1


def test_without_a_true_object_nothing_is_measured() -> None:
    data = labelled([], [])
    false_alarm = Detections.of([(0, 0, 50, 50)], [1], [0.9])
    for found in ([NOTHING, NOTHING], [false_alarm, NOTHING]):
        result = evaluate(data, found)
        assert result.figures == result.summary() == result.per_class_ap == {}
        assert {result.as_json()[name] for name in (*FIGURES, *POINT)} == {None}
        assert result.table() == "2 images, 0 objects\n\nnot measurable: the images show no object"
        assert result.best_f1.f1 == 0
        assert result.best_f1.score_threshold == 0.5


def test_a_class_without_a_true_object_does_not_count() -> None:
    data = labelled([("cat", (0, 0, 50, 50))])
    found = [Detections.of([(0, 0, 50, 50), (100, 0, 150, 50)], [1, 2], [0.9, 0.95])]
    result = evaluate(data, found)
    assert result.figures["AP"] == pytest.approx(1.0)
    assert list(result.per_class_ap) == ["cat"]
    assert result.best_f1.precision == 0.5  # but its false alarms do


def test_one_class_merges_labels_and_suppresses_nothing() -> None:
    data = labelled([("cat", (0, 0, 50, 50))])
    both = [Detections.of([(0, 0, 50, 50), (0, 0, 50, 50)], [2, 1], [0.9, 0.8])]
    merged_data, merged = as_one_class(data, both)
    assert len(merged[0]) == 2
    result = evaluate(merged_data, merged)
    assert result.figures["AP50"] == pytest.approx(1.0)
    assert result.best_f1.recall == 1.0
    assert evaluate(data, both).best_f1.precision == 0.5


class Blind:
    """An engine that finds nothing."""

    name, device, parallel = "blind", "cpu", 1

    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        return [Detections.of([], [], []) for _ in images]

    def detect_on_every_lane(self, image: RgbImage) -> list[Detections]:
        return self.detect([image])


def test_detection_names_every_image_that_does_not_decode(shapes: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(shapes, tmp_path / "photos")
    for name in ("photo_02.png", "photo_05.png"):
        (folder / name).write_bytes((folder / name).read_bytes()[:2000])
    data = read_dataset(folder, decode=False)
    with pytest.raises(BrokenDataset) as caught:
        detect_all(Blind(), data.images)
    assert [fault.file for fault in caught.value.faults] == ["photo_02.png", "photo_05.png"]
