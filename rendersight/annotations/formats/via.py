"""VGG Image Annotator, versions 1 and 2: reading of its JSON, exported or saved as a project.

The format is that of www.robots.ox.ac.uk/~vgg/software/via. Coordinates are px from the image's top-left corner. VIA
has attributes in place of classes: the class is the only attribute of the regions, else the one with a usual name.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rendersight.annotations import AnnotationError, LabelledBox, Listing, ReadOptions
from rendersight.annotations.boxes import BoxXyxy, extent_of_polygon, from_origin
from rendersight.annotations.formats.listed import Entry, number, read_listed, sized_box
from rendersight.annotations.index import FileIndex, read_text

_HEAD_BYTES = 65536
_PROJECT = "_via_img_metadata"
_KEYS = (b'"filename"', b'"regions"', b'"file_attributes"')
_CLASS_ATTRIBUTES = ("label", "class", "name", "type", "category", "object")
_NO_BOX = ("point", "polyline")


def owns(_index: FileIndex, path: Path) -> bool:
    """Return whether a JSON file is VIA's."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return b'"_via_' in head or all(key in head for key in _KEYS)


def read(index: FileIndex, options: ReadOptions) -> Listing:
    """Read VIA's JSON files. Their images define the dataset; an image without regions has no objects.

    Raises:
        AnnotationError: there is no VIA file.
    """
    paths = [path for path in index.with_suffix(".json") if owns(index, path)]
    if not paths:
        raise AnnotationError(f"{index.root} holds no VIA file: a JSON with filename, regions and file_attributes")

    def parse(path: Path, ignored: Counter[str]) -> Iterator[Entry]:
        items = [(item["filename"], _regions(item)) for item in _images(path)]
        key = class_attribute([region.get("region_attributes") for _, regions in items for region in regions])
        for name, regions in items:
            try:
                objects = [region_box(region, key, ignored, options) for region in regions]
                yield Entry(name, tuple(item for item in objects if item is not None))
            except AnnotationError as error:
                yield Entry(name, error=str(error))

    return read_listed(index, paths, parse)


def _images(path: Path) -> list[dict[str, Any]]:
    try:
        data = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"not JSON: {error}") from error
    images = data.get(_PROJECT, data) if isinstance(data, dict) else None
    items = list(images.values()) if isinstance(images, dict) else []
    if not items or not all(
        isinstance(item, dict) and isinstance(item.get("filename"), str) and "regions" in item for item in items
    ):
        raise AnnotationError("is not a VIA file; accepted: a JSON object of images with filename and regions")
    return items


def _regions(item: dict[str, Any]) -> list[dict[str, Any]]:
    regions = item.get("regions") or []
    found = list(regions.values()) if isinstance(regions, dict) else regions  # VIA 1 numbers them by keys
    return [region for region in found if isinstance(region, dict)]


def class_attribute(attributes: list[object]) -> str:
    """Return the name of the attribute that holds the class.

    Args:
        attributes: the attributes of each region.

    Raises:
        AnnotationError: there is none, or several and none has a usual name.
    """
    names: list[str] = list(dict.fromkeys(name for item in attributes if isinstance(item, dict) for name in item))
    usual = [name for wanted in _CLASS_ATTRIBUTES for name in names if name.lower() == wanted]
    if len(names) == 1 or usual:
        return (usual or names)[0]
    if not attributes:
        return ""
    told = ", ".join(names) or "none"
    raise AnnotationError(f"no attribute of the regions is called label; there are {told}: rename that of the class")


def region_box(region: dict[str, Any], key: str, ignored: Counter[str], options: ReadOptions) -> LabelledBox | None:
    """Return the object of a region, or None for a counted shape without a box.

    Args:
        region: a region with `shape_attributes` and `region_attributes`.
        key: the attribute that holds the class.
        ignored: counter of the shapes without a box.
        options: how the dataset is read.

    Raises:
        AnnotationError: it has no class, or an unknown or broken shape.
    """
    shape, attributes = region.get("shape_attributes"), region.get("region_attributes")
    kind = shape.get("name") if isinstance(shape, dict) else None
    if kind in _NO_BOX:
        ignored[kind] += 1
        return None
    value = attributes.get(key) if isinstance(attributes, dict) else None
    if isinstance(value, dict):  # a checkbox
        chosen = [name for name, is_set in value.items() if is_set]
        value = chosen[0] if len(chosen) == 1 else None
    if not isinstance(value, str) or not value.strip():
        raise AnnotationError(f"a region's {key or 'label'} is {value!r:.40}; accepted: the name of one class")
    if kind not in _SHAPES:
        raise AnnotationError(f"{kind!r:.40} is not a shape; accepted: {', '.join((*_SHAPES, *_NO_BOX))}")
    assert isinstance(shape, dict)
    return LabelledBox(value.strip(), _SHAPES[kind](shape, options.pixel_origin or 0), is_outline=kind != "rect")


def _rect(shape: dict[str, Any], origin: int) -> BoxXyxy:
    x, y, width, height = (number(shape.get(key), key) for key in ("x", "y", "width", "height"))
    return sized_box(x, y, width, height, origin)


def _polygon(shape: dict[str, Any], origin: int) -> BoxXyxy:
    xs, ys = shape.get("all_points_x"), shape.get("all_points_y")
    if not (isinstance(xs, list) and isinstance(ys, list) and xs and len(xs) == len(ys)):
        raise AnnotationError("all_points_x and all_points_y are not two lists of one length")
    points = [number(value, "a point") for pair in zip(xs, ys, strict=True) for value in pair]
    return from_origin(extent_of_polygon(points), origin)


def _ellipse(shape: dict[str, Any], origin: int) -> BoxXyxy:
    """Return the extent of an ellipse, or of a circle; `theta` turns it, in radians."""
    x, y = number(shape.get("cx"), "cx"), number(shape.get("cy"), "cy")
    rx, ry = (number(shape.get(key, shape.get("r")), key) for key in ("rx", "ry"))
    theta = number(shape.get("theta", 0), "theta")
    width = math.hypot(rx * math.cos(theta), ry * math.sin(theta))
    height = math.hypot(rx * math.sin(theta), ry * math.cos(theta))
    return from_origin((x - width, y - height, x + width, y + height), origin)


_SHAPES = {"rect": _rect, "polygon": _polygon, "ellipse": _ellipse, "circle": _ellipse}
