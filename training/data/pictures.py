"""Photos with drawn boxes, and contact sheets."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from rendersight.annotations.folder import load_pixels
from rendersight.detections import Detections
from rendersight.drawing import draw_boxes, draw_detections
from training.data.dataset import LabelledImages

_GAP_PX = 6


def picture_of_truth(data: LabelledImages, index: int) -> Image.Image:
    """Draw the labelled boxes of one image."""
    image = data.images[index]
    return draw_boxes(load_pixels(image), image.boxes_xyxy, data.label_ids(image), image.labels)


def contact_sheet(pictures: Sequence[Image.Image], *, columns: int, cell_px: int) -> Image.Image:
    """Arrange pictures on a grid, each shrunk to fit a square cell of `cell_px`."""
    rows = -(-len(pictures) // columns)
    step = cell_px + _GAP_PX
    sheet = Image.new("RGB", (columns * step + _GAP_PX, rows * step + _GAP_PX), "white")
    for place, picture in enumerate(pictures):
        small = picture.copy()
        small.thumbnail((cell_px, cell_px))
        row, column = divmod(place, columns)
        sheet.paste(small, (_GAP_PX + column * step, _GAP_PX + row * step))
    return sheet


def compare_with_truth(
    data: LabelledImages, found: Sequence[Detections], *, score_threshold: float, most: int = 8
) -> Image.Image:
    """Show evenly chosen images of a dataset: labels on the left, detections above the threshold on the right."""
    chosen = np.linspace(0, len(data.images) - 1, min(most, len(data.images))).astype(int).tolist()
    pictures = []
    for index in chosen:
        pictures.append(picture_of_truth(data, index))
        kept = found[index].above(score_threshold)
        pictures.append(draw_detections(load_pixels(data.images[index]), kept, class_names=data.class_names))
    return contact_sheet(pictures, columns=4, cell_px=420)
