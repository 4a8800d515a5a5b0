"""Boxes at a network's input against its anchors, by examples worked out by hand."""

import numpy as np
import pytest

from rendersight.annotations import AnnotatedImage
from training.config import TrainConfig
from training.data.anchor_fit import Boxes, Geometry, boxes_at_input, check_anchor_fit, check_crowds, geometry_of
from training.data.findings import Finding


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    """Of the small network at its own input size."""
    return geometry_of(TrainConfig(architecture="fasterrcnn_mobilenet_v2_fpn"))


def photo(*boxes: list[float], size_wh: tuple[int, int] = (1280, 1280)) -> AnnotatedImage:
    return AnnotatedImage(
        "a.png", None, None, size_wh, np.array(boxes, np.float32).reshape(-1, 4), ("die",) * len(boxes)
    )


def square(side: float) -> list[float]:
    return [10, 10, 10 + side, 10 + side]


def findings(geometry: Geometry, *boxes: list[float]) -> list[Finding]:
    return check_anchor_fit(boxes_at_input([photo(*boxes)], geometry), geometry)


def test_geometry_matches_network(geometry: Geometry) -> None:
    assert geometry.sizes_px == (24, 36, 52, 76, 128, 256)
    assert geometry.strides_px == (8, 16, 32)
    assert geometry.anchors_wh.shape == (18, 2)
    areas = (geometry.anchors_wh**2).prod(axis=1) ** 0.25
    assert sorted(areas.round(6).tolist()) == sorted([*geometry.sizes_px] * 3)
    assert "shorter side 640 px, longer at most 1066; anchors 24, 36, 52, 76, 128, 256 px" in geometry.words()


@pytest.mark.parametrize(
    ("architecture", "sizes", "strides"),
    [
        ("fasterrcnn_resnet50_fpn", (32, 64, 128, 256, 512), (4, 8, 16, 32, 64)),
        ("fasterrcnn_mobilenet_v3_large_fpn", (32, 64, 128, 256, 512), (32, 64)),
    ],
)
def test_geometry_of_other_networks(architecture: str, sizes: tuple[int, ...], strides: tuple[int, ...]) -> None:
    found = geometry_of(TrainConfig(architecture=architecture, min_size=320))
    assert (found.sizes_px, found.strides_px, found.rule.min_size) == (sizes, strides, 320)


def test_scales_boxes_to_input(geometry: Geometry) -> None:
    found = boxes_at_input([photo(square(100)), photo([0, 0, 32, 64], size_wh=(320, 640))], geometry)
    assert found.sides_wh.tolist() == [[50, 50], pytest.approx([53.3, 106.6], abs=0.1)]  # 1066 / 640 stops the second
    assert found.spots[0].words == "die, 50 x 50 px at the input"


def test_measures_best_anchor_at_same_centre(geometry: Geometry) -> None:
    found = boxes_at_input([photo(square(48), square(24), square(1240), [0, 0, 100, 50])], geometry)
    # half the size at the input: 24 px is an anchor, 12 px has a quarter of its area, 620 px hold 256 px
    assert found.best_iou[:3].tolist() == pytest.approx([1, 0.25, (256 / 620) ** 2], abs=1e-4)
    # 50 x 25 px; the best of 36 px with half the height (50.9 x 25.5) holds it
    assert found.best_iou[3] == pytest.approx(50 * 25 / 36**2, abs=1e-4)


def test_fitting_boxes_give_no_finding(geometry: Geometry) -> None:
    assert findings(geometry, square(48), square(200), [0, 0, 200, 110]) == []
    assert check_anchor_fit(Boxes(np.zeros((0, 2)), np.zeros(0), ()), geometry) == []


def test_small_boxes_suggest_larger_input(geometry: Geometry) -> None:
    found = findings(geometry, square(20), square(200))
    assert [finding.what for finding in found] == [
        "At the network's input, 1 of 2 boxes (50.0%) is smaller than half the smallest anchor (24 px).",
        "At the network's input, 1 of 2 boxes (50.0%) is matched by no anchor: the best anchor at the same centre has "
        "an IoU below 0.3.",
    ]
    assert found[0].severity == "warning"
    # the 5th percentile of 10 and 100 px is 14.5: such boxes reach 12 px already
    assert found[0].advice == "Few boxes are affected; a larger input (--set min_size=...) fits more of them."
    (small, *_) = findings(geometry, *[square(20)] * 30)
    assert "--set min_size=768 brings 95 % of all boxes above this limit, at 1.4 times the work" in small.advice
    (tiny, *_) = findings(geometry, *[square(4)] * 30)
    assert "95 % of all boxes would need an input of 3840 px" in tiny.advice


def test_reports_thin_long_and_large_boxes(geometry: Geometry) -> None:
    assert "less than 8 px wide or high" in findings(geometry, [0, 0, 15, 50])[0].what
    assert any("more than 4 times as long as wide" in item.what for item in findings(geometry, [0, 0, 50, 201]))
    assert not any("as long as wide" in item.what for item in findings(geometry, [0, 0, 50, 199]))
    assert "larger than twice the largest anchor (256 px)" in findings(geometry, square(1026))[0].what


def test_few_boxes_are_a_note_worst_first(geometry: Geometry) -> None:
    (small, *_) = findings(geometry, *[square(100)] * 300, square(22), square(18))
    assert small.severity == "note"
    assert [spot.words for spot in small.spots] == ["die, 9 x 9 px at the input", "die, 11 x 11 px at the input"]


@pytest.mark.parametrize(
    ("counts", "most", "expected"),
    [
        ((3, 100), None, []),
        ((150, 20, 101), None, ["--set detections_per_image=200 raises the limit"]),
        ((150,), 200, []),
        ((1001,), None, ["cut the images into tiles"]),
    ],
)
def test_images_with_more_objects_than_are_reported_are_found(
    counts: tuple[int, ...], most: int | None, expected: list[str]
) -> None:
    geometry = geometry_of(TrainConfig(architecture="fasterrcnn_mobilenet_v2_fpn", detections_per_image=most))
    images = [
        AnnotatedImage(f"{count}.png", None, None, (640, 480), np.zeros((count, 4), np.float32), ("nut",) * count)
        for count in counts
    ]
    findings = check_crowds(images, geometry)
    assert [item in finding.advice for item, finding in zip(expected, findings, strict=True)] == [True] * len(expected)
    assert [spot.file for finding in findings for spot in finding.spots] == [
        f"{count}.png" for count in sorted(counts, reverse=True) if count > geometry.most_detections
    ]
