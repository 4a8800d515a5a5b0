"""YOLO: reading and writing of one text file of numbers for each image, and `data.yaml` with the class names.

The format is Ultralytics' (docs.ultralytics.com/datasets/detect). Each object is a line `class cx cy width height`, or
the outline of a segment `class x y x y ...`, in fractions of the image's width and height. Classes count from 0. The
loader of Ultralytics applies the EXIF orientation, so boxes are relative to the upright image.
"""

import math
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rendersight.annotations import AnnotatedImage, AnnotationError, Fault, LabelledBox, Listing, Record
from rendersight.annotations.boxes import BoxXyxy, extent_of_polygon, whole_number
from rendersight.annotations.index import (
    FileIndex,
    images_below,
    images_in,
    name_below,
    read_text,
    split_of_folders,
    without_twins,
)

IMAGES = "images"
LABELS = "labels"
DATA = "data.yaml"
UNASSIGNED = "unassigned"
"""Key in `data.yaml` for the images without a split, if other images have one."""

_NAMES = ("classes.txt", "obj.names")
_SPLIT_KEYS = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "trainval": "trainval",
    "minival": "minival",
    UNASSIGNED: "",
}
_BOX_NUMBERS = 4
_POLYGON_NUMBERS = 6
_ROUNDING = 0.01
_DIGITS = 10


def mark(index: FileIndex) -> str | None:
    """Return which file of a folder is YOLO, in words, or None."""
    if (found := _data_file(index)) is not None:
        return f"{index.name(found)} with names"
    if index.entry is None and (names := _names_file(index)) and any(_label_file(path) for path in index.images):
        return f"{index.name(names)} with label files"
    return None


def read(index: FileIndex) -> Listing:
    """Read the folders of images, or lists of images, that `data.yaml` names, with their label files.

    The path of a label file is that of the image with `labels` in place of the last folder `images` and the suffix
    `.txt`; otherwise it lies beside the image. An image without a label file has no objects. Paths are relative to
    `path`, else to the YAML's folder. If a path that begins with `../` does not exist, `../` is removed, because
    Roboflow writes such paths. Without `data.yaml`, the names are the lines of `classes.txt`, and all images of the
    folder are read.

    Raises:
        AnnotationError: neither `data.yaml` nor `classes.txt` is there.
    """
    if (path := _data_file(index)) is not None:
        return _Data(index, path).read()
    names = _names_file(index)
    if names is None:
        raise AnnotationError(f"{index.root} holds no {DATA} with names and train, val or test, and no {_NAMES[0]}")
    classes = {i: name.strip() for i, name in enumerate(read_text(names).split("\n")) if name.strip()}
    images, faults = without_twins(index, index.images)
    splits = {path: split_of_folders(index.name(path)) for path in images}
    return _listing(index.root, splits, classes, faults)


def write(folder: Path, images: list[AnnotatedImage], class_names: tuple[str, ...]) -> None:
    """Write a label file for each image, and `data.yaml`, in which splits are lists of images.

    Without splits, `train` is all images and `val` is empty, because Ultralytics requires both keys.
    """
    numbers = {name: number for number, name in enumerate(class_names)}
    for image in images:
        path = label_path(folder / IMAGES / image.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in to_lines(image, numbers)), "utf-8")
    splits = sorted({split for image in images for split in image.splits})
    parts = {split: [image for image in images if split in image.splits] for split in splits}
    if rest := [image for image in images if splits and not image.splits]:
        parts[UNASSIGNED] = rest
    for split, part in parts.items():
        text = "".join(f"./{IMAGES}/{image.name}\n" for image in part)
        (folder / f"{split}.txt").write_text(text, "utf-8")
    places: dict[str, str | None] = {"train": None, "val": None}
    places.update({split: f"{split}.txt" for split in parts} if parts else {"train": IMAGES})
    content = {**places, "names": dict(enumerate(class_names))}
    (folder / DATA).write_text(_yaml().safe_dump(content, sort_keys=False, allow_unicode=True), "utf-8")


def to_lines(image: AnnotatedImage, numbers: dict[str, int]) -> Iterator[str]:
    """Yield the lines of an image's label file, fractions with ten digits: exact to 1e-6 px in any photo."""
    width, height = image.size_wh
    for (x0, y0, x1, y1), label in zip(image.boxes_xyxy.tolist(), image.labels, strict=True):
        shares = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
        yield " ".join((str(numbers[label]), *(f"{share:.{_DIGITS}f}".rstrip("0").rstrip(".") for share in shares)))


def label_path(image_path: Path) -> Path:
    """Return the path of an image's label file: the last folder `images` in the path becomes `labels`."""
    return (_swapped(image_path.parent, IMAGES, LABELS) / image_path.name).with_suffix(".txt")


def _swapped(folder: Path, name: str, other: str) -> Path:
    """Return a path with the last folder of one name renamed."""
    parts = folder.parts
    if name not in parts:
        return folder
    place = len(parts) - 1 - parts[::-1].index(name)
    return Path(*parts[:place], other, *parts[place + 1 :])


def _label_file(image_path: Path) -> Path | None:
    """Return the label file of an image, or None."""
    return next((path for path in (label_path(image_path), image_path.with_suffix(".txt")) if path.is_file()), None)


def _data_file(index: FileIndex) -> Path | None:
    """Return the YAML that describes the dataset, or None."""
    candidates = [path for path in index.with_suffix(".yaml", ".yml") if path.parent == index.root or index.entry]
    for path in sorted(candidates, key=lambda path: path.name != DATA):
        try:
            data = _load_yaml(path)
        except AnnotationError:
            if path.name == DATA or index.entry:
                return path
        else:
            if isinstance(data, dict) and "names" in data and {"path", *_SPLIT_KEYS} & set(data):
                return path
    return None


def _names_file(index: FileIndex) -> Path | None:
    return next((path for name in _NAMES if (path := index.root / name).is_file()), None)


def _yaml() -> Any:
    try:
        import yaml  # noqa: PLC0415 - optional
    except ImportError as error:
        raise AnnotationError("YOLO's data.yaml needs PyYAML: pip install pyyaml") from error
    return yaml


def _load_yaml(path: Path) -> Any:
    """Parse YAML into text, lists and dicts only: a class named `no` stays text, and no tag creates an object."""
    yaml = _yaml()
    try:
        return yaml.load(read_text(path), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise AnnotationError(f"not YAML: {' '.join(str(error).split())}") from error


@dataclass
class _Data:
    """A `data.yaml` being read."""

    index: FileIndex
    path: Path
    root: Path = field(init=False)
    faults: list[Fault] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def read(self) -> Listing:
        """Read the file and everything that it names."""
        try:
            data = _load_yaml(self.path)
        except AnnotationError as error:
            return Listing(self.index.root, (), (Fault(self.index.name(self.path), str(error)),))
        if not isinstance(data, dict):
            return Listing(self.index.root, (), (Fault(self.index.name(self.path), "no mapping with names and train"),))
        self.root = self._root(data.get("path"))
        names = self._names(data)
        splits: dict[Path, dict[str, None]] = {}
        for key, split in _SPLIT_KEYS.items():
            for path in self._images(key, data.get(key)):
                splits.setdefault(path, {}).update({split: None} if split else {})
        told = {split for found in splits.values() for split in found}
        parts = {path: tuple(found) if len(told) > 1 else () for path, found in splits.items()}
        kept, twins = without_twins(FileIndex(self.root), parts)
        listing = _listing(
            self.root,
            {path: parts[path] for path in kept},
            names,
            [*self.faults, *twins],
            with_points="kpt_shape" in data,
        )
        unlisted = [path for path in self.index.images if path not in splits] if self.index.entry is None else []
        return replace(
            listing,
            unlisted=tuple(name_below(self.root, path) for path in unlisted),
            remarks=tuple(self.remarks),
        )

    def _blame(self, reason: str) -> None:
        self.faults.append(Fault(name_below(self.root, self.path), reason))

    def _root(self, written: object) -> Path:
        here = self.path.parent
        if isinstance(written, str) and written and (root := here / written).is_dir():
            return root.resolve()
        return here  # `path` belongs to another machine, as in most shared datasets

    def _names(self, data: dict[str, Any]) -> dict[int, str]:
        names = data.get("names")
        items = dict(enumerate(names)) if isinstance(names, list) else names
        found: dict[int, str] = {}
        for key, name in items.items() if isinstance(items, dict) else ():
            number = whole_number(str(key))
            if not isinstance(name, str) or not name.strip() or number is None:
                self._blame(f"names: {key!r:.20}: {name!r:.40} is no number with a name")
            else:
                found[number] = name
        if not found:
            self._blame("names is no list of names, nor numbers with names")
        if (count := data.get("nc")) is not None and found and count != str(len(found)):
            self._blame(f"nc is {count!r:.20}, but there are {len(found)} names")
        return dict(sorted(found.items()))

    def _images(self, key: str, places: object) -> Iterator[Path]:
        """Yield the images of a key such as `train` or `val`."""
        for place in places if isinstance(places, list) else [places]:
            if place is None or place in ("", "null", "~"):
                continue
            if not isinstance(place, str):
                self._blame(f"{key}: {place!r:.40} is no path")
                continue
            found = next((path for path in self._candidates(place) if path.exists()), None)
            if found is None:
                reason = f"{key}: {place!r} is no folder and no list"
                if key == "test":  # Ultralytics does not read it in training
                    self.remarks.append(f"{name_below(self.root, self.path)}: {reason}; left out")
                else:
                    self._blame(reason)
            elif found.is_dir():
                yield from images_below(found)
            else:
                yield from self._listed(found)

    def _candidates(self, place: str) -> Iterator[Path]:
        for base in dict.fromkeys((self.root, self.path.parent)):
            yield Path(os.path.normpath(base / place))
            if place.startswith("../"):
                yield base / place.removeprefix("../")

    def _listed(self, path: Path) -> Iterator[Path]:
        """Yield the images of a list with one path per line."""
        try:
            lines = [line.rstrip("\r") for line in read_text(path).split("\n")]
        except AnnotationError as error:
            self.faults.append(Fault(name_below(self.root, path), str(error)))
            return
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            written = line.replace("\\", "/").removeprefix("./")
            candidates = (Path(os.path.normpath(base / written)) for base in (path.parent, self.root))
            found = next((path for path in candidates if path.is_file()), None)
            if found is None:
                reason = f"line {number}: {line!r}: no such image file"
                self.faults.append(Fault(name_below(self.root, path), reason))
            else:
                yield found


def _listing(
    root: Path,
    splits: dict[Path, tuple[str, ...]],
    names: dict[int, str],
    faults: Iterable[Fault],
    *,
    with_points: bool = False,
) -> Listing:
    """Read the images' label files, and report label files without an image."""
    records = []
    faults = list(faults)
    used = set()
    for image_path, parts in splits.items():
        path = _label_file(image_path)
        used.add(path)
        try:
            objects = tuple(_objects(read_text(path), names, with_points=with_points)) if path is not None else ()
        except AnnotationError as error:
            assert path is not None
            faults.append(Fault(name_below(root, path), str(error)))
            continue
        name = name_below(root, image_path)
        records.append(Record(name, image_path, path, objects, is_normalised=True, splits=parts))
    for folder in sorted({path.parent for path in used if path is not None and LABELS in path.parent.parts}):
        images = {path.stem for place in (folder, _swapped(folder, LABELS, IMAGES)) for path in images_in(place)}
        for path in sorted(folder.glob("*.txt")):
            if path not in used and path.stem not in images and _is_label_file(path):
                faults.append(Fault(name_below(root, path), "no image of this stem"))
    return Listing(root, tuple(records), tuple(faults), class_names=tuple(dict.fromkeys(names.values())))


def _is_label_file(path: Path) -> bool:
    first = next(iter(path.read_bytes().split(b"\n")), b"")
    return bool(re.fullmatch(rb"\d+( +-?[\d.]+(e-?\d+)?){4,}\s*", first))


def _objects(text: str, names: dict[int, str], *, with_points: bool) -> Iterator[LabelledBox]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield _object(line.split(), names, with_points=with_points)
            except AnnotationError as error:
                raise AnnotationError(f"line {number}: {error}") from error


def _object(words: list[str], names: dict[int, str], *, with_points: bool) -> LabelledBox:
    try:
        label, *numbers = (float(word) for word in words)
    except ValueError:
        raise AnnotationError(f"{' '.join(words)!r:.60} holds what is no number") from None
    if label not in names:
        raise AnnotationError(
            f"class {words[0]} has no name; there are {min(names, default=0)} to {max(names, default=0)}"
        )
    if not all(math.isfinite(value) and -_ROUNDING <= value <= 1 + _ROUNDING for value in numbers[:_BOX_NUMBERS]):
        raise AnnotationError(f"{' '.join(words[1:5])} are not in 0 to 1: numbers are shares of the image's size")
    if with_points and len(numbers) > _BOX_NUMBERS:
        numbers = numbers[:_BOX_NUMBERS]
    return LabelledBox(names[int(label)], _box(numbers))


def _box(numbers: list[float]) -> BoxXyxy:
    if len(numbers) == _BOX_NUMBERS:
        cx, cy, width, height = numbers
        if width < 0 or height < 0:
            raise AnnotationError(f"width {width:g} or height {height:g} is negative")
        return cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2
    if len(numbers) < _POLYGON_NUMBERS or len(numbers) % 2 or not all(math.isfinite(value) for value in numbers):
        raise AnnotationError(
            f"{len(numbers)} numbers behind the class; a box has 4, an outline x and y of three points or more"
        )
    return extent_of_polygon(numbers)
