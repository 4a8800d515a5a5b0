from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rendersight.detections import Detections
from tests.training.truth import NOTHING, ignoring, labelled
from training.data.dataset import LabelledImages
from training.reports.gallery import Mistake, false_alarms, gallery, misses

LEFT, RIGHT, ELSEWHERE = (0, 0, 50, 50), (100, 0, 150, 50), (60, 60, 90, 90)
TRUTH, FOUND = (0, 190, 255), (255, 96, 0)


@pytest.fixture
def photos(tmp_path: Path) -> LabelledImages:
    """Three grey photos with a cat and a dog each."""
    data = labelled(*[[("cat", LEFT), ("dog", RIGHT)]] * 3)
    for image in data.images:
        Image.new("RGB", image.size_wh, "grey").save(tmp_path / image.name)
    return replace(data, images=tuple(replace(image, image_path=tmp_path / image.name) for image in data.images))


def test_describes_false_alarms() -> None:
    data = labelled([("cat", LEFT), ("dog", RIGHT)])
    beside = (110, 10, 160, 60)  # IoU 1600 / 3400
    found = Detections.of(
        [LEFT, LEFT, RIGHT, ELSEWHERE, beside, ELSEWHERE],
        [1, 2, 1, 2, 2, 1],
        [0.95, 0.6, 0.9, 0.7, 0.8, 0.5],
    )
    alarms = false_alarms(data, [found], score_threshold=0.5)
    assert [(alarm.caption, alarm.truth) for alarm in alarms] == [
        ("cat 0.90: is dog", RIGHT),
        ("dog 0.80: IoU 0.47 only", RIGHT),
        ("dog 0.70: no object there", None),
        ("dog 0.60: found twice", LEFT),
    ]
    assert [alarm.found for alarm in alarms] == [RIGHT, beside, ELSEWHERE, LEFT]


def test_detections_in_an_ignored_box_are_no_false_alarms() -> None:
    data = ignoring(labelled([("cat", LEFT)]), (0, 0, 100, 100))
    found = Detections.of([LEFT, LEFT, ELSEWHERE, RIGHT], [2, 1, 1, 1], [0.9, 0.8, 0.8, 0.8])
    alarms = false_alarms(data, [found], score_threshold=0.5)
    assert [alarm.caption for alarm in alarms] == ["dog 0.90: is cat", "cat 0.80: no object there"]


def test_sorts_and_describes_misses() -> None:
    data = labelled([("cat", ELSEWHERE), ("dog", RIGHT)], [("cat", LEFT)])
    found = [Detections.of([RIGHT, RIGHT], [1, 2], [0.4, 0.3]), Detections.of([LEFT], [2], [0.9])]
    lost = misses(data, found, score_threshold=0.5)
    assert [(miss.image, miss.caption, miss.found) for miss in lost] == [
        (0, "dog, 50 px: cat 0.40 found", RIGHT),
        (0, "cat, 30 px: nothing found", None),
    ]


def test_correct_detections_are_no_mistakes() -> None:
    data = labelled([], [("cat", LEFT)])
    found = [NOTHING, Detections.of([LEFT], [1], [0.9])]
    assert false_alarms(data, found, score_threshold=0.5) == []
    assert misses(data, found, score_threshold=0.5) == []


def colours(sheet: Image.Image) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in np.unique(np.asarray(sheet).reshape(-1, 3), axis=0).tolist()}


def test_truth_and_detection_differ_in_colour(photos: LabelledImages) -> None:
    both = gallery(photos, [Mistake(0, RIGHT, ELSEWHERE, "both", 1.0)])
    assert {TRUTH, FOUND} <= colours(both)
    truth_alone = colours(gallery(photos, [Mistake(0, RIGHT, None, "miss", 1.0)]))
    assert TRUTH in truth_alone
    assert FOUND not in truth_alone


def test_shows_two_mistakes_per_photo(photos: LabelledImages) -> None:
    one = gallery(photos, [Mistake(0, LEFT, None, "", 1.0)]).size
    of_one_photo = gallery(photos, [Mistake(0, LEFT, None, "", 1.0)] * 5)
    of_all = gallery(photos, [Mistake(index, LEFT, None, "", 1.0) for index in (0, 0, 0, 1, 1, 1, 2)])
    assert of_one_photo.width == pytest.approx(2 * one[0], abs=10)
    assert of_one_photo.height == one[1]
    assert of_all.size == (gallery(photos, [Mistake(i, LEFT, None, "", 1.0) for i in (0, 0, 1, 1, 2)])).size
    assert gallery(photos, [Mistake(i, LEFT, None, "", 1.0) for i in (0, 1, 2)], most=1).size == one


@pytest.mark.parametrize("box", [(0, 0, 200, 100), (199, 99, 200, 100), (0, 50, 0.1, 50.1), (0, 40, 200, 40.5)])
def test_shows_boxes_at_any_edge(photos: LabelledImages, box: tuple[float, ...]) -> None:
    x0, y0, x1, y1 = box
    sheet = gallery(photos, [Mistake(0, (x0, y0, x1, y1), None, "a caption that is far too long " * 3, 1.0)])
    assert TRUTH in colours(sheet)


def test_empty_gallery_says_none(photos: LabelledImages) -> None:
    assert len(colours(gallery(photos, []))) > 1
