"""Pictures of a detector's worst mistakes: false alarms and misses, each cropped with some context."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rendersight.annotations.dataset import load_pixels
from rendersight.detections import Detections, box_iou
from training.data.dataset import LabelledImages
from training.measuring.confusion import MIN_IOU, NONE, counted_pairs, missed, pair

MOST = 12
_MOST_OF_A_PHOTO = 2
_COLUMNS = 4
_CELL_PX = 236
_GAP_PX = 8
_LINE_PX = 17
_FONT_PX = 13
_CONTEXT = 3.0
_SHORTEST_CROP_PX = 48.0
_TRUTH = (0, 190, 255)
_FOUND = (255, 96, 0)
_OUTWARDS = np.array([-1, -1, 1, 1])

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Mistake:
    """One false alarm or miss.

    Attributes:
        image: index in the data set.
        truth: true box of the mistake, x0, y0, x1, y1 in px; None for a false alarm that touches no true box.
        found: detection of the mistake; None for a miss without a detection near it.
        caption: description of the mistake.
        rank: severity; the highest is the worst.
    """

    image: int
    truth: Box | None
    found: Box | None
    caption: str
    rank: float


def false_alarms(data: LabelledImages, found: Sequence[Detections], *, score_threshold: float) -> list[Mistake]:
    """Return the detections above the threshold that have a wrong class or no true object, highest score first."""
    mistakes = []
    for number, (image, item) in enumerate(zip(data.images, found, strict=True)):
        kept, taken = counted_pairs(image, item.above(score_threshold))
        labels = data.label_ids(image)
        overlap = box_iou(kept.boxes_xyxy, image.boxes_xyxy)
        for index, (label, score) in enumerate(zip(kept.labels.tolist(), kept.scores.tolist(), strict=True)):
            name, truth = data.class_names[label - 1], None
            if taken[index] == NONE:
                reason = _why_background(float(overlap[index].max(initial=0.0)))
                if overlap[index].any():
                    truth = _box(image.boxes_xyxy[overlap[index].argmax()])
            elif labels[taken[index]] != label:
                reason, truth = f"is {image.labels[taken[index]]}", _box(image.boxes_xyxy[taken[index]])
            else:
                continue
            caption = f"{name} {score:.2f}: {reason}"
            mistakes.append(Mistake(number, truth, _box(kept.boxes_xyxy[index]), caption, score))
    return _worst_first(mistakes)


def _why_background(overlap: float) -> str:
    if overlap >= MIN_IOU:
        return "found twice"
    return "no object there" if overlap == 0 else f"IoU {overlap:.2f} only"


def misses(data: LabelledImages, found: Sequence[Detections], *, score_threshold: float) -> list[Mistake]:
    """Return the true objects that are paired with no detection above the threshold, largest first."""
    mistakes = []
    for number, (image, item) in enumerate(zip(data.images, found, strict=True)):
        taken = pair(image.boxes_xyxy, item.above(score_threshold))
        overlap = box_iou(item.boxes_xyxy, image.boxes_xyxy)
        for index in missed(taken, len(image.labels)).tolist():
            x0, y0, x1, y1 = box = _box(image.boxes_xyxy[index])
            size = float(np.sqrt((x1 - x0) * (y1 - y0)))
            near = item.select((overlap[:, index] >= MIN_IOU) & (item.scores <= score_threshold)).by_score()
            hint = f"{data.class_names[near.labels[0] - 1]} {near.scores[0]:.2f}" if len(near) else "nothing"
            nearest = _box(near.boxes_xyxy[0]) if len(near) else None
            caption = f"{image.labels[index]}, {size:.0f} px: {hint} found"
            mistakes.append(Mistake(number, box, nearest, caption, size))
    return _worst_first(mistakes)


def _worst_first(mistakes: Iterable[Mistake]) -> list[Mistake]:
    return sorted(mistakes, key=lambda mistake: -mistake.rank)


def gallery(data: LabelledImages, mistakes: Sequence[Mistake], *, most: int = MOST) -> Image.Image:
    """Lay out the worst mistakes, at most two per photo: truth in blue, detections in orange, a caption below."""
    chosen = _spread(mistakes, most)
    columns = max(1, min(_COLUMNS, len(chosen)))
    step_wh = (_CELL_PX + _GAP_PX, _CELL_PX + 2 * _LINE_PX + _GAP_PX)
    rows = max(1, -(-len(chosen) // columns))
    sheet = Image.new("RGB", (columns * step_wh[0] + _GAP_PX, rows * step_wh[1] + _GAP_PX), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=_FONT_PX)
    if not chosen:
        pen.text((_GAP_PX, _GAP_PX), "none", fill="black", font=font)
    shown, photo = -1, sheet
    for place, mistake in sorted(enumerate(chosen), key=lambda item: item[1].image):
        if mistake.image != shown:  # a photo with two mistakes is decoded once
            shown, photo = mistake.image, Image.fromarray(load_pixels(data.images[mistake.image]))
        row, column = divmod(place, columns)
        x, y = _GAP_PX + column * step_wh[0], _GAP_PX + row * step_wh[1]
        sheet.paste(_crop(photo, mistake), (x, y))
        for line, text in enumerate((mistake.caption, data.images[mistake.image].name)):
            fill = "grey" if line else "black"
            pen.text((x, y + _CELL_PX + 2 + line * _LINE_PX), _fitted(text, font), fill=fill, font=font)
    return sheet


def _spread(mistakes: Sequence[Mistake], most: int) -> list[Mistake]:
    counts: dict[int, int] = {}
    chosen = []
    for mistake in mistakes:
        counts[mistake.image] = counts.get(mistake.image, 0) + 1
        if counts[mistake.image] <= _MOST_OF_A_PHOTO:
            chosen.append(mistake)
    return chosen[:most]


def close_up(
    picture: Image.Image, boxes_xyxy: NDArray[np.float64], *, context: float, least_px: float, side_px: int
) -> tuple[Image.Image, NDArray[np.float64]]:
    """Return a square area around some boxes, moved into the picture if it fits.

    Args:
        picture: the whole picture.
        boxes_xyxy: (N, 4), px, N at least 1.
        context: side of the area / longer side of the rectangle around all boxes.
        least_px: smallest side of the area.
        side_px: side of the result; shorter in one direction if the picture is smaller than the area.

    Returns:
        The area, resized, and the boxes in it.
    """
    (x0, y0), (x1, y1) = boxes_xyxy[:, :2].min(axis=0), boxes_xyxy[:, 2:].max(axis=0)
    side = min(max(context * max(x1 - x0, y1 - y0), least_px), max(picture.size))
    left, top = (
        min(max((low + high - side) / 2, 0.0), max(length - side, 0.0))
        for low, high, length in ((x0, x1, picture.width), (y0, y1, picture.height))
    )
    right, bottom = min(left + side, picture.width), min(top + side, picture.height)
    scale = side_px / side
    size_wh = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    shown = picture.resize(size_wh, Image.Resampling.LANCZOS, box=(left, top, right, bottom))
    return shown, (boxes_xyxy - (left, top, left, top)) * scale


def _crop(photo: Image.Image, mistake: Mistake) -> Image.Image:
    """Return the area around a mistake with its boxes; what lies outside the photo is white."""
    boxes = [(box, colour) for box, colour in ((mistake.truth, _TRUTH), (mistake.found, _FOUND)) if box is not None]
    boxes_xyxy = np.array([box for box, _ in boxes])
    shown, corners = close_up(photo, boxes_xyxy, context=_CONTEXT, least_px=_SHORTEST_CROP_PX, side_px=_CELL_PX)
    cell = Image.new("RGB", (_CELL_PX, _CELL_PX), "white")
    cell.paste(shown, (0, 0))
    pen = ImageDraw.Draw(cell)
    for box, (_, colour) in zip(corners, boxes, strict=True):
        pen.rectangle(tuple(box + _OUTWARDS * 3), outline="black", width=4)
        pen.rectangle(tuple(box + _OUTWARDS * 2), outline=colour, width=2)
    return cell


def _fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Return a text, shortened from the front until it fits under a crop."""
    shown = text
    while font.getlength(shown) > _CELL_PX and len(shown) > 1:
        text = text[1:]
        shown = "…" + text
    return shown


def _box(row: NDArray[np.float32]) -> Box:
    x0, y0, x1, y1 = (float(value) for value in row)
    return x0, y0, x1, y1
