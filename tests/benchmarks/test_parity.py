"""An exported file is compared with eager fp32, and every picture that differs is printed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.parity import difference, main, pictures
from rendersight.detections import Detections

ONE_PX = (1.0, 1.0, 1.0, 1.0)
BOXES = [[10, 10, 50, 50], [10, 10, 50, 50], [100, 20, 140, 60]]


def detections(boxes: Sequence[Sequence[float]] = BOXES, scores: Sequence[float] = (0.9, 0.8, 0.7)) -> Detections:
    return Detections.of(np.array(boxes).reshape(-1, 4), [1] * len(boxes), scores)


def test_equal_detections_are_alike_in_any_order() -> None:
    found = detections().select(np.array([2, 1, 0]))
    row = difference("x", detections(), found, ONE_PX)
    assert (row.expected, row.found, row.box_px, row.score) == (3, 3, 0, 0)
    assert row.is_alike


def test_distances_are_px_of_the_networks_input() -> None:
    found = detections([*BOXES[:2], [100, 20, 140, 60.04]])
    assert difference("x", detections(), found, (0.2, 0.2, 0.2, 0.2)).is_alike
    row = difference("7 many 64 x 48", detections(), found, (0.5, 0.5, 0.5, 0.5))
    assert not row.is_alike
    assert str(row) == "7 many 64 x 48: 3 objects, 3 in the file; boxes differ by 0.0200 px, scores by 0.000000"


@pytest.mark.parametrize(
    "found",
    [
        detections(BOXES[:2], (0.9, 0.8)),
        detections([], []),
        detections(scores=(0.9, 0.8, 0.7002)),
        detections([*BOXES[:2], BOXES[0]]),  # as many, but one is missing
    ],
)
def test_another_number_score_or_object_is_not_alike(found: Detections) -> None:
    assert not difference("x", detections(), found, ONE_PX).is_alike


def test_objects_at_the_floor_do_not_count() -> None:
    assert difference("x", detections(), detections(scores=(0.9, 0.8, 0.05)), ONE_PX).found == 2


def test_pictures_are_of_every_kind_and_repeat() -> None:
    some = list(pictures(12))
    assert [picture.name.split()[1] for picture in some] == ["none", "one", "many", "render"] * 3
    shapes = {picture.pixels.shape for picture in some}
    assert {(1, 1, 3), (1, 4000, 3), (4000, 1, 3)} <= shapes
    again = list(pictures(12))
    assert all(np.array_equal(one.pixels, other.pixels) for one, other in zip(some, again, strict=True))
    assert all(picture.pixels.dtype == np.uint8 for picture in some)


@pytest.mark.parametrize("runtime", ["onnxruntime", pytest.param("openvino", marks=pytest.mark.long)])
def test_a_file_keeps_every_limit_on_a_few_pictures(
    runtime: str, tiny_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["tiny", "--store", str(tiny_store), "--count", "8", "--runtime", runtime])
    printed = capsys.readouterr().out
    assert status == 0, printed
    assert f"{runtime}, 8 pictures" in printed
    assert "the same number of objects above 0.05: 8 (100.0%; accepted: 99.5%)" in printed
