"""Contact sheets: many images with their boxes on one picture."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rendersight.annotations.dataset import AnnotatedDataset, load_pixels, no_bar
from rendersight.detections import Detections
from rendersight.drawing import draw_boxes, draw_detections
from rendersight.images import RgbImage
from training.console import Bar
from training.data.dataset import LabelledImages

_GAP_PX = 6


def contact_sheet(
    found: AnnotatedDataset, class_names: Sequence[str], *, most: int = 24, bar: Bar = no_bar
) -> Image.Image:
    """Draw evenly chosen images with their boxes on one contact sheet.

    Args:
        found: the dataset as read.
        class_names: all labels of the dataset; the index of a label determines its colour.
        most: largest number of images.
        bar: a progress bar with the interface of tqdm.
    """
    chosen = np.linspace(0, len(found.images) - 1, min(most, len(found.images))).astype(int).tolist()
    images = bar([found.images[index] for index in chosen], desc="contact sheet")
    pictures = [(load_pixels(image), image.boxes_xyxy, image.labels, image.ignored_xyxy) for image in images]
    return sheet_of(pictures, class_names)


def sheet_of(
    pictures: Sequence[tuple[RgbImage, NDArray[np.float32], Sequence[str], NDArray[np.float32]]],
    class_names: Sequence[str],
) -> Image.Image:
    """Draw pictures with their boxes on one contact sheet.

    Args:
        pictures: pixels, uint8 (H, W, 3) RGB; boxes, float32 (N, 4), px; the N labels; and the ignored boxes, float32
            (M, 4), px, which are dashed and grey.
        class_names: all labels; the index of a label determines its colour.
    """
    numbers = {name: number for number, name in enumerate(class_names, 1)}
    drawn = [
        draw_boxes(pixels, boxes, [numbers[label] for label in labels], labels, ignored_xyxy=ignored)
        for pixels, boxes, labels, ignored in pictures
    ]
    return _grid(drawn, columns=6, cell_px=320)


def compare_with_truth(
    data: LabelledImages, found: Sequence[Detections], *, score_threshold: float, most: int = 8
) -> Image.Image:
    """Show evenly chosen images of a dataset: labels on the left, detections above the threshold on the right."""
    chosen = np.linspace(0, len(data.images) - 1, min(most, len(data.images))).astype(int).tolist()
    pictures = []
    for index in chosen:
        image, pixels = data.images[index], load_pixels(data.images[index])
        numbers, ignored = data.label_ids(image), image.ignored_xyxy
        pictures.append(draw_boxes(pixels, image.boxes_xyxy, numbers, image.labels, ignored_xyxy=ignored))
        kept = found[index].above(score_threshold)
        pictures.append(draw_detections(pixels, kept, class_names=data.class_names))
    return _grid(pictures, columns=4, cell_px=420)


def _grid(pictures: Sequence[Image.Image], *, columns: int, cell_px: int) -> Image.Image:
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
