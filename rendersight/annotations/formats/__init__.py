"""The supported annotation formats, and recognition of a dataset's format."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rendersight.annotations import AnnotatedImage, AnnotationError, Listing, ReadOptions, unread
from rendersight.annotations.formats import coco, createml, csv_table, cvat, labelme_folder, via, voc, yolo, yolo_labels
from rendersight.annotations.index import FileIndex

Write = Callable[[Path, list[AnnotatedImage], tuple[str, ...]], None]
"""Function that writes annotations into a folder that has the images; takes the class names in their order."""


@dataclass(frozen=True)
class Format:
    """One annotation format.

    Attributes:
        title: the format's name in messages.
        suffixes: suffixes of its annotation files.
        owns: whether a file with such a suffix is in this format, by its content.
        read: reads a dataset's files into a listing.
        write: writes annotations beside the images in `image_folder`; None if the format is only read.
        image_folder: folder of the images in a written dataset.
        has_file_each: whether each image has an annotation file with the same stem.
        has_splits: whether the format stores splits; folder names give them otherwise.
        has_classes: whether the format stores classes without a box.
        flags: the flags that the format stores, such as VOC's `difficult`; None if it stores any flag.
        has_ignored: whether the format can mark a box as neither object nor background.
        is_upright: whether the format's own programs apply EXIF orientation, so boxes surely fit the upright image.
    """

    title: str
    suffixes: tuple[str, ...]
    owns: Callable[[FileIndex, Path], bool]
    read: Callable[[FileIndex, ReadOptions], Listing]
    write: Write | None = None
    image_folder: str = "."
    has_file_each: bool = True
    has_splits: bool = True
    has_classes: bool = False
    flags: tuple[str, ...] | None = ()
    has_ignored: bool = False
    is_upright: bool = False


FORMATS = {
    "labelme": Format(
        "LabelMe",
        (".json",),
        labelme_folder.owns,
        labelme_folder.read,
        labelme_folder.write,
        has_splits=False,
        flags=None,
        has_ignored=True,
        is_upright=True,
    ),
    "coco": Format(
        "COCO",
        (".json",),
        coco.owns,
        coco.read,
        coco.write,
        coco.IMAGES,
        has_file_each=False,
        has_classes=True,
        has_ignored=True,
    ),
    "voc": Format(
        "Pascal VOC", (".xml",), voc.owns, voc.read, voc.write, voc.IMAGES, flags=voc.FLAGS, has_ignored=True
    ),
    "yolo": Format(
        "YOLO",
        (".yaml", ".yml", ".txt"),
        yolo.owns,
        yolo.read,
        yolo.write,
        yolo_labels.IMAGES,
        has_classes=True,
        is_upright=True,
    ),
    "cvat": Format("CVAT for images", (".xml",), cvat.owns, cvat.read, has_file_each=False),
    "via": Format("VGG Image Annotator", (".json",), via.owns, via.read, has_file_each=False),
    "createml": Format("CreateML", (".json",), createml.owns, createml.read, has_file_each=False),
    "csv": Format("CSV", (".csv",), csv_table.owns, csv_table.read, has_file_each=False),
}
WRITABLE = tuple(name for name, row in FORMATS.items() if row.write is not None)
"""Names of the formats that datasets can be written in."""


def format_of(name: str) -> Format:
    """Return a format by its name.

    Raises:
        AnnotationError: no such name.
    """
    if name not in FORMATS:
        raise AnnotationError(f"{name!r} is not a format; accepted: {', '.join(FORMATS)}")
    return FORMATS[name]


def owner(index: FileIndex, path: Path) -> str | None:
    """Return the name of the format that a file is in, or None."""
    suffix = path.suffix.lower()
    return next((name for name, row in FORMATS.items() if suffix in row.suffixes and row.owns(index, path)), None)


def recognise(index: FileIndex) -> str:
    """Return the name of a dataset's format, recognised by its files; images without annotations are LabelMe's.

    Raises:
        AnnotationError: files of several formats are there, or the given file is of none.
    """
    found: dict[str, Path] = {}
    for name, row in FORMATS.items():
        if (
            path := next((path for path in index.with_suffix(*row.suffixes) if row.owns(index, path)), None)
        ) is not None:
            found[name] = path
    if len(found) > 1:
        files = " and ".join(f"{FORMATS[name].title} ({index.name(path)})" for name, path in found.items())
        raise AnnotationError(
            f"{index.root} holds label files in several formats: {files}. Choose one with --format, or give the "
            "dataset's own file or sub-folder"
        )
    if not found and index.entry is not None:
        known = ", ".join(row.title for row in FORMATS.values())
        hint = unread.guess(index.entry)
        raise AnnotationError(
            f"{index.entry} {hint}" if hint else f"{index.entry} describes no dataset; formats that are read: {known}"
        )
    return next(iter(found), "labelme")
