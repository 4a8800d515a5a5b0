"""Detections, or true boxes, drawn on an image: legible at any size, a colour for each class."""

import colorsys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rendersight.detections import Detections
from rendersight.images import RgbImage

_GOLDEN_RATIO = 0.618034
_DARK = 0.55


def class_colour(label: int) -> tuple[int, int, int]:
    """Return the RGB colour of class 1..K; neighbours are far apart on the colour wheel."""
    red, green, blue = colorsys.hsv_to_rgb((0.58 + label * _GOLDEN_RATIO) % 1.0, 0.85, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_boxes(
    image: RgbImage, boxes_xyxy: NDArray[np.float32], labels: Sequence[int], captions: Sequence[str]
) -> Image.Image:
    """Draw boxes with captions over a copy of the image.

    Args:
        image: uint8 (H, W, 3), RGB; not changed.
        boxes_xyxy: float32 (N, 4), px of the image.
        labels: N class numbers 1..K, which choose the colours.
        captions: N short texts; an empty one draws the box alone.

    Returns:
        An RGB image of the same size.
    """
    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    shorter = min(picture.size)
    width = max(1, round(shorter / 320))
    font = ImageFont.load_default(size=max(10, round(shorter / 45)))
    for box, label, caption in zip(boxes_xyxy, labels, captions, strict=True):
        x0, y0, x1, y1 = (float(value) for value in box)
        colour = class_colour(label)
        pen.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour, width=width)
        if caption:
            _write(pen, caption, (x0, y0), colour=colour, font=font, size_wh=picture.size)
    return picture


def draw_detections(image: RgbImage, found: Detections, *, class_names: Sequence[str]) -> Image.Image:
    """Draw detections with class name and score, as `draw_boxes` does; the better one lies on top.

    Args:
        image: uint8 (H, W, 3), RGB; not changed.
        found: boxes in px of the image.
        class_names: of labels 1..K.
    """
    found = found.by_score().select(np.arange(len(found))[::-1])
    labels = found.labels.tolist()
    captions = [
        f"{class_names[label - 1]} {score:.2f}" for label, score in zip(labels, found.scores.tolist(), strict=True)
    ]
    return draw_boxes(image, found.boxes_xyxy, labels, captions)


def _write(
    pen: ImageDraw.ImageDraw,
    caption: str,
    corner: tuple[float, float],
    *,
    colour: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size_wh: tuple[int, int],
) -> None:
    """Write a caption above a box's top-left corner, moved so that it stays inside the image."""
    left, top, right, bottom = pen.textbbox((0, 0), caption, font=font)
    width, height = right - left + 4, bottom - top + 4
    x = min(max(corner[0], 0), max(size_wh[0] - width, 0))
    y = corner[1] - height if corner[1] >= height else corner[1]
    pen.rectangle((x, y, x + width, y + height), fill=colour)
    luminance = (0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]) / 255
    pen.text((x + 2 - left, y + 2 - top), caption, fill="white" if luminance < _DARK else "black", font=font)
