"""COCO: reading and writing of one JSON with images, annotations and categories.

The format is cocodataset.org/#format-data. `bbox` is [x, y, width, height] in px, continuous, from the image's top-left
corner (0, 0). Ids of images, annotations and categories are any numbers; some programs write them as text, "7" for 7.
COCO does not mention EXIF. Here boxes are in px of the upright image, and it is a fault if the stated size is that of
the stored image instead.
"""

import json
import math
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rendersight.annotations import (
    IGNORE,
    AnnotatedImage,
    AnnotationError,
    Fault,
    LabelledBox,
    Listing,
    ReadOptions,
    Record,
)
from rendersight.annotations.boxes import BoxXyxy, extent_of_polygon, whole_number
from rendersight.annotations.formats import coco_writing
from rendersight.annotations.index import FileIndex, read_text
from rendersight.annotations.splits import split_of, split_of_folders

IMAGES = "images"
ANNOTATIONS = "annotations"
RLE = "rle"

_LISTS = ("images", "annotations")
_HEAD_BYTES = 4096
_MOST_PX = 1e9
_POLYGON_NUMBERS = 6

_Id = int | float | str  # 1.0 is the id 1: they are equal, and so one key of a dict


def owns(_index: FileIndex, path: Path) -> bool:
    """Return whether a JSON file is COCO, with or without its categories."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        data = head if b'"shapes"' in head else head + file.read()  # LabelMe's file may embed a large photo
    has_lists = all(re.search(rb'"%s"\s*:\s*\[' % name.encode(), data) for name in _LISTS)
    return has_lists and b'"shapes"' not in data and re.search(rb'"(categories|bbox|segmentation)"', data) is not None


def read(index: FileIndex, options: ReadOptions) -> Listing:
    """Read the COCO files of a folder, or the given file. The `images` lists define the dataset.

    An image is looked up by `file_name` below these folders: the JSON's, the dataset's, its folder `images`, and its
    folder with the name that the JSON's ends with (`instances_train2017.json`: `train2017`). If none holds it, it is
    the only file of that name in the dataset, in this case or another one. The split is the one in the name of the
    JSON, else of its folder, else of the image's folder. Crowds (`iscrowd`, or `ignore`) are ignored boxes. Run-length
    masks without a `bbox` give no box and are counted.

    Raises:
        AnnotationError: there is no COCO file.
    """
    paths = [path for path in index.with_suffix(".json") if index.entry is not None or owns(index, path)]
    if not paths:
        raise AnnotationError(
            f"{index.root} holds no COCO file: a JSON with the lists images, annotations and categories"
        )
    faults: list[Fault] = []
    merged: dict[str, tuple[Path, Record]] = {}
    class_names: dict[str, None] = {}
    ignored: Counter[str] = Counter()
    for path in paths:
        file = _File(index, path, options)
        file.read()
        faults.extend(file.faults)
        ignored.update(file.ignored)
        class_names.update(dict.fromkeys(file.class_names))
        faults.extend(_merge(index, merged, path, file.records))
    used = {record.image_path for _, record in merged.values()}
    return Listing(
        root=index.root,
        records=tuple(record for _, record in merged.values()),
        faults=tuple(faults),
        ignored_shapes=ignored,
        class_names=tuple(class_names),
        unlisted=tuple(index.name(path) for path in index.images if path not in used) if index.entry is None else (),
        used=tuple(paths),
    )


def write(folder: Path, images: list[AnnotatedImage], class_names: tuple[str, ...]) -> None:
    """Write `annotations/instances_SPLIT.json` for each split, and `instances.json` for images without one.

    Category ids are 1..K in the order of the names; `file_name` is relative to `images/`. Ignored boxes are crowds.
    """
    (folder / ANNOTATIONS).mkdir(parents=True, exist_ok=True)
    splits = sorted({split for image in images for split in image.splits})
    parts = {f"instances_{split}.json": [image for image in images if split in image.splits] for split in splits}
    if not splits or any(not image.splits for image in images):
        parts["instances.json"] = [image for image in images if not image.splits]
    for name, part in parts.items():
        text = json.dumps(coco_writing.dataset(part, class_names), ensure_ascii=False)
        (folder / ANNOTATIONS / name).write_text(text + "\n", "utf-8")


def _merge(index: FileIndex, merged: dict[str, tuple[Path, Record]], path: Path, records: list[Record]) -> list[Fault]:
    """Add a file's records to those of other files; an image listed twice with the same objects is in both splits."""
    strangers: dict[Path, list[str]] = {}
    for record in records:
        if record.name not in merged:
            merged[record.name] = (path, record)
            continue
        first, other = merged[record.name]
        if other.objects != record.objects:
            strangers.setdefault(first, []).append(record.name)
        else:
            splits = tuple(dict.fromkeys((*other.splits, *record.splits)))
            merged[record.name] = (first, replace(other, splits=splits))
    return [
        Fault(
            index.name(path),
            f"lists {len(names)} images such as {names[0]} that {index.name(first)} lists with other objects; "
            "give one of the two files as the dataset",
        )
        for first, names in strangers.items()
    ]


@dataclass
class _File:
    """A COCO file being read."""

    index: FileIndex
    path: Path
    options: ReadOptions
    faults: list[Fault] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    records: list[Record] = field(default_factory=list)
    class_names: list[str] = field(default_factory=list)
    faulty: set[tuple[str, _Id | None]] = field(default_factory=set)

    def read(self) -> None:
        """Read images, objects, categories and faults; an object of a faulty image or category adds no fault."""
        try:
            data = _parse(read_text(self.path))
            categories = self._categories(data)
        except AnnotationError as error:
            self._blame(str(error))
            return
        images = self._images(data["images"])
        objects: dict[_Id, list[LabelledBox]] = {image_id: [] for image_id in images}
        broken = set()
        for i, item in enumerate(data["annotations"]):
            keys = [(key, _id_or_none(item, key)) for key in ("image_id", "category_id")]
            if self.faulty.intersection(keys):
                broken.add(keys[0][1])
                continue
            try:
                image_id = _known_id(item, "image_id", images)
                found = self._object(item, categories)
            except AnnotationError as error:
                self._blame(f"annotations[{i}]{_whose(item, images)}: {error}")
                broken.add(keys[0][1])
                continue
            if found is not None:
                objects[image_id].append(found)
        self.records = [
            replace(record, objects=tuple(objects[image_id]))
            for image_id, record in images.items()
            if image_id not in broken
        ]

    def _blame(self, reason: str) -> None:
        self.faults.append(Fault(self.index.name(self.path), reason))

    def _categories(self, data: dict[str, Any]) -> dict[_Id, str]:
        if "categories" not in data:
            return self._named_by_option(data["annotations"])
        found: dict[_Id, str] = {}
        for i, item in enumerate(data["categories"]):
            number = _id_or_none(item, "id")
            name = _value(item, "name")
            if number is None or number in found:
                self._blame(f"categories[{i}]: id is {_value(item, 'id')!r}; accepted: a number that no other one has")
            elif not isinstance(name, str) or not name.strip():
                self._blame(f"categories[{i}]: name is {name!r}; accepted: a name")
                self.faulty.add(("category_id", number))
            else:
                found[number] = name
        in_order = sorted(found.items(), key=lambda item: (isinstance(item[0], str), item[0]))
        self.class_names = list(dict.fromkeys(name for _, name in in_order))
        return found

    def _named_by_option(self, annotations: list[Any]) -> dict[_Id, str]:
        """Return the names given by the user, for category ids from 1, or from 0 if the file uses 0."""
        if not self.options.class_names:
            raise AnnotationError(
                'has no list "categories", so the classes have no names; add the list, or name the classes with '
                "--labels in the order of their ids"
            )
        self.class_names = list(self.options.class_names)
        first = 0 if any(_id_or_none(item, "category_id") == 0 for item in annotations) else 1
        return dict(enumerate(self.class_names, first))

    def _images(self, items: list[Any]) -> dict[_Id, Record]:
        found: dict[_Id, Record] = {}
        names: set[str] = set()
        folders = self._folders()
        parent = self.path.parent
        splits = split_of(self.path.stem) or (split_of(parent.name) if parent != self.index.root else ())
        for i, item in enumerate(items):
            number = _id_or_none(item, "id")
            try:
                if number is None or number in found:
                    raise AnnotationError(f"id is {_value(item, 'id')!r}; accepted: a number that no other image has")
                written = item.get("file_name")
                if not isinstance(written, str) or not written:
                    raise AnnotationError(f"file_name is {written!r}; accepted: a file's name")
                size_wh = (_size(item, "width"), _size(item, "height"))
                image_path = self._image(written, folders)
                name = self.index.name(image_path)
                if name in names:
                    raise AnnotationError(f"{written} is listed twice; list each image once")
            except AnnotationError as error:
                self._blame(f"images[{i}]: {error}")
                if number is not None and number not in found:
                    self.faulty.add(("image_id", number))
                continue
            names.add(name)
            parts = splits or split_of_folders(name)
            found[number] = Record(name, image_path, self.path, (), stated_wh=size_wh, splits=parts)
        return found

    def _folders(self) -> list[Path]:
        """Return the folders that may hold the images, the likeliest first."""
        root = self.index.root
        words = (self.path.stem.rpartition("_")[2], IMAGES)
        return [self.path.parent, root, *(root / word for word in words), root / IMAGES / words[0]]

    def _image(self, written: str, folders: list[Path]) -> Path:
        try:
            return self.index.image_named(written, folders)
        except AnnotationError as error:
            raise AnnotationError(f"file_name {written!r}: {error}") from error

    def _object(self, item: dict[str, Any], categories: dict[_Id, str]) -> LabelledBox | None:
        label = categories[_known_id(item, "category_id", categories)]
        flags = frozenset({IGNORE}) if item.get("iscrowd") or item.get(IGNORE) else frozenset()
        box, outline = item.get("bbox"), item.get("segmentation")
        if box:
            return LabelledBox(label, self._moved(_box(box)), flags, is_outline=bool(outline))
        if isinstance(outline, dict):
            self.ignored[RLE] += 1
            return None
        if not isinstance(outline, list) or not outline:
            raise AnnotationError("has neither bbox nor segmentation; add one of them")
        polygons = outline if isinstance(outline[0], list) else [outline]
        return LabelledBox(label, self._moved(_around(polygons)), flags, is_outline=True)

    def _moved(self, box: BoxXyxy) -> BoxXyxy:
        origin = self.options.pixel_origin or 0
        x0, y0, x1, y1 = box
        return x0 - origin, y0 - origin, x1 - origin, y1 - origin


def _parse(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"not JSON: {error}") from error
    if not isinstance(data, dict):
        raise AnnotationError(
            "is not a COCO file; accepted: a JSON object with the lists images, annotations, categories"
        )
    for name in (*_LISTS, "categories"):
        if not isinstance(data.get(name), list) and (name in data or name in _LISTS):
            raise AnnotationError(f"is not a COCO file; {name} must be a list")
    return data


def _value(item: object, key: str) -> object:
    return item.get(key) if isinstance(item, dict) else None


def _id_or_none(item: object, key: str) -> _Id | None:
    value = _value(item, key)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and (number := whole_number(value)) is not None:
        return number  # VIA writes "7" for the image 7
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _known_id(item: object, key: str, known: dict[_Id, Any]) -> _Id:
    number = _id_or_none(item, key)
    if number is None or number not in known:
        listed = "images" if key == "image_id" else "categories"
        raise AnnotationError(f"{key} is {_value(item, key)!r:.40}, which {listed} does not list; add it there")
    return number


def _whose(item: object, images: dict[_Id, Record]) -> str:
    number = _id_or_none(item, "image_id")
    return f" ({images[number].name})" if number is not None and number in images else ""


def _size(item: dict[str, Any], key: str) -> int | None:
    value = item.get(key)
    if value is None:
        return None
    is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not is_whole:
        raise AnnotationError(f"{key} is {value!r:.40}; accepted: a whole number")
    return int(value)


def _numbers(values: object, what: str) -> list[float]:
    if not isinstance(values, list) or not all(
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOST_PX for value in values
    ):
        raise AnnotationError(f"{what} is {values!r:.60}; accepted: a list of finite numbers")
    return [float(value) for value in values]


def _box(values: object) -> BoxXyxy:
    numbers = _numbers(values, "bbox")
    if len(numbers) != 4 or min(numbers[2:]) < 0:  # noqa: PLR2004
        raise AnnotationError(f"bbox is {values!r:.60}; accepted: [x, y, width, height], the last two not negative")
    x, y, width, height = numbers
    return x, y, x + width, y + height


def _around(polygons: list[Any]) -> BoxXyxy:
    extents = []
    for polygon in polygons:
        numbers = _numbers(polygon, "segmentation")
        if len(numbers) < _POLYGON_NUMBERS or len(numbers) % 2:
            raise AnnotationError(
                f"segmentation holds {len(numbers)} numbers; accepted: x and y of three points or more"
            )
        extents.append(extent_of_polygon(numbers))
    x0, y0, x1, y1 = zip(*extents, strict=True)
    return min(x0), min(y0), max(x1), max(y1)
