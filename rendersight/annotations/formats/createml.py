"""CreateML: reading of one JSON with a list of images and their boxes.

The format is Apple's (developer.apple.com/documentation/createml, "Building an object detector data source").
`coordinates` are the centre and the size of a box, in px from the image's top-left corner.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rendersight.annotations import AnnotationError, LabelledBox, Listing, ReadOptions
from rendersight.annotations.formats.listed import Entry, number, read_listed, sized_box
from rendersight.annotations.index import FileIndex, read_text

_HEAD = re.compile(rb'\s*\[\s*\{\s*"(image|imagefilename|annotations?)"\s*:')
_HEAD_BYTES = 4096


def owns(_index: FileIndex, path: Path) -> bool:
    """Return whether a JSON file is CreateML's, by its first key."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    keys = (rb'"image(filename)?"\s*:\s*"', rb'"annotations?"\s*:\s*\[')
    return _HEAD.match(head) is not None and all(re.search(key, head) for key in keys)


def read(index: FileIndex, options: ReadOptions) -> Listing:
    """Read CreateML's JSON files. Their images define the dataset; an image without annotations has no objects.

    Raises:
        AnnotationError: there is no CreateML file.
    """
    paths = [path for path in index.with_suffix(".json") if owns(index, path)]
    if not paths:
        raise AnnotationError(f"{index.root} holds no CreateML file: a JSON list of images with annotations")

    def parse(path: Path, _ignored: Counter[str]) -> Iterator[Entry]:
        for i, item in enumerate(_items(path)):
            name = item.get("image", item.get("imagefilename")) if isinstance(item, dict) else None
            found = item.get("annotations", item.get("annotation")) if isinstance(item, dict) else None
            if not isinstance(name, str) or not isinstance(found, list):
                raise AnnotationError(f"item {i} is {item!r:.60}; accepted: an object with image and annotations")
            try:
                yield Entry(name, tuple(_object(one, options) for one in found))
            except AnnotationError as error:
                yield Entry(name, error=str(error))

    return read_listed(index, paths, parse)


def _items(path: Path) -> list[Any]:
    try:
        data = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"not JSON: {error}") from error
    if not isinstance(data, list):
        raise AnnotationError("is not a CreateML file; accepted: a list of images")
    return data


def _object(item: object, options: ReadOptions) -> LabelledBox:
    label = item.get("label") if isinstance(item, dict) else None
    place = item.get("coordinates") if isinstance(item, dict) else None
    if not isinstance(label, str) or not label.strip() or not isinstance(place, dict):
        raise AnnotationError(f"an annotation is {item!r:.60}; accepted: an object with label and coordinates")
    x, y, width, height = (number(place.get(key), key) for key in ("x", "y", "width", "height"))
    box = sized_box(x - width / 2, y - height / 2, width, height, options.pixel_origin or 0)
    return LabelledBox(label.strip(), box)
