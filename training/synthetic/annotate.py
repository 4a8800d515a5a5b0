"""Boxes and visibility from an instance mask: the tight box of the visible pixels, and the fraction that is visible.

An object below one of the limits is too hidden or too small to be labelled.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

MIN_VISIBLE = 0.45
"""Smallest visible fraction of the part of an object's outline that is within the frame."""
MIN_IN_FRAME = 0.35
"""Smallest fraction of an object's outline that is within the frame."""
MIN_SIDE_PX = 8
"""Smallest width and height of a box."""

_PAD_PX = 512
_PARTS = 4


@dataclass(frozen=True, eq=False)
class Outline:
    """An object's projection with nothing in front of it: triangles over vertices, which may lie outside the image.

    Attributes:
        vertices: float32 (V, 2), x, y in px of the image.
        triangles: int32 (F, 3), indices of vertices.
    """

    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]


@dataclass(frozen=True)
class Instance:
    """One labelled object as the image shows it.

    Attributes:
        label: its class.
        box_xyxy: tight box around its visible pixels, px, continuous.
        visible: visible fraction of its outline within the frame, 0..1.
        in_frame: fraction of its outline that is within the frame, 0..1.
        area_px: number of visible pixels.
        is_ignored: whether the object is below one of the limits, so that its box is neither object nor background.
    """

    label: str
    box_xyxy: tuple[float, float, float, float]
    visible: float
    in_frame: float
    area_px: int
    is_ignored: bool


class TooHidden(ValueError):
    """An object is visible, but too little of it to be labelled; the scene must be redrawn."""


def annotate(
    index: NDArray[np.uint16], outlines: Sequence[Outline], labels: Sequence[str], *, may_hide: bool
) -> list[Instance]:
    """Return the labelled objects of an instance mask.

    Args:
        index: uint16 (H, W), number of the object that each pixel shows, from 1; 0 is no object.
        outlines: outlines of objects 1, 2, ...
        labels: classes of objects 1, 2, ...
        may_hide: whether objects may be below the limits; they are then ignored, or left out if no pixel shows them.

    Returns:
        The objects inside the frame; an object wholly outside is left out.

    Raises:
        TooHidden: an object inside the frame is below one of the limits, and `may_hide` is False.
    """
    found = []
    for number, (outline, label) in enumerate(zip(outlines, labels, strict=True), 1):
        whole, inside = _areas(outline, shape_hw=(index.shape[0], index.shape[1]))
        mask = index == number
        area = int(mask.sum())
        if inside < 1 and area == 0:
            continue
        visible = min(area / max(inside, 1.0), 1.0)
        in_frame = inside / max(whole, 1.0)
        is_hidden = area == 0 or visible < MIN_VISIBLE or in_frame < MIN_IN_FRAME
        if is_hidden and not may_hide:
            raise TooHidden(f"object {number} ({label}) is {visible:.0%} visible and {in_frame:.0%} in the frame")
        if area == 0:
            continue
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
        is_small = min(box[2] - box[0], box[3] - box[1]) < MIN_SIDE_PX
        if is_small and not may_hide:
            raise TooHidden(f"object {number} ({label}) is {box[2] - box[0]:.0f}x{box[3] - box[1]:.0f} px")
        found.append(Instance(label, box, round(visible, 3), round(in_frame, 3), area, is_hidden or is_small))
    return found


def _areas(outline: Outline, *, shape_hw: tuple[int, int]) -> tuple[float, float]:
    """Return the area of an outline in px: in total (up to a margin around the image), and within the image."""
    height, width = shape_hw
    if not len(outline.triangles):  # behind the camera
        return 0.0, 0.0
    corners = outline.vertices[outline.triangles].astype(np.float64)  # (F, 3, 2)
    low = np.maximum(np.floor(corners.min(axis=(0, 1))), -_PAD_PX).astype(int)
    high = np.minimum(np.ceil(corners.max(axis=(0, 1))), (width + _PAD_PX, height + _PAD_PX)).astype(int)
    if (high <= low).any():
        return 0.0, 0.0
    # Pillow fills every pixel that a polygon touches, so draw at a multiple of the resolution
    canvas = Image.new("1", tuple((high - low) * _PARTS))
    pen = ImageDraw.Draw(canvas)
    for triangle in ((corners - low) * _PARTS - 0.5).reshape(-1, 6).tolist():
        pen.polygon(triangle, fill=1)
    covered = np.asarray(canvas)
    (left, top), (right, bottom) = np.clip((-low, (width, height) - low), 0, high - low) * _PARTS
    inside = covered[top:bottom, left:right]
    return float(covered.sum()) / _PARTS**2, float(inside.sum()) / _PARTS**2
