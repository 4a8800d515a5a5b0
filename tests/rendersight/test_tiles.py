from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from rendersight.detections import Detections
from rendersight.tiles import ACCEPTED, MAX_TILES, TileChoice, cut, detect_tiled, merge, parse_tiles, plan

SIZES = ((1, 1), (1, 4000), (4000, 1), (7, 5), (640, 640), (1600, 2400), (3000, 4000), (4000, 3000), (5773, 8660))
LARGE = (3000, 4000)


def resized_hw(height: int, width: int) -> tuple[int, int]:
    """The rule of a network with inputs of 800 to 1333 px."""
    scale = min(800 / min(height, width), 1333 / max(height, width))
    return int(height * scale), int(width * scale)


def seen(boxes: ArrayLike, window: Sequence[int], *, labels: ArrayLike, scores: ArrayLike) -> Detections:
    """Return what a perfect detector sees of objects in a window: each visible part that is not a sliver."""
    whole = np.asarray(boxes, float).reshape(-1, 4)
    x0, y0, x1, y1 = window
    visible = whole.clip((x0, y0, x0, y0), (x1, y1, x1, y1))
    share = (visible[:, 2:] - visible[:, :2]).prod(axis=1) / (whole[:, 2:] - whole[:, :2]).prod(axis=1)
    keep = share > 0.2
    moved = visible - [x0, y0, x0, y0]
    return Detections.of(moved[keep], np.asarray(labels)[keep], (np.asarray(scores) * (0.5 + 0.5 * share))[keep])


def looked_at(boxes: ArrayLike, windows: NDArray[np.int64], size_hw: tuple[int, int] = LARGE) -> Detections:
    """Merge what a perfect detector sees in a photo and in its tiles."""
    count = len(np.asarray(boxes).reshape(-1, 4))
    labels, scores = np.arange(count) % 3 + 1, np.full(count, 0.9)
    views = [[0, 0, size_hw[1], size_hw[0]], *windows.tolist()]
    return merge([seen(boxes, view, labels=labels, scores=scores) for view in views], windows)


def in_order(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return boxes[np.lexsort(boxes.T)]


@pytest.mark.parametrize("tiles", ["auto", 1, 2, 4, 7, 20, MAX_TILES])
@pytest.mark.parametrize("size_hw", SIZES)
def test_tiles_cover_every_pixel(size_hw: tuple[int, int], tiles: TileChoice) -> None:
    height, width = size_hw
    windows = plan(height, width, tiles, resized_hw)
    assert len(windows) != 1
    assert len(windows) <= (MAX_TILES if tiles == "auto" else tiles)
    if not len(windows):
        return
    assert (windows[:, :2] >= 0).all()
    assert (windows[:, 2:] <= (width, height)).all()
    assert len(np.unique(windows[:, 2:] - windows[:, :2], axis=0)) == 1
    columns, rows = np.zeros(width, int), np.zeros(height, int)  # the tiles are a grid, so both axes suffice
    for x0, y0, x1, y1 in windows.tolist():
        columns[x0:x1] += 1
        rows[y0:y1] += 1
    assert columns.min() > 0
    assert rows.min() > 0
    assert len(windows) == len(np.unique(windows[:, 0])) * len(np.unique(windows[:, 1]))


@pytest.mark.parametrize("size_hw", SIZES)
def test_plans_the_same_number_for_a_turned_photo(size_hw: tuple[int, int]) -> None:
    height, width = size_hw
    for tiles in ("auto", 5, 12):
        assert len(plan(height, width, tiles, resized_hw)) == len(plan(width, height, tiles, resized_hw))  # type: ignore[arg-type]


def test_auto_leaves_photos_whole_that_the_network_sees_well() -> None:
    assert len(plan(640, 640, "auto", resized_hw)) == 0
    assert len(plan(1600, 2400, "auto", resized_hw)) == 0
    assert len(plan(1700, 2400, "auto", resized_hw)) > 0
    assert len(plan(*LARGE, "off", resized_hw)) == 0


def test_auto_shows_the_network_every_pixel_of_12_megapixels() -> None:
    windows = plan(*LARGE, "auto", resized_hw)
    width, height = (windows[0, 2:] - windows[0, :2]).tolist()
    assert max(resized_hw(height, width)) >= max(height, width)
    assert len(windows) == 20


def test_four_tiles_are_two_by_two() -> None:
    windows = plan(*LARGE, 4, resized_hw)
    # the network sees the photo at 1066 / 4000 of its size, so the tiles overlap by 48 px / 0.2665 = 180.1 px
    assert windows[:, :2].tolist() == [[0, 0], [1909, 0], [0, 1409], [1909, 1409]]
    assert windows[0].tolist() == [0, 0, 2091, 1591]


@pytest.mark.parametrize("tiles", ["auto", 2, 4, 9])
def test_an_object_on_a_seam_comes_out_once(tiles: TileChoice) -> None:
    windows = plan(*LARGE, tiles, resized_hw)
    rng = np.random.default_rng(3)
    for side in (12, 25, 60, 120, 170, 400, 1500, 2900):
        for x1, y1 in windows[:, 2:].tolist():
            for share in (0.05, *rng.uniform(0, 1, 6), 0.95):
                x0 = np.clip(x1 - side * share, 0, 4000 - side)
                y0 = np.clip(y1 - side * rng.uniform(0, 1), 0, 3000 - side)
                box = np.array([[x0, y0, x0 + side, y0 + side]], np.float32)
                found = looked_at(box, windows)
                assert len(found) == 1, (side, box)
                np.testing.assert_allclose(found.boxes_xyxy, box, atol=0.01)


def test_finds_many_objects_of_all_sizes_in_px_of_the_photo() -> None:
    sides = [20, 40, 80, 160, 320, 640]
    boxes = np.concatenate(
        [
            [[x, y, x + side, y + side] for x in range(50 * i, 3300, 700)]
            for i, (side, y) in enumerate(zip(sides, (10, 200, 500, 800, 1200, 2000), strict=True))
        ]
    ).astype(np.float32)
    for tiles in ("auto", 4, 15):
        found = looked_at(boxes, plan(*LARGE, tiles, resized_hw))  # type: ignore[arg-type]
        np.testing.assert_allclose(in_order(found.boxes_xyxy), in_order(boxes), atol=0.01)


def test_an_object_larger_than_a_tile_keeps_its_view_of_the_whole_photo() -> None:
    windows = plan(*LARGE, 4, resized_hw)
    whole = Detections.of([[100, 100, 3900, 2900]], [2], [0.7])
    # each tile mistakes what it sees for an object of its own: cut by the seams, and a detail inside
    part = Detections.of([[100, 100, 2089, 1589], [700, 700, 900, 900]], [2, 2], [0.6, 0.6])
    mirrored = Detections.of([[1, 1, 1990, 1490], [700, 700, 900, 900]], [2, 2], [0.6, 0.6])
    found = merge([whole, part, part, mirrored, mirrored], windows)
    np.testing.assert_array_equal(found.boxes_xyxy, whole.boxes_xyxy)


def test_the_tiles_alone_decide_on_small_objects() -> None:
    windows = plan(*LARGE, 4, resized_hw)  # they overlap by 180 px
    whole = Detections.of([[500, 500, 530, 530], [3000, 500, 3080, 580], [900, 900, 1050, 1050]], [1, 1, 1], [0.9] * 3)
    nothing = Detections.of([], [], [])
    assert merge([whole, *[nothing] * 4], windows).boxes_xyxy.tolist() == [[900, 900, 1050, 1050]]


def test_an_object_before_a_larger_one_of_another_class_stays() -> None:
    windows = plan(*LARGE, 4, resized_hw)
    nothing = Detections.of([], [], [])
    bus = Detections.of([[100, 100, 3900, 2900]], [1], [0.9])
    person = Detections.of([[500, 500, 700, 1000]], [2], [0.8])
    assert merge([bus, person, nothing, nothing, nothing], windows).labels.tolist() == [1, 2]


def test_the_view_that_sees_an_object_best_decides_on_its_labels() -> None:
    windows = np.array([[0, 0, 60, 100], [40, 0, 100, 100]])
    left = Detections.of([[42, 40, 54, 52], [42, 40, 54, 52]], [1, 2], [0.9, 0.3])  # two labels of one object
    right = Detections.of([[3, 41, 15, 53], [3, 41, 15, 53]], [2, 3], [0.8, 0.7])
    found = merge([Detections.of([], [], []), left, right], windows)
    assert found.labels.tolist() == [1, 2]
    found = merge([Detections.of([], [], []), left, right], windows, one_label_iou=0.5)
    assert found.labels.tolist() == [1]


def test_no_objects() -> None:
    windows = plan(*LARGE, 6, resized_hw)
    found = looked_at([], windows)
    assert found.boxes_xyxy.shape == (0, 4)


def test_without_tiles_the_answer_is_unchanged() -> None:
    found = Detections.of([[0, 0, 5, 5], [1, 1, 5, 5]], [1, 2], [0.3, 0.9])
    windows = plan(1, 1, 4, resized_hw)
    assert windows.shape == (0, 4)
    assert merge([found], windows) is found
    assert detect_tiled(lambda images: [found for _ in images], np.zeros((1, 1, 3), np.uint8), windows) is found


def test_detects_in_each_view_once() -> None:
    windows = plan(300, 400, 4, lambda height, width: (height // 4, width // 4))
    pixels = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    shapes = []

    def detect(images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        shapes.extend(image.shape for image in images)
        return [Detections.of([], [], []) for _ in images]

    windows = np.array([[0, 0, 250, 300], [150, 0, 400, 300]])
    assert len(detect_tiled(detect, pixels, windows)) == 0
    assert shapes == [(300, 400, 3), (300, 250, 3), (300, 250, 3)]
    np.testing.assert_array_equal(cut(pixels, windows)[2], pixels[:, 150:])


@pytest.mark.parametrize(("value", "choice"), [("auto", "auto"), ("off", "off"), ("6", 6), (6, 6), (64.0, 64)])
def test_reads_choices(value: object, choice: TileChoice) -> None:
    assert parse_tiles(value) == choice


@pytest.mark.parametrize("value", ["0", "-1", "1000", "65", "abc", "", "06", " 4", "4.5", 0, 65, 4.5, True, None, []])
def test_rejects_other_choices(value: object) -> None:
    with pytest.raises(ValueError, match="is not accepted") as refused:
        parse_tiles(value)
    assert ACCEPTED in str(refused.value)
