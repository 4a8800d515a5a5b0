"""CSV: reading of tables with one box in each row, as converters and export pages write them.

There is no standard. The header names the columns (see `_COLUMNS`). Three layouts without a header are known:
keras-retinanet's (github.com/fizyr/keras-retinanet), makesense.ai's, and Google's AutoML Vision. VIA's CSV holds JSON.
Corners and positions are px from the image's top-left corner, or fractions if no number is above 1.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rendersight.annotations import AnnotationError, LabelledBox, Listing, ReadOptions
from rendersight.annotations.boxes import BoxXyxy, from_origin
from rendersight.annotations.formats.listed import Entry, number, read_listed, sized_box
from rendersight.annotations.formats.via import class_attribute, region_box
from rendersight.annotations.index import FileIndex, read_text
from rendersight.annotations.splits import split_of

# column -> its names in lower case
_COLUMNS = {
    "image": ("filename", "image", "image_path", "image_name", "imageid", "file_name", "file", "path", "img", "frame"),
    "label": ("class", "label", "class_name", "label_name", "labelname", "category", "name"),
    "x0": ("xmin", "x_min", "x1", "left"),
    "y0": ("ymin", "y_min", "y1", "top"),
    "x1": ("xmax", "x_max", "x2", "right"),
    "y1": ("ymax", "y_max", "y2", "bottom"),
    "x": ("bbox_x", "x"),
    "y": ("bbox_y", "y"),
    "w": ("bbox_width", "w", "box_width"),
    "h": ("bbox_height", "h", "box_height"),
    "width": ("width", "image_width", "img_width"),
    "height": ("height", "image_height", "img_height"),
    "split": ("set", "split", "subset"),
    "shape": ("region_shape_attributes",),
    "attributes": ("region_attributes",),
}
_CORNERS = ("x0", "y0", "x1", "y1")
_SIZED = ("x", "y", "w", "h")
# layouts without a header: the columns, and which of them must be numbers or empty
_RETINANET = ("image", *_CORNERS, "label")
_MAKESENSE = ("label", *_SIZED, "image", "width", "height")
_AUTOML = ("split", "image", "label", "x0", "y0", "", "", "x1", "y1", "", "")
_AUTOML_SETS = ("TRAIN", "VALIDATION", "TEST", "UNASSIGNED")
_HEAD_BYTES = 4096

Row = dict[str, str]


def owns(_index: FileIndex, path: Path) -> bool:
    """Return whether a CSV file has columns for images, labels and boxes."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES).decode("utf-8-sig", "replace")
    rows = list(csv.reader(head.splitlines()[:1]))
    return bool(rows) and _layout(rows[0]) is not None


def _layout(first: list[str]) -> tuple[tuple[str, ...], bool] | None:
    """Return the columns of a table by its first row, and whether that row is a header."""
    words = [word.strip().lstrip("#").lower() for word in first]
    known = {alias: column for column, aliases in _COLUMNS.items() for alias in aliases}
    columns = tuple(known.get(word, "") for word in words)
    if "x" in columns and "width" in words and not {"w", "bbox_width", "box_width"} & set(words):
        columns = tuple({"width": "w", "height": "h"}.get(column, column) for column in columns)
    for needed in (_CORNERS, _SIZED, ("shape", "attributes")):
        if {"image", *needed} <= set(columns) and ("label" in columns or "shape" in needed):
            return columns, True
    for layout in (_RETINANET, _MAKESENSE):
        numbers = [word for word, column in zip(words, layout, strict=False) if column not in ("image", "label")]
        if len(words) == len(layout) and all(_is_number(word) for word in numbers):
            return layout, False
    if len(words) == len(_AUTOML) and words[0].upper() in _AUTOML_SETS:
        return _AUTOML, False
    return None


def _is_number(word: str) -> bool:
    try:
        number(word or 0, "")
    except AnnotationError:
        return False
    return True


def read(index: FileIndex, options: ReadOptions) -> Listing:
    """Read the CSV tables. An image without a row, in a folder of listed images, counts as unlabelled.

    Raises:
        AnnotationError: there is no CSV file with boxes.
    """
    paths = [path for path in index.with_suffix(".csv") if owns(index, path)]
    if not paths:
        raise AnnotationError(f"{index.root} holds no CSV with the columns filename, class, xmin, ymin, xmax, ymax")

    def parse(path: Path, ignored: Counter[str]) -> Iterator[Entry]:
        by_image: dict[str, list[tuple[int, Row]]] = {}
        for line, row in _rows(path):
            by_image.setdefault(row["image"], []).append((line, row))
        rows = [row for pairs in by_image.values() for _, row in pairs]
        corners = [float(row[key]) for row in rows for key in (*_CORNERS, *_SIZED) if _is_number(row.get(key) or "x")]
        is_normalised = bool(corners) and max(corners) <= 1
        attribute = class_attribute([_json(row["attributes"]) for row in rows if row.get("shape", "{}") != "{}"])
        for name, pairs in by_image.items():
            try:
                entry = _entry(name, pairs, attribute, ignored, options)
                yield replace(entry, is_normalised=is_normalised)
            except AnnotationError as error:
                yield Entry(name, error=str(error))

    return read_listed(index, paths, parse, lists_all=False)


def _rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Yield the number and the columns of each row."""
    lines = list(csv.reader(read_text(path).splitlines()))
    layout = _layout(lines[0])
    assert layout is not None
    columns, has_header = layout
    for i, words in enumerate(lines):
        if words and (i > 0 or not has_header):
            if len(words) != len(columns):
                raise AnnotationError(f"line {i + 1} has {len(words)} columns; accepted: {len(columns)}")
            yield i + 1, {column: word.strip() for column, word in zip(columns, words, strict=True) if column}


def _entry(
    name: str, pairs: list[tuple[int, Row]], attribute: str, ignored: Counter[str], options: ReadOptions
) -> Entry:
    objects = []
    for line, row in pairs:
        try:
            found = _object(row, attribute, ignored, options)
        except AnnotationError as error:
            raise AnnotationError(f"line {line}: {error}") from error
        if found is not None:
            objects.append(found)
    row = pairs[0][1]
    width, height = (int(float(row[key])) if _is_number(row.get(key) or "x") else None for key in ("width", "height"))
    return Entry(name, tuple(objects), (width, height), split_of(row.get("split", "")))


def _object(row: Row, attribute: str, ignored: Counter[str], options: ReadOptions) -> LabelledBox | None:
    """Return the object of a row; None for an image without objects, or a counted shape without a box."""
    if "shape" in row:
        region = {"shape_attributes": _json(row["shape"]), "region_attributes": _json(row["attributes"])}
        return region_box(region, attribute, ignored, options) if region["shape_attributes"] else None
    keys = _CORNERS if "x0" in row else _SIZED
    if not any(row[key] for key in keys) and not row["label"]:
        return None
    if not row["label"]:
        raise AnnotationError("the label is empty")
    return LabelledBox(row["label"], _box(row, keys, options.pixel_origin or 0))


def _json(text: str) -> object:
    try:
        return json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{text!r:.40} is not JSON") from error


def _box(row: Row, keys: tuple[str, ...], origin: int) -> BoxXyxy:
    a, b, c, d = (number(row[key], key) for key in keys)
    return from_origin((a, b, c, d), origin) if keys == _CORNERS else sized_box(a, b, c, d, origin)
