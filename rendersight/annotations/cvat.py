"""CVAT for images 1.1: reading of one XML with all images, the export that CVAT offers first.

The format is docs.cvat.ai/docs/manual/advanced/formats/format-cvat. Coordinates are continuous px from the image's
top-left corner. `subset` is the split. A task that is exported as "CVAT for video" has tracks in place of images.
"""

import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

from rendersight.annotations import AnnotationError, Fault, LabelledBox, Listing, ReadOptions, Record
from rendersight.annotations.boxes import BoxXyxy, extent_of_polygon, from_origin, whole_number
from rendersight.annotations.index import IMAGE_FOLDERS, FileIndex, split_of, split_of_folders
from rendersight.annotations.voc import parse_xml

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

    An image is the file that `name` means in the folder of the XML or of the dataset, in a folder `images` there, or
    anywhere in the dataset if only one file has that name. Boxes, polygons, ellipses and masks give a box; polylines,
    points, tags, skeletons and cuboids give none and are counted.

    Raises:
        AnnotationError: no XML has `<annotations>`.
    """
    paths = [path for path in index.with_suffix(".xml") if owns(index, path)]
    if not paths:
        raise AnnotationError(f"{index.root} holds no CVAT file: an XML with <annotations>")
    faults: list[Fault] = []
    records: dict[str, Record] = {}
    names: dict[str, None] = {}
    ignored: Counter[str] = Counter()
    for path in paths:
        try:
            top = parse_xml(path)
            if top.find("track") is not None:
                raise AnnotationError("is CVAT for video; export the task as CVAT for images 1.1")
        except AnnotationError as error:
            faults.append(Fault(index.name(path), str(error)))
            continue
        names.update(dict.fromkeys(name for label in top.iterfind(".//labels/label/name") if (name := label.text)))
        for item in top.iterfind("image"):
            try:
                record = _record(index, path, item, options, ignored)
                if record.name in records:
                    raise AnnotationError("is listed twice; list each image once")
            except AnnotationError as error:
                faults.append(Fault(index.name(path), f"image {item.get('name', '')!r}: {error}"))
            else:
                records[record.name] = record
    used = {record.image_path for record in records.values()}
    return Listing(
        root=index.root,
        records=tuple(records.values()),
        faults=tuple(faults),
        ignored_shapes=ignored,
        class_names=tuple(names),
        unlisted=tuple(index.name(path) for path in index.images if path not in used) if index.entry is None else (),
        used=tuple(paths),
    )


def _record(index: FileIndex, path: Path, item: Element, options: ReadOptions, ignored: Counter[str]) -> Record:
    places = [folder for base in (path.parent, index.root) for folder in (base, *sorted(base.glob("*")))]
    folders = [folder for folder in places if folder in (path.parent, index.root) or folder.name in IMAGE_FOLDERS]
    image_path = index.image_named(item.get("name", ""), folders)
    objects = []
    for i, shape in enumerate(item):
        if shape.tag in _NO_BOX:
            ignored[shape.tag] += 1
            continue
        try:
            found = _object(shape)
        except AnnotationError as error:
            raise AnnotationError(f"shape {i + 1} ({shape.get('label')}): {error}") from error
        objects.append(replace(found, box_xyxy=from_origin(found.box_xyxy, options.pixel_origin or 0)))
    name = index.name(image_path)
    return Record(
        name=name,
        image_path=image_path,
        annotation_path=path,
        objects=tuple(objects),
        stated_wh=(whole_number(item.get("width", "")), whole_number(item.get("height", ""))),
        splits=split_of(item.get("subset", "")) or split_of_folders(name),
    )


def _object(shape: Element) -> LabelledBox:
    measure = _SHAPES.get(shape.tag)
    if measure is None:
        raise AnnotationError(f"{shape.tag!r} is not a shape; accepted: {', '.join((*_SHAPES, *_NO_BOX))}")
    label = (shape.get("label") or "").strip()
    if not label:
        raise AnnotationError("has no label")
    attributes = {item.get("name"): (item.text or "").strip().lower() for item in shape.iterfind("attribute")}
    flags = {name for name in ("difficult", "truncated") if attributes.get(name) in _YES}
    if shape.get("occluded") in _YES:
        flags.add("occluded")
    return LabelledBox(label, measure(shape), frozenset(flags), is_outline=shape.tag != "box")


def _box(shape: Element) -> BoxXyxy:
    """Return a box; one with a `rotation`, in degrees around its centre, gives its extent."""
    x0, y0, x1, y1 = (_number(shape, key) for key in _CORNERS)
    angle = math.radians(_number(shape, "rotation", "0"))
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
    x, y, rx, ry = (_number(shape, key) for key in ("cx", "cy", "rx", "ry"))
    return x - rx, y - ry, x + rx, y + ry


def _mask(shape: Element) -> BoxXyxy:
    left, top, width, height = (_number(shape, key) for key in ("left", "top", "width", "height"))
    return left, top, left + width, top + height


_SHAPES = {"box": _box, "polygon": _polygon, "ellipse": _ellipse, "mask": _mask}


def _number(shape: Element, key: str, default: str = "") -> float:
    text = shape.get(key, default)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise AnnotationError(f"{key} is {text!r:.40}; accepted: a number")
    return value
