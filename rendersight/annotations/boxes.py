"""Conversion of box coordinates on reading and writing files."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rendersight.annotations import AnnotatedImage

_MOST_DIGITS = 10

BoxXyxy = tuple[float, float, float, float]


def clipped(box_xyxy: BoxXyxy, *, size_wh: tuple[int, int]) -> NDArray[np.float32] | None:
    """Return the part of a box inside its image, float32 (4,), px, or None if that part has no area."""
    (x0, y0, x1, y1), (width, height) = box_xyxy, size_wh
    box = np.array([max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)], np.float32)
    return box if box[0] < box[2] and box[1] < box[3] else None


def extent_of_polygon(coordinates: Sequence[float]) -> BoxXyxy:
    """Return the tight box around a polygon x, y, x, y, ..."""
    xs, ys = coordinates[0::2], coordinates[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def from_origin(box_xyxy: BoxXyxy, origin: int) -> BoxXyxy:
    """Convert the corners in a file to pixel edges counted from 0, in px.

    Args:
        box_xyxy: corners as written.
        origin: 0 if the file has such edges; 1 if it numbers the pixels from 1 and includes the last one.
    """
    x0, y0, x1, y1 = box_xyxy
    return x0 - origin, y0 - origin, x1, y1


def whole_number(text: str) -> int | None:
    """Return the number written with up to ten decimal digits, or None for any other text."""
    return int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else None  # int() refuses thousands of digits


def plain(box_xyxy: NDArray[np.float32]) -> list[float]:
    """Return a box with the fewest digits that read back as the same float32: 12.3, not 12.300000190734863."""
    return [float(str(value)) for value in box_xyxy]


def flags_of(image: AnnotatedImage) -> tuple[frozenset[str], ...]:
    """Return the flags of each box of an image: empty sets if the image stores none."""
    return image.flags or (frozenset(),) * len(image.labels)
