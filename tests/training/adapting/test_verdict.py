"""The verdict says what is known, and nothing that measures worse is published."""

from typing import Any

import numpy as np
import pytest

from model_store.store import Release
from rendersight.annotations import AnnotatedImage
from rendersight.detections import Detections
from training.adapting.verdict import Difference, difference, judge, share_kept
from training.data.dataset import LabelledImages

BOX = np.array([[10, 10, 30, 30]], np.float32)
RIGHT, WRONG = Detections.of(BOX, [1], [0.9]), Detections.of(BOX + 50, [1], [0.9])


def photos(count: int, *, boxes: int = 1) -> LabelledImages:
    images = [
        AnnotatedImage(f"{number}.jpg", None, None, (100, 100), BOX[:boxes], ("die",) * boxes)
        for number in range(count)
    ]
    return LabelledImages(tuple(images), ("die",))


def test_difference_of_equal_detectors_is_exactly_zero() -> None:
    found = [RIGHT, WRONG, RIGHT, RIGHT]
    assert difference(photos(4), found, found) == Difference(0, 0, 0)


def test_difference_by_hand() -> None:
    measured = difference(photos(6), [WRONG] * 6, [RIGHT] * 6)
    assert measured is not None
    assert (round(measured.points, 6), round(measured.low, 6), round(measured.high, 6)) == (100, 100, 100)
    opposite = difference(photos(6), [RIGHT] * 6, [WRONG] * 6)
    assert opposite is not None
    assert opposite.points == pytest.approx(-100)


def test_interval_contains_the_difference() -> None:
    measured = difference(photos(8), [RIGHT, *[WRONG] * 7], [*[RIGHT] * 5, *[WRONG] * 3])
    assert measured is not None
    assert measured.low < measured.points < measured.high


def test_photos_without_objects_measure_nothing() -> None:
    assert difference(photos(3, boxes=0), [RIGHT] * 3, [RIGHT] * 3) is None


@pytest.mark.parametrize(
    ("given", "text", "is_published"),
    [
        ({"measured": Difference(6.1, 4.3, 7.9)}, "better by 6.1 ± 1.8 AP50 on 12 labelled photos", True),
        (
            {"measured": Difference(1.0, -1.0, 3.0)},
            "cannot tell: higher by 1.0 ± 2.0 AP50 on 12 labelled photos",
            True,
        ),
        (
            {"measured": Difference(-0.5, -3.0, 2.0)},
            "worse: by 0.5 ± 2.5 AP50 on 12 labelled photos; kept dice@6",
            False,
        ),
        ({"labelled_count": 0}, "cannot tell: no labels; agreement between views rose from 0.71 to 0.83", True),
        (
            {"labelled_count": 1},
            "cannot tell: 1 labelled photo, too few to learn from and to measure on; agreement between views rose "
            "from 0.71 to 0.83",
            True,
        ),
        (
            {"agreements": (0.83, 0.71), "labelled_count": 0},
            "worse: agreement between views fell from 0.83 to 0.71; kept dice@6",
            False,
        ),
        ({"agreements": (0.8, None)}, "worse: the views agree on no object; kept dice@6", False),
        (
            {"measured": Difference(6.1, 4.3, 7.9), "kept": 0.5},
            "worse: finds 50% of the objects on the golden images of dice@6; kept dice@6",
            False,
        ),
    ],
)
def test_verdict(given: dict[str, Any], text: str, *, is_published: bool) -> None:
    facts = {"measured": None, "labelled_count": 12, "agreements": (0.71, 0.83), "kept": 1.0, **given}
    verdict = judge("dice@6", **facts)
    assert (str(verdict), verdict.is_published) == (text, is_published)


def test_share_kept_counts_objects_with_their_labels(discs: Release) -> None:
    manifest = discs.manifest
    expected = [image.expected for image in manifest.golden]
    assert sum(map(len, expected)) > 1
    same = [
        Detections.of(
            [item.box_xyxy for item in of_image],
            [item.label_id for item in of_image],
            [item.score for item in of_image],
        )
        for of_image in expected
    ]
    assert share_kept(manifest, same) == 1
    other = [Detections(item.boxes_xyxy, 3 - item.labels, item.scores) for item in same]
    assert share_kept(manifest, other) == 0
    assert share_kept(manifest, [Detections.of([], [], [])] * len(same)) == 0
