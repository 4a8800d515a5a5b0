"""The golden check accepts rounding and refuses what is wrong."""

import dataclasses

import numpy as np
import pytest

from model_store import golden
from model_store.errors import GoldenMismatch
from model_store.golden import EXACT, REDUCED, GoldenDetections, GoldenDifference
from model_store.manifest import Drift, EngineRecord, GoldenImage
from rendersight.detections import Detections

SIZE_WH = (640, 480)
THRESHOLD = 0.5
COUNT = 24


def grid(score: float = 0.95, side: float = 50) -> Detections:
    """Return 24 objects of three classes, away from the edge and from each other."""
    corners = np.stack(np.meshgrid(np.arange(6) * 100 + 20, np.arange(4) * 110 + 20), -1).reshape(-1, 2)
    boxes = np.hstack([corners, corners + side]).astype(np.float32)
    return Detections.of(boxes, np.arange(COUNT) % 3 + 1, np.full(COUNT, score))


def changed(found: Detections, **fields: object) -> Detections:
    return dataclasses.replace(found, **fields)  # type: ignore[arg-type]


def seen(expected: Detections, found: Detections) -> GoldenDetections:
    image = GoldenImage(expected=golden.expectation(expected, score_threshold=THRESHOLD))
    return GoldenDetections(image, SIZE_WH, found)


def moved(expected: Detections, found: Detections) -> GoldenDifference:
    return golden.compare([seen(expected, found)], score_threshold=THRESHOLD)


def rounded(found: Detections, *, box: float, logit: float) -> Detections:
    """Return detections that moved as rounding does: each box by its own part of its side, each score a little."""
    random = np.random.default_rng(0)
    sides = np.tile(found.boxes_xyxy[:, 2:] - found.boxes_xyxy[:, :2], 2)
    boxes = found.boxes_xyxy + sides * random.normal(0, box, sides.shape)
    scores = 1 / (1 + np.exp(-(np.log(found.scores / (1 - found.scores)) + random.normal(0, logit, len(found)))))
    return Detections.of(boxes, found.labels, scores)


def test_accepts_the_same_detections_in_any_order() -> None:
    backwards = slice(None, None, -1)
    found = grid()
    reversed_ = Detections.of(found.boxes_xyxy[backwards], found.labels[backwards], found.scores[backwards])
    golden.check(moved(found, reversed_), EXACT)


def test_accepts_rounding_of_reduced_precision_but_not_as_exact() -> None:
    rounding = moved(grid(), rounded(grid(), box=0.008, logit=0.5))
    golden.check(rounding, REDUCED.of(COUNT))
    with pytest.raises(GoldenMismatch, match=r"boxes of 24 clear objects moved by 0\.0\d+ \(median\); at most 0\.0\d+"):
        golden.check(rounding, EXACT.of(COUNT))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (grid().above(0.99), "24 of 24 clear objects were not found again"),
        (changed(grid(), labels=np.array([2, 1, 3] * 8)), "not found again with their label"),
        (changed(grid(), boxes_xyxy=grid().boxes_xyxy + np.float32(6)), "the boxes of 24 clear objects moved by 0.12"),
        (changed(grid(), boxes_xyxy=grid().boxes_xyxy * np.float32(1.05)), "moved|not found"),
        (grid(score=0.7), "the scores of 24 clear objects moved"),
        (
            Detections.of(
                np.vstack([grid().boxes_xyxy, grid().boxes_xyxy[:3] + np.float32(55)]),
                [*grid().labels, 1, 2, 3],
                [*grid().scores, 0.9, 0.9, 0.9],
            ),
            "3 objects were found, but are not expected; at most 2 are accepted",
        ),
    ],
    ids=["nothing found", "labels permuted", "boxes shifted", "coordinates scaled", "scores fell", "more found"],
)
def test_refuses_what_is_wrong_in_any_precision(found: Detections, message: str) -> None:
    with pytest.raises(GoldenMismatch, match=message):
        golden.check(moved(grid(), found), REDUCED)


def test_refuses_the_loss_of_one_class_among_many() -> None:
    labels = np.array([1] * 22 + [2] * 2)
    expected = changed(grid(), labels=labels)
    with pytest.raises(GoldenMismatch, match="most of the 2 objects of label 2"):
        golden.check(moved(expected, changed(grid(), labels=np.ones(COUNT, np.int64))), REDUCED)


def test_borderline_scores_and_cut_off_boxes_do_not_decide() -> None:
    at_edge, borderline = (0.0, 300.0, 40.0, 340.0), (300.0, 410.0, 330.0, 440.0)
    expected = Detections.of(
        [*grid().boxes_xyxy, at_edge, borderline], [*grid().labels, 1, 2], [*grid().scores, 0.99, 0.6]
    )
    golden.check(moved(expected, grid()), EXACT)
    golden.check(moved(grid(), expected), EXACT)


def test_few_objects_get_more_room() -> None:
    assert REDUCED.of(1).box == pytest.approx(3 * REDUCED.box)
    assert REDUCED.box < REDUCED.of(100).box < REDUCED.of(4).box < REDUCED.of(1).box == REDUCED.of(0).box


def test_one_object_with_another_label_is_refused() -> None:
    first = Detections.of(grid().boxes_xyxy[:1], [1], [0.95])
    with pytest.raises(GoldenMismatch, match="1 of 1 clear objects"):
        golden.check(moved(first, changed(first, labels=np.array([2]))), REDUCED.of(1))


def test_tolerance_follows_what_the_engine_moved_when_it_was_prepared() -> None:
    record = EngineRecord(data="", image_count=1, figures={}, reference={}, golden_drift=None)
    known = record.model_copy(update={"golden_drift": Drift(box=0.02, logit=0.1)})

    def box(name: str, record: EngineRecord | None, *, is_cpu: bool = True) -> float:
        return golden.tolerance(name, record, is_cpu=is_cpu, count=COUNT).box

    assert box("openvino-int8", known) == pytest.approx(0.05)
    assert box("openvino-int8", record) == box("torch-fp32", None, is_cpu=False) == REDUCED.of(COUNT).box
    assert box("torch-fp32", None) == EXACT.of(COUNT).box
    assert box("openvino-fp32", known) == pytest.approx(0.05)  # its weights may be kept as fp16


def test_unclear_objects_count_where_no_other_is_expected() -> None:
    unsure = grid(score=0.6)
    golden.check(moved(unsure, unsure), EXACT)
    with pytest.raises(GoldenMismatch, match="24 of 24"):
        golden.check(moved(unsure, unsure.above(0.9)), REDUCED)


def test_nothing_expected_means_nothing_sure_may_be_found() -> None:
    nothing = grid().above(0.99)
    golden.check(moved(nothing, nothing), EXACT)
    golden.check(moved(nothing, grid(score=0.6)), EXACT)
    with pytest.raises(GoldenMismatch, match="24 objects were found, but are not expected; at most 0"):
        golden.check(moved(nothing, grid()), REDUCED)


def test_one_detection_does_not_stand_for_two_objects() -> None:
    box = grid().boxes_xyxy[:1]
    twice = Detections.of(np.vstack([box, box]), [1, 1], [0.95, 0.94])
    with pytest.raises(GoldenMismatch, match="1 of 2"):
        golden.check(moved(twice, Detections.of(box, [1], [0.95])), REDUCED)


def test_several_images_count_together() -> None:
    images = [seen(grid(), grid()), seen(grid(), grid().above(0.99))]
    with pytest.raises(GoldenMismatch, match="24 of 48"):
        golden.check(golden.compare(images, score_threshold=THRESHOLD), REDUCED)


def test_expectation_is_what_lies_above_the_threshold_best_first() -> None:
    found = Detections.of([(0, 0, 9, 9)] * 3, [1, 2, 3], [0.5, 0.6, 0.9])
    written = golden.expectation(found, score_threshold=THRESHOLD)
    assert [(item.label_id, item.box_xyxy) for item in written] == [(3, (0, 0, 9, 9)), (2, (0, 0, 9, 9))]
