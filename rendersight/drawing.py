"""Drawing of boxes on an image: legible at any size, one colour for each class."""

import colorsys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rendersight.detections import Detections
from rendersight.images import RgbImage

_GOLDEN_RATIO = 0.618034
_DARK = 0.55
_IGNORED_COLOUR = (128, 128, 128)
_DASH = 4


def class_colour(label: int) -> tuple[int, int, int]:
    """Return the RGB colour of class 1..K; consecutive classes are far apart on the colour wheel."""
    red, green, blue = colorsys.hsv_to_rgb((0.58 + label * _GOLDEN_RATIO) % 1.0, 0.85, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_boxes(
    image: RgbImage,
    boxes_xyxy: NDArray[np.float32],
    labels: Sequence[int],
    captions: Sequence[str],
    *,
    ignored_xyxy: NDArray[np.float32] | None = None,
) -> Image.Image:
    """Draw boxes with captions on a copy of the image.

    Args:
        image: uint8 (H, W, 3), RGB; not changed.
        boxes_xyxy: float32 (N, 4), px of the image.
        labels: N class numbers 1..K, which choose the colours.
        captions: N short texts; an empty text draws the box alone.
        ignored_xyxy: float32 (M, 4), px of the image; boxes below the others, dashed and grey.

    Returns:
        An RGB image of the same size.
    """
    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    shorter = min(picture.size)
    width = max(1, round(shorter / 320))
    font = ImageFont.load_default(size=max(10, round(shorter / 45)))
    for box in () if ignored_xyxy is None else ignored_xyxy:
        _draw_dashed(pen, box, width=width)
    for box, label in zip(boxes_xyxy, labels, strict=True):
        x0, y0, x1, y1 = (float(value) for value in box)
        pen.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=class_colour(label), width=width)
    places = _Places(picture.size)
    for box, label, caption in zip(boxes_xyxy, labels, captions, strict=True):
        if caption:
            _write(pen, caption, box, colour=class_colour(label), font=font, places=places)
    return picture


def draw_detections(
    image: RgbImage, found: Detections, *, class_names: Sequence[str], least_px: int = 0
) -> Image.Image:
    """Draw detections with class name and score; better detections get better places for their captions.

    Args:
        image: uint8 (H, W, 3), RGB; not changed.
        found: boxes in px of the image.
        class_names: names of labels 1..K.
        least_px: minimum length of the shorter side, to keep captions readable. A smaller picture is enlarged by a
            whole factor, up to four times this length on its longer side.

    Returns:
        An RGB image, of the same size or larger.
    """
    factor = max(1, min(-(-least_px // min(image.shape[:2])), 4 * least_px // max(image.shape[:2])))
    if factor > 1:
        image = image.repeat(factor, axis=0).repeat(factor, axis=1)
    found = found.by_score()
    labels = found.labels.tolist()
    captions = [
        f"{class_names[label - 1]} {score:.2f}" for label, score in zip(labels, found.scores.tolist(), strict=True)
    ]
    return draw_boxes(image, found.boxes_xyxy * np.float32(factor), labels, captions)


def _draw_dashed(pen: ImageDraw.ImageDraw, box_xyxy: NDArray[np.float32], *, width: int) -> None:
    """Draw a grey outline of dashes and gaps of equal length, with a whole number of dashes on each side."""
    x0, y0, x1, y1 = (float(value) for value in box_xyxy)
    for is_tall, start, end, rest in ((False, x0, x1, (y0, y1 - width)), (True, y0, y1, (x0, x1 - width))):
        ends = np.linspace(start, end, 2 * max(1, round((end - start) / (2 * _DASH * width))) + 2)
        for low, high in zip(ends[0::2], ends[1::2], strict=True):
            for side in rest:
                a, b = (low, side), (max(low, high - 1), max(side, side + width - 1))
                pen.rectangle((*a[::-1], *b[::-1]) if is_tall else (*a, *b), fill=_IGNORED_COLOUR)


class _Places:
    """The captions already placed."""

    def __init__(self, size_wh: tuple[int, int]) -> None:
        self._size_wh = size_wh
        self._taken = np.zeros((0, 4))

    def best(self, box_xyxy: NDArray[np.float32], size_wh: tuple[float, float]) -> tuple[float, float]:
        """Take the place at a box that covers the least of other captions, and return its top-left corner.

        The candidates are, in this order: above the upper edge, below the lower edge, inside; each from the left or the
        right. All are moved to stay inside the picture.
        """
        x0, y0, x1, y1 = (float(value) for value in box_xyxy)
        width, height = size_wh
        corners = np.array([(x, y) for y in (y0 - height, y1, y0) for x in (x0, x1 - width)])
        inside = corners.clip(0, np.maximum(0, np.array(self._size_wh) - size_wh))
        areas = np.hstack([inside, inside + size_wh])
        moved = np.abs(inside - corners).sum(axis=1) > max(size_wh)  # too far from its box to be understood
        overlap = np.minimum(areas[:, None, 2:], self._taken[None, :, 2:]) - np.maximum(
            areas[:, None, :2], self._taken[None, :, :2]
        )
        covered = overlap.clip(min=0).prod(axis=2).sum(axis=1)
        covered += (corners[:, 1] != inside[:, 1]) + moved * width * height
        chosen = int(covered.argmin())
        self._taken = np.vstack([self._taken, areas[chosen]])
        x, y = inside[chosen]
        return float(x), float(y)


def _write(
    pen: ImageDraw.ImageDraw,
    caption: str,
    box_xyxy: NDArray[np.float32],
    *,
    colour: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    places: _Places,
) -> None:
    """Write a caption at a box, in the place that hides the least of other captions."""
    left, top, right, bottom = pen.textbbox((0, 0), caption, font=font)
    width, height = right - left + 4, bottom - top + 4
    x, y = places.best(box_xyxy, (width, height))
    pen.rectangle((x, y, x + width - 1, y + height - 1), fill=colour)
    luminance = (0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]) / 255
    pen.text((x + 2 - left, y + 2 - top), caption, fill="white" if luminance < _DARK else "black", font=font)
