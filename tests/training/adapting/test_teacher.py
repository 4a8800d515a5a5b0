"""Views of one photo are joined into things, and agreement decides what these are."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model_store.network import load_network
from rendersight.annotations import IGNORE_LABEL, AnnotatedImage
from rendersight.detections import Detections
from tests.training.conftest import plain_bar
from training.adapting.photos import read_photos
from training.adapting.teacher import SCALES, agreement, labelled, look, merge
from training.data.dataset import LabelledImages
from training.releasing.work_folder import WorkFolder

BOX = (10.0, 10.0, 30.0, 30.0)
MOVED = (12.0, 10.0, 32.0, 30.0)
APART = (60.0, 60.0, 90.0, 90.0)
NOTHING = Detections.of([], [], [])


def view(*found: tuple[tuple[float, ...], int, float]) -> Detections:
    return Detections.of([box for box, _, _ in found], [label for _, label, _ in found], [s for _, _, s in found])


def scores(views: Sequence[Detections]) -> list[float]:
    return [round(score, 4) for score in merge(views).scores.tolist()]


def test_views_without_anything_see_nothing() -> None:
    seen = merge([NOTHING, NOTHING])
    assert seen.boxes_xyxy.shape == (0, 4)
    assert agreement([seen], score_threshold=0.5) is None


def test_view_that_misses_an_object_counts_zero() -> None:
    assert scores([view((BOX, 1, 0.9)), NOTHING]) == [0.45]
    assert scores([view((BOX, 1, 0.9)), view((BOX, 1, 0.7))]) == [0.8]


def test_boxes_are_averaged_by_their_scores() -> None:
    seen = merge([view((BOX, 1, 0.9)), view((MOVED, 1, 0.3))])
    np.testing.assert_allclose(seen.boxes_xyxy, [[10.5, 10, 30.5, 30]], rtol=1e-5)


def test_object_gets_the_label_with_the_largest_sum_of_scores() -> None:
    seen = merge([view((BOX, 2, 0.9)), view((MOVED, 1, 0.6)), view((BOX, 1, 0.6))])
    assert seen.labels.tolist() == [1]
    np.testing.assert_allclose([seen.scores[0], seen.support[0], seen.best[0]], [0.4, 2 / 3, 0.9], rtol=1e-5)


def test_view_counts_once_for_an_object() -> None:
    assert scores([view((BOX, 1, 0.8), (MOVED, 1, 0.6), (MOVED, 2, 0.5)), view((BOX, 1, 0.8))]) == [0.8]


def test_objects_apart_stay_apart() -> None:
    seen = merge([view((BOX, 1, 0.9), (APART, 2, 0.6))] * 2)
    assert seen.labels.tolist() == [1, 2]


def test_doubtful_things_become_ignored_boxes() -> None:
    photo = AnnotatedImage("a.jpg", None, None, (100, 100), np.zeros((0, 4), np.float32), ())
    seen = merge([view((BOX, 1, 0.9), (APART, 2, 0.2)), view((BOX, 1, 0.9), ((0, 0, 5, 5), 1, 0.06))])
    image = labelled(photo, seen, ("disc", "square"))
    assert (image.labels, image.boxes_xyxy.tolist()) == (("disc",), [list(BOX)])
    assert [(item.label, item.box_xyxy) for item in image.ignored] == [(IGNORE_LABEL, APART)]
    assert image.ignored[0].is_ignored(with_difficult=False)


def test_agreement_is_the_share_of_views_that_name_a_thing() -> None:
    sure, unsure = merge([view((BOX, 1, 0.9))] * 2), merge([view((BOX, 1, 0.9)), NOTHING])
    assert agreement([sure], score_threshold=0.5) == 1.0
    assert agreement([sure, unsure], score_threshold=0.5) == 0.75
    assert agreement([sure, unsure], score_threshold=0.95) is None


def test_kept_views_are_not_computed_again(store_of_discs: Path, hall: Path, tmp_path: Path) -> None:
    loaded = load_network("discs", store_root=store_of_discs)
    photos = read_photos(hall, labelled=LabelledImages((), ("disc", "square")), say=print, bar=plain_bar)
    said: list[str] = []
    work = WorkFolder(tmp_path, said.append)
    first = look(loaded, photos, device="cpu", work=work, bar=plain_bar)
    assert (len(first), len(said)) == (6, 0)
    again = look(loaded, photos, device="cpu", work=work, bar=plain_bar)
    assert len([line for line in said if "reused" in line]) == len(SCALES)
    np.testing.assert_array_equal(first[0].boxes_xyxy, again[0].boxes_xyxy)
    assert loaded.network.transform.min_size == (96,)
