import numpy as np
import pytest

from rendersight.annotations.boxes import BoxXyxy, clipped, from_origin, plain


@pytest.mark.parametrize(
    ("box", "inside"),
    [
        ((1, 2, 3, 4), [1, 2, 3, 4]),
        ((0, 0, 8, 6), [0, 0, 8, 6]),
        ((-1, -2, 9, 7), [0, 0, 8, 6]),
        ((8, 0, 9, 6), None),  # touches the right edge from outside
        ((2, 3, 2, 5), None),
    ],
)
def test_clips_to_the_image(box: BoxXyxy, inside: list[float] | None) -> None:
    found = clipped(box, size_wh=(8, 6))
    assert (None if found is None else found.tolist()) == inside


def test_pixels_numbered_from_1_include_the_last_one() -> None:
    assert from_origin((1, 1, 8, 6), 1) == (0, 0, 8, 6)
    assert from_origin((0, 0, 8, 6), 0) == (0, 0, 8, 6)


def test_plain_numbers_read_back_as_the_same_float32() -> None:
    box = np.array([12.3, 1 / 3, 0.1, 640], np.float32)
    assert np.array_equal(np.array(plain(box), np.float32), box)
    assert str(plain(box)[0]) == "12.3"
