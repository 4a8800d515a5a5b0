"""Overlapping tiles of a large photo, and the union of what a detector finds in them and in the whole photo.

A network sees a large photo at a fraction of its size, so small objects disappear. A tile is a part of the photo that
the network sees at a larger scale. `plan` places the tiles, and `merge` makes one list of objects of all views: the
whole photo and its tiles. An object that no tile shows whole is taken from the view of the whole photo.
"""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from rendersight.detections import Detections, box_iou, share_inside

if TYPE_CHECKING:  # the settings import this module, and need no Pillow
    from rendersight.images import Need, RgbImage

TileChoice = Literal["auto", "off"] | int
"""`off`: only the whole photo; a number: at most so many tiles; `auto`: as many as a large photo needs."""

MAX_TILES = 64

ACCEPTED = f"auto, off, or a whole number from 1 to {MAX_TILES}"
"""The values of `TileChoice` in words."""

AUTO_SCALE = 0.5
"""`auto` leaves a photo whole if the network sees it at this share of its size, or at more."""

# An object of this size is left to the whole photo: every smaller one is whole in at least one tile, because tiles
# overlap by so much. 48 px is an object that detectors of 800 px inputs see well; fewer px need fewer tiles.
_OVERLAP_PX = 48.0  # of the network's input for the whole photo
_MAX_OVERLAP = 1 / 8  # of the photo's longer side, for networks with small inputs
_LEAST_PX = 32
_CUT_PX = 2.0
_CUT_SHARE = 0.05
_SAME_IOU = 0.5
_PART_SHARE = 0.9
_DOUBT = 0.5
_SMALL_SHARE = 0.5


def parse_tiles(value: object) -> TileChoice:
    """Return the choice that a text such as `auto` or `6`, or a whole number, stands for.

    Raises:
        ValueError: the value is not accepted; the message gives the accepted ones.
    """
    if value in ("auto", "off"):
        return "auto" if value == "auto" else "off"
    if isinstance(value, str) and re.fullmatch("[1-9][0-9]?", value):
        value = int(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and value == int(value)
    if not (is_number and 1 <= value <= MAX_TILES):  # type: ignore[operator]
        raise ValueError(f"{value!r} is not accepted; accepted: {ACCEPTED}")
    return int(value)  # type: ignore[call-overload, no-any-return]


def plan(height: int, width: int, tiles: TileChoice, resized_hw: "Need") -> NDArray[np.int64]:
    """Place the tiles of a photo: a grid of equal, overlapping windows that covers it.

    `auto` takes no tile if the network sees the whole photo at half its size or more. Otherwise it takes the fewest
    tiles that the network sees at full size, at most `MAX_TILES`. A number N takes the grid of at most N tiles that the
    network sees at the largest scale.

    Args:
        height: height of the upright photo, px.
        width: width of the upright photo, px.
        tiles: the choice.
        resized_hw: returns the height and width, px, at which the network sees an image of a height and width.

    Returns:
        int64 (T, 4): x0, y0, x1, y1 of each tile, px of the upright photo, row by row. T is 0 or at least 2, because a
        single tile would be the whole photo.
    """
    whole = _scale(height, width, resized_hw)
    if tiles == "off" or (tiles == "auto" and whole >= AUTO_SCALE):
        return _grid(height, width, 1, 1)
    most = MAX_TILES if tiles == "auto" else tiles
    overlap = min(_OVERLAP_PX / whole, _MAX_OVERLAP * max(height, width))
    grids = []
    for rows in range(1, most + 1):
        for columns in range(1, most // rows + 1):
            tile_h, tile_w = _side(height, rows, overlap), _side(width, columns, overlap)
            if tile_h and tile_w:
                grids.append((_scale(tile_h, tile_w, resized_hw), rows * columns, rows, columns))
    if tiles == "auto" and (full := [grid for grid in grids if grid[0] >= 1]):
        _, _, rows, columns = min(full, key=lambda grid: (grid[1], -grid[0]))
    else:
        _, _, rows, columns = min(grids, key=lambda grid: (-grid[0], grid[1]))
    return _grid(height, width, rows, columns, overlap)


def _scale(height: int, width: int, resized_hw: "Need") -> float:
    """Return the size at which the network sees an image, as a share of its own; the longer side is rounded least."""
    return max(resized_hw(height, width)) / max(height, width)


def _side(whole: int, count: int, overlap: float) -> int:
    """Return the side of `count` windows over a side of a photo, px; 0 if they would be too narrow."""
    if count == 1:
        return whole
    side = -(-(whole + (count - 1) * overlap) // count)
    return int(side) if max(2 * overlap, _LEAST_PX) <= side < whole else 0


def _grid(height: int, width: int, rows: int, columns: int, overlap: float = 0.0) -> NDArray[np.int64]:
    if rows * columns == 1:
        return np.empty((0, 4), np.int64)
    tile_h, tile_w = _side(height, rows, overlap), _side(width, columns, overlap)
    tops = np.linspace(0, height - tile_h, rows).astype(np.int64)
    lefts = np.linspace(0, width - tile_w, columns).astype(np.int64)
    y0, x0 = (values.ravel() for values in np.meshgrid(tops, lefts, indexing="ij"))
    return np.stack([x0, y0, x0 + tile_w, y0 + tile_h], axis=1)


def cut(pixels: "RgbImage", windows_xyxy: NDArray[np.int64]) -> "list[RgbImage]":
    """Return the views of a photo without copying: the uint8 (H, W, 3) photo itself, then each of its T tiles."""
    return [pixels, *(pixels[y0:y1, x0:x1] for x0, y0, x1, y1 in windows_xyxy.tolist())]


def detect_tiled(
    detect: "Callable[[Sequence[RgbImage]], Sequence[Detections]]",
    pixels: "RgbImage",
    windows_xyxy: NDArray[np.int64],
    *,
    one_label_iou: float | None = None,
) -> Detections:
    """Find the objects of one photo in all of its views, one view after the other.

    Args:
        detect: finds objects in images; see `model_store.engines.Engine.detect`.
        pixels: uint8 (H, W, 3), RGB.
        windows_xyxy: int64 (T, 4), the tiles, from `plan`.
        one_label_iou: as for `merge`.

    Returns:
        The objects, best first, boxes in px of the photo. Without tiles, exactly what `detect` returns.
    """
    views = [detect([view])[0] for view in cut(pixels, windows_xyxy)]
    return merge(views, windows_xyxy, one_label_iou=one_label_iou)


def merge(
    views: Sequence[Detections], windows_xyxy: NDArray[np.int64], *, one_label_iou: float | None = None
) -> Detections:
    """Make one list of the objects that were found in a photo and in its tiles, each object once.

    - A box that a tile's inner edge cuts is dropped: another view shows the object whole.
    - A box of the whole photo is dropped if it is narrower and lower than half the tiles' overlap: they show its object
      whole, and larger.
    - A box is dropped if it is what its tile shows of a larger object that another view found, or a part of it.
    - Of boxes from different views with an IoU above 0.5, whatever their classes, the best one stays. Boxes of the same
      view do not compete: the network has compared them.

    Args:
        views: T + 1 detections: in the whole photo, then in each tile, boxes in px of the photo or of the tile.
        windows_xyxy: int64 (T, 4), the tiles, px of the photo. They cover it.
        one_label_iou: of boxes of any view and class with a larger IoU, only the best one stays; None compares no more.

    Returns:
        The objects, best first, boxes in px of the photo. If there is no tile, `views[0]` unchanged.
    """
    whole, *parts = views
    if not parts:
        return whole
    moved = [part.boxes_xyxy + np.tile(window[:2], 2) for part, window in zip(parts, windows_xyxy, strict=True)]
    found = Detections.of(
        np.concatenate([whole.boxes_xyxy, *moved]),
        np.concatenate([view.labels for view in views]),
        np.concatenate([view.scores for view in views]),
    )
    photo = np.array([[0, 0, *windows_xyxy[:, 2:].max(axis=0)]])
    view_of = np.repeat(np.arange(len(views)), [len(view) for view in views])
    shown = np.concatenate([photo, windows_xyxy]).astype(np.float32)[view_of]  # (N, 4), what each box's view shows
    sides = found.boxes_xyxy[:, 2:] - found.boxes_xyxy[:, :2]
    keep = (sides.max(axis=1) > _SMALL_SHARE * _overlap(windows_xyxy)) | (view_of > 0)
    found, view_of, shown = found.select(keep), view_of[keep], shown[keep]
    for rule in (_uncut, _no_parts, _no_copies):
        keep = rule(found, view_of, shown)
        found, view_of, shown = found.select(keep), view_of[keep], shown[keep]
    if one_label_iou is not None:
        return found.suppressed(one_label_iou, class_agnostic=True)
    return found.by_score()


def _overlap(windows_xyxy: NDArray[np.int64]) -> int:
    """Return the width of the narrowest strip that two neighbouring tiles of a grid share, px; 0 or less if none."""
    strips = []
    for axis in (0, 1):
        starts = np.unique(windows_xyxy[:, axis])
        if len(starts) > 1:
            strips.append(windows_xyxy[0, axis + 2] - windows_xyxy[0, axis] - np.diff(starts).max())
    return int(min(strips))


def _margin(boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the distance, px, at which each edge of boxes (N, 4) counts as touching another edge, (N, 4)."""
    sides = np.tile(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 2)
    return np.asarray(np.maximum(_CUT_PX, _CUT_SHARE * sides), np.float32)


def _uncut(found: Detections, view_of: NDArray[np.int64], shown: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which boxes (N,) are clear of the edges of their view that are not the photo's."""
    if not len(found):
        return np.ones(0, bool)
    edge = np.concatenate([shown[:, :2].min(axis=0), shown[:, 2:].max(axis=0)])
    is_near = (np.abs(found.boxes_xyxy - shown) < _margin(found.boxes_xyxy)) & (shown != edge)
    return np.asarray(~is_near.any(axis=1) | (view_of == 0))


def _no_parts(found: Detections, view_of: NDArray[np.int64], shown: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which boxes (N,) are not the visible part of a larger object that another view shows whole."""
    boxes, labels, scores = found.boxes_xyxy, found.labels, found.scores
    keep = np.ones(len(found), bool)
    order = np.argsort(-(boxes[:, 2:] - boxes[:, :2]).prod(axis=1), kind="stable")
    for place, one in enumerate(order):
        if not keep[one]:
            continue
        later = order[place + 1 :]
        box, seen = boxes[one], shown[later]
        is_beyond = (box[:2] < seen[:, :2] - _CUT_PX).any(axis=1) | (box[2:] > seen[:, 2:] + _CUT_PX).any(axis=1)
        rivals = later[keep[later] & is_beyond & (view_of[later] != view_of[one])]
        if not len(rivals):
            continue
        visible = np.concatenate([np.maximum(box[:2], shown[rivals, :2]), np.minimum(box[2:], shown[rivals, 2:])], 1)
        visible[:, 2:] = np.maximum(visible[:, 2:], visible[:, :2])  # nothing of it is visible: no area
        is_view = (_paired_iou(visible, boxes[rivals]) > _SAME_IOU) & (scores[one] >= _DOUBT * scores[rivals])
        is_inside = share_inside(boxes[rivals], boxes[one : one + 1])[:, 0] > _PART_SHARE
        is_detail = is_inside & (labels[rivals] == labels[one]) & (scores[one] >= scores[rivals])
        keep[rivals[is_view | is_detail]] = False
    return keep


def _no_copies(found: Detections, view_of: NDArray[np.int64], _shown: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which boxes (N,) no better box of another view repeats."""
    keep = np.ones(len(found), bool)
    order = np.argsort(-found.scores, kind="stable")
    for place, one in enumerate(order):
        if keep[one]:
            rivals = order[place + 1 :]
            rivals = rivals[keep[rivals] & (view_of[rivals] != view_of[one])]
            is_same = box_iou(found.boxes_xyxy[one : one + 1], found.boxes_xyxy[rivals])[0] > _SAME_IOU
            keep[rivals[is_same]] = False
    return keep


def _paired_iou(a_xyxy: NDArray[np.float32], b_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return intersection over union of each box (N, 4) with the one at its place in the other array, (N,)."""
    low, high = np.maximum(a_xyxy[:, :2], b_xyxy[:, :2]), np.minimum(a_xyxy[:, 2:], b_xyxy[:, 2:])
    common = (high - low).clip(min=0).prod(axis=1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (a_xyxy, b_xyxy)]
    return np.asarray(common / np.maximum(areas[0] + areas[1] - common, 1e-9), np.float32)
