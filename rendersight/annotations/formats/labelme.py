"""LabelMe: conversion between its JSON beside each image and boxes.

X-AnyLabeling's dialect and LabelMe files without a version are read too. LabelMe (github.com/wkentaro/labelme,
`_label_file.py`) shows an image file with its EXIF orientation applied. It writes embedded `imageData` upright and
shows it as stored. Points are (x, y) in px of the shown image.
"""

import base64
import binascii
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rendersight.annotations import DIFFICULT, AnnotationError
from rendersight.annotations.boxes import clipped
from rendersight.detections import Detections

VERSION = "5.5.0"
"""LabelMe version of the files that `to_json` writes."""

IGNORED_SHAPE_TYPES = ("point", "points", "line", "linestrip")
"""Shapes without an area, which give no box and are counted."""

_CORNERS = 2


@dataclass(frozen=True)
class Shape:
    """One LabelMe shape.

    Attributes:
        label: class name.
        points: ((x, y), ...) in px.
        shape_type: such as `rectangle`.
        flags: names of the flags that are set; X-AnyLabeling's key `difficult` is one of them.
        group_id: number that the shapes of one object share; None for an object of one shape.
    """

    label: str
    points: tuple[tuple[float, float], ...]
    shape_type: str
    flags: frozenset[str] = frozenset()
    group_id: int | str | None = None


@dataclass(frozen=True)
class Rectangle:
    """One object to write: its label, x0, y0, x1, y1 in px, a description, and the names of the flags that are set."""

    label: str
    box_xyxy: tuple[float, ...]
    description: str = ""
    flags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Document:
    """The content of one LabelMe file, before its image is read."""

    shapes: tuple[Shape, ...]
    image_path: str | None
    image_data: bytes | None = field(repr=False)
    size_wh: tuple[int | None, int | None]


def shape_to_xyxy(shape: Shape, *, size_wh: tuple[int, int]) -> NDArray[np.float32] | None:
    """Return the tight box around one shape, clipped to the image.

    A rectangle has two opposite corners in any order, or four corners. A polygon, also one saved without a type, gives
    its extent. A circle has its centre and a point on its edge. A mask has the first and the last pixel that it covers.

    Args:
        shape: the shape, points in px.
        size_wh: image width and height in px, after EXIF orientation.

    Returns:
        float32 (4,): x0, y0, x1, y1 in px with 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height, the target format
        of torchvision's Faster R-CNN; None if no area is left inside the image.

    Raises:
        AnnotationError: the shape type is unknown, or the number of points does not fit the type.
    """
    return clipped(extent(shape), size_wh=size_wh)


def extent(shape: Shape) -> tuple[float, float, float, float]:
    """Return the tight box around one shape without clipping, x0, y0, x1, y1 in px; see `shape_to_xyxy`.

    Raises:
        AnnotationError: as `shape_to_xyxy`.
    """
    measure = _EXTENTS.get(shape.shape_type)
    if measure is None:
        accepted = ", ".join((*_EXTENTS, *IGNORED_SHAPE_TYPES))
        raise AnnotationError(f"shape type {shape.shape_type!r} is unknown; accepted: {accepted}")
    x0, y0, x1, y1 = measure(np.asarray(shape.points, np.float64))
    return float(x0), float(y0), float(x1), float(y1)


def _extent(points: NDArray[np.float64]) -> tuple[float, float, float, float]:
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    return x0, y0, x1, y1


def _extent_of_rectangle(points: NDArray[np.float64]) -> tuple[float, float, float, float]:
    if len(points) not in (2, 4):
        raise AnnotationError(f"a rectangle has 2 or 4 points, this one has {len(points)}")
    return _extent(points)


def _extent_of_circle(points: NDArray[np.float64]) -> tuple[float, float, float, float]:
    if len(points) != _CORNERS:
        raise AnnotationError(f"a circle has 2 points, its centre and one on the edge; this one has {len(points)}")
    (x, y), radius = points[0], math.dist(points[0], points[1])
    return x - radius, y - radius, x + radius, y + radius


def _extent_of_mask(points: NDArray[np.float64]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = _extent(points)
    return x0, y0, x1 + 1, y1 + 1  # LabelMe stores the last covered pixel, not the edge after it


_EXTENTS = {
    "rectangle": _extent_of_rectangle,
    "polygon": _extent,
    "oriented_rectangle": _extent,  # four corners; X-AnyLabeling's name for it is rotation
    "rotation": _extent,
    "quadrilateral": _extent,  # from X-AnyLabeling, as is the cuboid with its eight corners
    "cuboid": _extent,
    "circle": _extent_of_circle,
    "mask": _extent_of_mask,
}


def parse(text: str) -> Document:
    """Parse the text of a file from LabelMe (version 3, 4, 5 or none) or X-AnyLabeling; ignore unknown keys.

    Raises:
        AnnotationError: the text is not JSON, or not LabelMe's structure; the message names the place.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"not JSON: {error}") from error
    if not isinstance(data, dict) or not isinstance(data.get("shapes"), list):
        raise AnnotationError('not a LabelMe file: it has no list "shapes"')
    return Document(
        shapes=tuple(_parse_shape(shape, f"shapes[{i}]") for i, shape in enumerate(data["shapes"])),
        image_path=_optional(data, "imagePath", str),
        image_data=_parse_image_data(_optional(data, "imageData", str)),
        size_wh=(_optional_size(data, "imageWidth"), _optional_size(data, "imageHeight")),
    )


def _parse_shape(data: object, where: str) -> Shape:
    if not isinstance(data, dict):
        raise AnnotationError(f"{where} is not a JSON object")
    label = data.get("label")
    if not isinstance(label, str) or not label.strip():
        raise AnnotationError(f"{where}: label is {label!r:.40}; accepted: a name")
    points = data.get("points")
    if not isinstance(points, list) or not points or not all(_is_point(point) for point in points):
        raise AnnotationError(f"{where} ({label}): points are not a list of finite numbers [x, y]")
    shape_type = data.get("shape_type") or "polygon"
    flags = data.get("flags")
    told = {str(name) for name, value in flags.items() if value is True} if isinstance(flags, dict) else set()
    if data.get(DIFFICULT) is True:
        told.add(DIFFICULT)
    group = data.get("group_id")
    return Shape(
        label,
        tuple((float(x), float(y)) for x, y in points),
        str(shape_type),
        frozenset(told),
        group if isinstance(group, int | str) and not isinstance(group, bool) else None,
    )


def _is_point(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2  # noqa: PLR2004
        and all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e9 for v in value)  # noqa: PLR2004
    )


def _optional(data: dict[str, Any], key: str, kind: type) -> Any:
    value = data.get(key)
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
        raise AnnotationError(f"{key} is {value!r:.40}; accepted: {kind.__name__} or null")
    return value


def _optional_size(data: dict[str, Any], key: str) -> int | None:
    value = data.get(key)
    if isinstance(value, float) and value.is_integer():  # some programs write 640.0
        return int(value)
    size: int | None = _optional(data, key, int)
    return size


def _parse_image_data(text: str | None) -> bytes | None:
    try:
        return base64.b64decode(text) if text else None
    except (binascii.Error, ValueError) as error:
        raise AnnotationError(f"imageData is not base64: {error}") from error


def to_json(
    rectangles: Iterable[Rectangle], *, image_name: str, size_wh: tuple[int, int], indent: int | None = 2
) -> str:
    """Return objects as the text of a LabelMe file that opens beside its image.

    Args:
        rectangles: the objects, in the order of the file.
        image_name: the image's path, relative to the annotation file's folder.
        size_wh: width and height of the upright image, px.
        indent: as for `json.dumps`.
    """
    document: dict[str, Any] = {
        "version": VERSION,
        "flags": {},
        "shapes": [
            {
                "label": item.label,
                "points": [list(item.box_xyxy[:2]), list(item.box_xyxy[2:])],
                "group_id": None,
                "description": item.description,
                "shape_type": "rectangle",
                "flags": dict.fromkeys(sorted(item.flags), True),
            }
            for item in rectangles
        ],
        "imagePath": image_name,
        "imageData": None,
        "imageHeight": size_wh[1],
        "imageWidth": size_wh[0],
    }
    return json.dumps(document, indent=indent, ensure_ascii=False)


def detections_to_json(
    found: Detections, *, class_names: Sequence[str], image_name: str, size_wh: tuple[int, int]
) -> str:
    """Return detections as the text of a LabelMe file; a shape's `description` holds its score.

    Args:
        found: boxes in px of the upright image, written with two decimals.
        class_names: K names; label i is written as `class_names[i - 1]`.
        image_name: as for `to_json`.
        size_wh: as for `to_json`.
    """
    rectangles = [
        Rectangle(class_names[label - 1], tuple(round(value, 2) for value in box), f"score {score:.3f}")
        for box, label, score in zip(
            found.boxes_xyxy.astype(float).tolist(), found.labels.tolist(), found.scores.tolist(), strict=True
        )
    ]
    return to_json(rectangles, image_name=image_name, size_wh=size_wh)


def with_image_path(text: str, image_path: str) -> str:
    """Return the text of a LabelMe file with another `imagePath`."""
    return json.dumps({**json.loads(text), "imagePath": image_path}, indent=2, ensure_ascii=False)
