"""Each check of a dataset: what it finds, and what it leaves alone."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rendersight.annotations import AnnotatedImage, Fault
from rendersight.annotations.dataset import AnnotatedDataset, Misfit
from rendersight.annotations.formats import FORMATS
from training.data.checks import (
    check_balance,
    check_duplicates,
    check_exposure,
    check_files,
    check_label_names,
    check_leaks,
    check_leaks_against,
    check_misfits,
    check_orientation,
    check_same_boxes,
    check_unused,
)
from training.data.duplicates import Look

BOX = [10, 10, 30, 30]
LOOK = Look("a.png", "sha", 1, np.zeros((32, 32), np.float32), np.ones(256, np.float32), False, (20.0, 200.0), 110.0)


def photo(
    name: str, *labels: str, splits: tuple[str, ...] = (), boxes: list[list[float]] | None = None
) -> AnnotatedImage:
    array = np.array(boxes or [BOX] * len(labels), np.float32).reshape(-1, 4)
    return AnnotatedImage(name, Path(name), Path(name), (100, 100), array, labels, splits=splits)


def photos(**counts: int) -> list[AnnotatedImage]:
    return [photo(f"{label}.png", *[label] * count) for label, count in counts.items()]


def test_unusable_files_are_a_fault() -> None:
    (finding,) = check_files([Fault("a.json", "not JSON"), Fault("b.png", "broken")])
    assert (finding.severity, finding.what) == ("fault", "2 files cannot be used.")
    assert [(spot.file, spot.words) for spot in finding.spots] == [("a.json", "not JSON"), ("b.png", "broken")]
    assert check_files([]) == []


def test_images_that_show_nothing_are_one_finding() -> None:
    looks = [
        replace(LOOK, name="a.png", grey_range=(0, 15)),
        replace(LOOK, name="b.png", grey_range=(240, 255)),
        replace(LOOK, name="c.png", grey_range=(0, 12), is_flat=True),
        replace(LOOK, name="d.png", grey_range=(100, 101), is_flat=True),
        LOOK,
    ]
    (finding,) = check_exposure(looks)
    assert finding.what == "As read, 4 images show next to nothing: flat 1, nearly black 2, nearly white 1."
    assert [spot.words for spot in finding.spots] == ["nearly black", "nearly white", "nearly black", "flat"]
    assert check_exposure([LOOK]) == []


@pytest.mark.parametrize(
    ("name", "severity"), [("labelme", "note"), ("yolo", "note"), ("coco", "warning"), ("cvat", "warning")]
)
def test_orientation_severity_depends_on_format(name: str, severity: str) -> None:
    looks = [LOOK, replace(LOOK, name="b.png", orientation=6)]
    (found,) = check_orientation(looks, is_upright=FORMATS[name].is_upright)
    assert found.severity == severity
    assert [(spot.file, spot.words) for spot in found.spots] == [("b.png", "orientation 6")]
    assert check_orientation([LOOK], is_upright=False) == []


def test_separates_equal_files_from_similar_pictures() -> None:
    looks = [LOOK, LOOK, *(replace(LOOK, name=f"{i}.png", sha256=str(i)) for i in range(3))]
    same, similar = check_duplicates(looks, [(0, 1), (2, 3), (3, 4)])
    assert same.what == "1 image is the same file as another, in 1 set."
    assert similar.what == "2 images are the same picture as another, in 1 set."
    assert [spot.file for spot in similar.spots] == ["0.png", "1.png", "2.png"]
    assert check_duplicates(looks, []) == []


class TestLeaks:
    def test_image_in_two_parts(self) -> None:
        images = [photo("a.png", splits=("train", "val")), photo("b.png", splits=("train", "trainval"))]
        (finding,) = check_leaks(images, [])
        assert [(spot.file, spot.words) for spot in finding.spots] == [("a.png", "in train and val")]

    def test_copies_in_two_parts(self) -> None:
        images = [
            photo("a.png", splits=("train",)),
            photo("b.png", splits=("test",)),
            photo("c.png", splits=("train",)),
        ]
        (finding,) = check_leaks(images, [(0, 1), (0, 2)])
        assert finding.what == "2 images are in several parts of the split, directly or as a copy."
        assert finding.spots[0].words == "in train; same as b.png in test"
        assert check_leaks(images, [(0, 2)]) == []

    def test_no_leak_without_splits(self) -> None:
        assert check_leaks([photo("a.png"), photo("b.png")], [(0, 1)]) == []

    def test_image_of_another_dataset(self) -> None:
        (finding,) = check_leaks_against([LOOK], "holdout", [replace(LOOK, name="x.png"), replace(LOOK, name="y.png")])
        assert finding.what == "1 image is also in holdout."
        assert [spot.words for spot in finding.spots] == ["same as x.png in holdout", "same as y.png in holdout"]


def test_sorts_misfits_by_severity() -> None:
    rows = [
        Misfit("a.png", "six", (-5, 0, 10, 10), 5, is_kept=True),
        Misfit("b.png", "six", (-1, 0, 10, 10), 1, is_kept=True),
        Misfit("c.png", "six", (3, 3, 3, 9), 0, is_kept=False),
        Misfit("d.png", "six", (-9, 0, 10, 10), 9, is_kept=True),
    ]
    lost, far, near = check_misfits(rows)
    assert [[spot.file for spot in item.spots] for item in (lost, far, near)] == [
        ["c.png"],
        ["d.png", "a.png"],
        ["b.png"],
    ]
    assert [item.severity for item in (lost, far, near)] == ["warning", "warning", "note"]
    assert lost.what == "1 box has no area inside the image and is left out."
    assert check_misfits([]) == []


def test_reports_boxes_on_each_other() -> None:
    near = [10, 10, 30, 31]
    images = [
        photo("twice.png", "six", "six", boxes=[BOX, near]),
        photo("torn.png", "six", "two", boxes=[BOX, BOX]),
        photo("apart.png", "six", "six", boxes=[BOX, [10, 10, 30, 35]]),  # IoU 0.8
        photo("none.png"),
    ]
    twice, torn = check_same_boxes(images)
    assert [(spot.file, spot.box_xyxy) for spot in twice.spots] == [("twice.png", (10, 10, 30, 31))]
    assert [(spot.file, spot.words) for spot in torn.spots] == [("torn.png", "six and two")]


@pytest.mark.parametrize(
    ("counts", "is_found"),
    [
        ({"Dog": 50, "dog": 50}, True),
        ({"ice_cream": 5, "ice cream": 5}, True),
        ({"dragon": 100, "dragn": 2}, True),
        ({"dragon": 100, "dragn": 50}, False),
        ({"class_1": 100, "class_2": 2}, False),
        ({"cat": 100, "bat": 2}, False),
        ({"one": 100, "two": 2}, False),
        ({"+": 5, "-": 5}, False),
    ],
)
def test_reports_labels_that_look_alike(counts: dict[str, int], is_found: bool) -> None:
    findings = check_label_names(photos(**counts))
    assert bool(findings) == is_found
    for finding in findings:
        assert all(repr(name) in finding.what for name in counts)
        assert len(finding.spots) == min(counts.values())


def test_reports_imbalance() -> None:
    absent, rare, apart = check_balance(photos(cat=200, dog=19, owl=20), ("cat", "dog", "owl", "emu"))
    assert absent.what == "1 class has no box: emu."
    assert rare.what == "1 class has fewer than 20 boxes: dog (19)."
    assert apart.what == "cat has 11 times as many boxes as dog (200 and 19)."
    assert check_balance(photos(cat=150, owl=20), ("cat", "owl")) == []
    assert check_balance([], ()) == []


def test_reports_unused_files_and_shapes() -> None:
    bare = replace(photo("bare.png"), annotation_path=None)
    found = AnnotatedDataset(
        (photo("a.png", "six"), bare), (), (), Counter({"crowd": 2}), "coco", Path(), (), ("stray.png",), ("x is y",)
    )
    assert [finding.what for finding in check_unused(found)] == [
        "X is y.",
        "1 image has no annotation file: taken as empty.",
        "1 image is in no annotation file and not used.",
        "Shapes that have no box are ignored: crowd (2).",
    ]
    assert check_unused(replace(found, images=(bare,), ignored_shapes=Counter(), unlisted=(), remarks=())) == []
