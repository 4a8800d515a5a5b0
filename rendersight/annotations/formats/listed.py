"""Datasets whose files list many images by name: what the formats CVAT, VIA, CreateML and CSV share."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rendersight.annotations import AnnotationError, Fault, LabelledBox, Listing, Record
from rendersight.annotations.boxes import BoxXyxy
from rendersight.annotations.index import IMAGE_FOLDERS, FileIndex
from rendersight.annotations.splits import split_of, split_of_folders

_MOST_PX = 1e9


@dataclass(frozen=True)
class Entry:
    """One image as a file lists it.

    Attributes:
        name: the image's name or path, as written.
        objects: the boxes, in px of the upright image or, if `is_normalised`, in fractions of its width and height.
        stated_wh: width and height stated in the file, px; None for a missing one.
        splits: the splits that the file states for the image.
        is_normalised: whether the boxes are fractions.
        error: why the image cannot be used, or an empty text.
    """

    name: str
    objects: tuple[LabelledBox, ...] = ()
    stated_wh: tuple[int | None, int | None] = (None, None)
    splits: tuple[str, ...] = ()
    is_normalised: bool = False
    error: str = ""


Parse = Callable[[Path, Counter[str]], Iterable[Entry]]
"""Function that returns the entries of a file and counts the shapes that give no box."""


def read_listed(index: FileIndex, paths: Sequence[Path], parse: Parse, *, lists_all: bool = True) -> Listing:
    """Read files that list images. An image is the one that `FileIndex.image_named` finds for its name.

    The split of an image is the one that its file states, else the one in the file's name, else that of its folder.

    Args:
        index: the dataset's files.
        paths: the files.
        parse: reads one file.
        lists_all: whether the files also list images without objects. Otherwise images beside the listed ones belong
            to the dataset, as images without a label file.
    """
    faults: list[Fault] = []
    records: dict[Path, Record] = {}
    broken: set[Path] = set()
    ignored: Counter[str] = Counter()
    for path in paths:
        try:
            for entry in parse(path, ignored):
                try:
                    image_path = index.image_named(entry.name, _folders(index, path))
                    broken.add(image_path)  # unless it becomes a record
                    if entry.error:
                        raise AnnotationError(entry.error)
                    if image_path in records:
                        raise AnnotationError("is listed twice; list each image once")
                except AnnotationError as error:
                    faults.append(Fault(index.name(path), f"image {entry.name!r}: {error}"))
                else:
                    records[image_path] = _record(index, path, entry, image_path)
        except AnnotationError as error:
            faults.append(Fault(index.name(path), str(error)))
    strangers = [path for path in index.images if path not in records and path not in broken]
    if not lists_all:
        folders = {path.parent for path in records}
        beside = [path for path in strangers if path.parent in folders]
        records.update({path: Record(index.name(path), path, None, ()) for path in beside})
        strangers = [path for path in strangers if path.parent not in folders]
    return Listing(
        root=index.root,
        records=tuple(records.values()),
        faults=tuple(faults),
        ignored_shapes=ignored,
        unlisted=tuple(index.name(path) for path in strangers) if index.entry is None else (),
        used=tuple(paths),
    )


def _record(index: FileIndex, path: Path, entry: Entry, image_path: Path) -> Record:
    name = index.name(image_path)
    return Record(
        name=name,
        image_path=image_path,
        annotation_path=path,
        objects=entry.objects,
        stated_wh=entry.stated_wh,
        is_normalised=entry.is_normalised,
        splits=entry.splits or split_of(path.stem) or split_of_folders(name),
    )


def _folders(index: FileIndex, path: Path) -> Iterator[Path]:
    """Yield the folders that may hold the images of a file, the likeliest first."""
    for base in dict.fromkeys((path.parent, index.root)):
        yield base
        yield from (folder for name in IMAGE_FOLDERS if (folder := base / name).is_dir())


def number(value: object, what: str) -> float:
    """Return a number written as such or as text.

    Raises:
        AnnotationError: it is neither, or not finite.
    """
    try:
        found = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        found = math.nan
    if not abs(found) < _MOST_PX:
        raise AnnotationError(f"{what} is {value!r:.40}; accepted: a number")
    return found


def sized_box(x: float, y: float, width: float, height: float, origin: int) -> BoxXyxy:
    """Return the corners of a box given by its corner and size.

    Args:
        x: left edge, or number of the first column.
        y: upper edge, or number of the first row.
        width: width, px.
        height: height, px.
        origin: number of the first pixel, 0 or 1.

    Raises:
        AnnotationError: the size is negative.
    """
    if width < 0 or height < 0:
        raise AnnotationError(f"width {width:g} or height {height:g} is negative; accepted: 0 or more")
    return x - origin, y - origin, x - origin + width, y - origin + height
