"""YOLO's label files: finding, reading and writing; `yolo.py` explains the format."""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from rendersight.annotations import AnnotatedImage, AnnotationError, Fault, LabelledBox, Listing, Record
from rendersight.annotations.boxes import BoxXyxy, extent_of_polygon
from rendersight.annotations.index import (
    IMAGE_FOLDERS,
    LABEL_FOLDERS,
    counterparts,
    images_in,
    name_below,
    read_text,
)

IMAGES = "images"
LABELS = "labels"

_LABEL_LINE = re.compile(rb"\s*\d+([ \t]+-?[\d.]+(e-?\d+)?){4,}\s*", re.IGNORECASE)
_BOX_NUMBERS = 4
_POLYGON_NUMBERS = 6
_ROUNDING = 0.01
_MOST_OUTSIDE = 1.5
_DIGITS = 10


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


def label_finder(root: Path) -> Callable[[Path], Path | None]:
    """Return a function that returns the label file of an image, or None."""
    by_stem: dict[Path, dict[str, Path]] = {}

    def find(image_path: Path) -> Path | None:
        folder = image_path.parent
        if folder not in by_stem:
            mirrors = counterparts(folder, root, names=IMAGE_FOLDERS, others=LABEL_FOLDERS)
            paths = (path for place in (folder, *reversed(mirrors)) for path in place.glob("*.[tT][xX][tT]"))
            by_stem[folder] = {path.stem: path for path in paths}  # the first mirror counts most
        return by_stem[folder].get(image_path.stem)

    return find


def listing_of(
    root: Path,
    splits: dict[Path, tuple[str, ...]],
    names: dict[int, str],
    faults: Iterable[Fault],
    *,
    with_points: bool = False,
) -> Listing:
    """Read the images' label files, and report label files without an image.

    Args:
        root: the folder that names are relative to.
        splits: image -> its splits.
        names: class number -> name.
        faults: faults that are known already.
        with_points: whether numbers after the box are the points of a pose, which are left out.
    """
    records = []
    faults = list(faults)
    used = set()
    find = label_finder(root)
    for image_path, parts in splits.items():
        path = find(image_path)
        used.add(path)
        try:
            objects = tuple(_objects(read_text(path), names, with_points=with_points)) if path is not None else ()
        except AnnotationError as error:
            assert path is not None
            faults.append(Fault(name_below(root, path), str(error)))
            continue
        name = name_below(root, image_path)
        records.append(Record(name, image_path, path, objects, is_normalised=True, splits=parts))
    for folder in sorted({path.parent for path in used if path is not None}):
        mirrors = counterparts(folder, root, names=LABEL_FOLDERS, others=IMAGE_FOLDERS)
        images = {path.stem for place in (folder, *mirrors) for path in images_in(place)}
        for path in sorted(folder.glob("*.[tT][xX][tT]")):
            if path not in used and path.stem not in images and is_label_file(path):
                faults.append(Fault(name_below(root, path), "is a label file, but there is no image of this stem"))
    return Listing(root, tuple(records), tuple(faults), class_names=tuple(dict.fromkeys(names.values())))


def is_label_file(path: Path) -> bool:
    """Return whether the first line of a file is an object of YOLO."""
    lines = path.read_bytes().lstrip().split(b"\n", 1)
    return _LABEL_LINE.fullmatch(lines[0]) is not None


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
        raise AnnotationError(f"{' '.join(words)!r:.60} is not a class and numbers") from None
    if label not in names:
        raise AnnotationError(
            f"class {words[0]} has no name; the classes with a name are {min(names, default=0)} to "
            f"{max(names, default=0)}"
        )
    if not all(math.isfinite(value) and -_ROUNDING <= value <= 1 + _ROUNDING for value in numbers[:_BOX_NUMBERS]):
        raise AnnotationError(f"'{' '.join(words[1:5])}' is beyond 0 to 1; accepted: fractions of the image's size")
    if with_points and len(numbers) > _BOX_NUMBERS:
        numbers = numbers[:_BOX_NUMBERS]
    if any(value > _MOST_OUTSIDE for value in numbers):  # the visibility of a point is 2
        raise AnnotationError(f"{max(numbers):g} is beyond 1; for the points of a pose, data.yaml needs kpt_shape")
    return LabelledBox(names[int(label)], _box(numbers), is_outline=len(numbers) > _BOX_NUMBERS)


def _box(numbers: list[float]) -> BoxXyxy:
    if len(numbers) == _BOX_NUMBERS:
        cx, cy, width, height = numbers
        if width < 0 or height < 0:
            raise AnnotationError(f"width {width:g} or height {height:g} is negative; accepted: 0 or more")
        return cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2
    if len(numbers) < _POLYGON_NUMBERS or len(numbers) % 2 or not all(math.isfinite(value) for value in numbers):
        raise AnnotationError(
            f"there are {len(numbers)} numbers after the class; accepted: 4 for a box, x and y of three or more points "
            "for an outline"
        )
    return extent_of_polygon(numbers)
