"""CVAT for images 1.1: reading of one XML with all images, the export that CVAT offers first.

The format is docs.cvat.ai/docs/manual/advanced/formats/format-cvat. Coordinates are continuous px from the image's
top-left corner. `subset` is the split. A task that is exported as "CVAT for video" has tracks in place of images.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

from rendersight.annotations import DIFFICULT, IGNORE, AnnotationError, LabelledBox, Listing, ReadOptions
from rendersight.annotations.boxes import BoxXyxy, extent_of_polygon, from_origin, whole_number
from rendersight.annotations.formats.listed import Entry, number, read_listed
from rendersight.annotations.formats.voc import parse_xml
from rendersight.annotations.index import FileIndex
from rendersight.annotations.splits import split_of

_ROOT = re.compile(rb"<annotations[\s/>]")
_HEAD_BYTES = 4096
_CORNERS = ("xtl", "ytl", "xbr", "ybr")
_NO_BOX = ("polyline", "points", "tag", "skeleton", "cuboid")
_YES = ("1", "true")


def owns(_index: FileIndex, path: Path) -> bool:
    """Return whether an XML file has CVAT's element `<annotations>`."""
    with path.open("rb") as file:
        return bool(_ROOT.search(file.read(_HEAD_BYTES)))


def read(index: FileIndex, options: ReadOptions) -> Listing:
    """Read the XML files of a folder, or the given file. Their images define the dataset.

    Boxes, polygons, ellipses and masks give a box; polylines,
    points, tags, skeletons and cuboids give none and are counted.

    Raises:
        AnnotationError: no XML has `<annotations>`.
    """
    paths = [path for path in index.with_suffix(".xml") if owns(index, path)]
    if not paths:
        raise AnnotationError(f"{index.root} holds no CVAT file: an XML with <annotations>")
    names: dict[str, None] = {}

    def parse(path: Path, ignored: Counter[str]) -> Iterator[Entry]:
        top = parse_xml(path)
        if top.find("track") is not None:
            raise AnnotationError("is CVAT for video; export the task as CVAT for images 1.1")
        names.update(dict.fromkeys(name for label in top.iterfind(".//labels/label/name") if (name := label.text)))
        return (_entry(item, options, ignored) for item in top.iterfind("image"))

    return replace(read_listed(index, paths, parse), class_names=tuple(names))


def _entry(item: Element, options: ReadOptions, ignored: Counter[str]) -> Entry:
    objects = []
    for i, shape in enumerate(item):
        if shape.tag in _NO_BOX:
            ignored[shape.tag] += 1
            continue
        try:
            found = _object(shape)
        except AnnotationError as error:
            return Entry(item.get("name", ""), error=f"shape {i + 1} ({shape.get('label')}): {error}")
        objects.append(replace(found, box_xyxy=from_origin(found.box_xyxy, options.pixel_origin or 0)))
    return Entry(
        name=item.get("name", ""),
        objects=tuple(objects),
        stated_wh=(whole_number(item.get("width", "")), whole_number(item.get("height", ""))),
        splits=split_of(item.get("subset", "")),
    )


def _object(shape: Element) -> LabelledBox:
    measure = _SHAPES.get(shape.tag)
    if measure is None:
        raise AnnotationError(f"{shape.tag!r} is not a shape; accepted: {', '.join((*_SHAPES, *_NO_BOX))}")
    label = (shape.get("label") or "").strip()
    if not label:
        raise AnnotationError("has no label")
    attributes = {item.get("name"): (item.text or "").strip().lower() for item in shape.iterfind("attribute")}
    flags = {name for name in (IGNORE, DIFFICULT, "truncated") if attributes.get(name) in _YES}
    if shape.get("occluded") in _YES:
        flags.add("occluded")
    return LabelledBox(label, measure(shape), frozenset(flags), is_outline=shape.tag != "box")


def _box(shape: Element) -> BoxXyxy:
    """Return a box; one with a `rotation`, in degrees around its centre, gives its extent."""
    x0, y0, x1, y1 = (number(shape.get(key), key) for key in _CORNERS)
    angle = math.radians(number(shape.get("rotation", 0), "rotation"))
    if not angle:
        return x0, y0, x1, y1
    cosine, sine = abs(math.cos(angle)), abs(math.sin(angle))
    half_width = ((x1 - x0) * cosine + (y1 - y0) * sine) / 2
    half_height = ((x1 - x0) * sine + (y1 - y0) * cosine) / 2
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    return x - half_width, y - half_height, x + half_width, y + half_height


def _polygon(shape: Element) -> BoxXyxy:
    words = shape.get("points", "").replace(";", ",").split(",")
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) < 6 or len(numbers) % 2 or not all(map(math.isfinite, numbers)):  # noqa: PLR2004 - three points
        raise AnnotationError(
            f"points are {shape.get('points')!r:.60}; accepted: x,y;x,y;x,y with three points or more"
        )
    return extent_of_polygon(numbers)


def _ellipse(shape: Element) -> BoxXyxy:
    x, y, rx, ry = (number(shape.get(key), key) for key in ("cx", "cy", "rx", "ry"))
    return x - rx, y - ry, x + rx, y + ry


def _mask(shape: Element) -> BoxXyxy:
    left, top, width, height = (number(shape.get(key), key) for key in ("left", "top", "width", "height"))
    return left, top, left + width, top + height


_SHAPES = {"box": _box, "polygon": _polygon, "ellipse": _ellipse, "mask": _mask}
