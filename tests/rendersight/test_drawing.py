"""Boxes and captions on a copy of an image."""

from functools import partial

import numpy as np
import pytest

from rendersight.detections import Detections
from rendersight.drawing import class_colour, draw_boxes, draw_detections

GREY = 90


def grey(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), GREY, np.uint8)


def boxes(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


def test_the_outline_lies_on_the_box_in_the_class_colour() -> None:
    drawn = np.asarray(draw_boxes(grey(60, 80), boxes((10, 20, 50, 45)), [3], [""]))
    painted = (drawn != GREY).any(axis=2)
    ys, xs = np.nonzero(painted)
    # the box covers the pixels from x0 up to x1, which is not its own
    assert (xs.min(), ys.min(), xs.max(), ys.max()) == (10, 20, 49, 44)
    assert {tuple(pixel) for pixel in drawn[painted].tolist()} == {class_colour(3)}
    assert not painted[22:43, 12:48].any()


def test_ignored_boxes_are_dashed_and_below_the_others() -> None:
    ignored = boxes((10, 20, 50, 45), (0.5, 0, 2, 1), (60, 0, 80, 60))
    drawn = np.asarray(draw_boxes(grey(60, 80), boxes(), [], [], ignored_xyxy=ignored))
    painted = (drawn[:, :55] != GREY).any(axis=2)
    assert len({tuple(pixel) for pixel in drawn[:, :55][painted].tolist()}) == 1
    ys, xs = np.nonzero(painted[10:])
    assert (xs.min(), ys.min() + 10, xs.max(), ys.max() + 10) == (10, 20, 49, 44)
    assert not painted[22:43, 12:48].any()
    assert all(painted[y, x] for y in (20, 44) for x in (10, 49))
    for side in (painted[20, 10:50], painted[44, 10:50], painted[20:45, 10], painted[20:45, 49]):
        assert 0.3 < side.mean() < 0.8
    above = np.asarray(draw_boxes(grey(60, 80), ignored[:1], [3], [""], ignored_xyxy=ignored[:1]))
    np.testing.assert_array_equal(above, np.asarray(draw_boxes(grey(60, 80), ignored[:1], [3], [""])))


def test_the_image_given_stays_as_it_is() -> None:
    image = grey(40, 40)
    drawn = draw_boxes(image, boxes((1, 1, 30, 30)), [1], ["one 0.99"])
    assert (image == GREY).all()
    assert drawn.size == (40, 40)
    assert drawn.mode == "RGB"


def test_a_read_only_image_can_be_drawn_on() -> None:
    image = grey(40, 40)
    image.setflags(write=False)
    assert (np.asarray(draw_boxes(image, boxes((1, 1, 30, 30)), [1], [""])) != GREY).any()


def test_without_boxes_the_picture_is_the_image() -> None:
    np.testing.assert_array_equal(np.asarray(draw_boxes(grey(5, 7), boxes(), [], [])), grey(5, 7))


def strokes(box: tuple[float, float, float, float], caption: str) -> int:
    """Count the pixels of a caption's letters on a 100 x 100 image."""
    without = np.asarray(draw_boxes(grey(100, 100), boxes(box), [1], [""]))
    captioned = np.asarray(draw_boxes(grey(100, 100), boxes(box), [1], [caption]))
    return int(((without != captioned) & (captioned != class_colour(1))).any(axis=2).sum())


@pytest.mark.parametrize("box", [(0, 0, 100, 100), (70, 0, 100, 20), (0, 95, 20, 100), (95, 90, 100, 100)], ids=str)
def test_no_letter_of_a_caption_is_lost_at_an_edge(box: tuple[float, float, float, float]) -> None:
    in_the_middle = strokes((30, 40, 70, 70), "six")
    assert in_the_middle > 20
    assert strokes(box, "six") == in_the_middle


@pytest.mark.parametrize("shape_hw", [(1, 1), (1, 300), (300, 1), (2000, 3000)])
def test_any_size_can_be_drawn_on(shape_hw: tuple[int, int]) -> None:
    height, width = shape_hw
    drawn = draw_boxes(grey(height, width), boxes((0, 0, width, height)), [1], ["a label longer than the image"])
    assert drawn.size == (width, height)


def letters(drawn: np.ndarray, label: int) -> int:
    return int((drawn == class_colour(label)).all(axis=2).sum())


def test_captions_of_neighbours_do_not_hide_each_other() -> None:
    apart = boxes((10, 40, 40, 70), (150, 120, 180, 150))
    close = boxes((10, 40, 40, 70), (45, 45, 75, 75))
    count = [
        [letters(np.asarray(draw_boxes(grey(200, 200), pair, [1, 2], ["three 0.99", "six 0.98"])), i) for i in (1, 2)]
        for pair in (apart, close)
    ]
    assert count[0] == count[1]


def test_a_caption_stays_at_its_box_where_all_its_places_are_taken() -> None:
    crowd = boxes(*[(60, 60, 90, 90)] * 9)
    drawn = np.asarray(draw_boxes(grey(200, 200), crowd, [1] * 9, ["three 0.99"] * 9))
    ys, xs = np.nonzero((drawn != GREY).any(axis=2))
    assert xs.max() < 160
    assert ys.min() >= 40
    assert ys.max() < 110


def test_a_small_picture_is_enlarged_until_its_captions_can_be_read() -> None:
    found = Detections.of([[2, 2, 10, 10]], [1], [0.9])
    draw = partial(draw_detections, found=found, class_names=["one"])
    assert draw(grey(30, 40), least_px=0).size == (40, 30)
    assert draw(grey(30, 40), least_px=90).size == (120, 90)
    assert draw(grey(91, 200), least_px=90).size == (200, 91)
    assert draw(grey(10, 360), least_px=90).size == (360, 10)  # else it would be long
    enlarged = np.asarray(draw(grey(30, 40), least_px=90))
    assert tuple(enlarged[29, 10].tolist()) == class_colour(1)  # the lower edge, at three times 10


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        draw_boxes(grey(9, 9), boxes((0, 0, 5, 5)), [1, 2], ["a"])


def test_neighbouring_classes_differ_clearly() -> None:
    colours = np.array([class_colour(label) for label in range(1, 21)])
    assert len({tuple(colour) for colour in colours.tolist()}) == 20
    assert np.abs(np.diff(colours, axis=0)).max(axis=1).min() > 60
