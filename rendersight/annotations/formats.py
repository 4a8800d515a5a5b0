"""The supported annotation formats, and recognition of a dataset's format."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rendersight.annotations import AnnotatedImage, AnnotationError, Listing, coco, labelme_folder, voc, yolo
from rendersight.annotations.index import FileIndex


@dataclass(frozen=True)
class Format:
    """One annotation format.

    Attributes:
        mark: returns which of a dataset's files is in this format, in words, or None.
        read: reads the files into a listing.
        write: writes annotations into a folder that already has the images in `image_folder`, under their names; takes
            the folder, the images, and the class names in their order.
        image_folder: folder of the images in a written dataset.
        has_file_each: whether each image has an annotation file with the same stem.
        has_splits: whether the format stores splits.
        has_flags: whether the format stores flags such as VOC's `difficult`.
        is_upright: whether the format's own programs apply EXIF orientation, so boxes surely fit the upright image.
    """

    mark: Callable[[FileIndex], str | None]
    read: Callable[[FileIndex], Listing]
    write: Callable[[Path, list[AnnotatedImage], tuple[str, ...]], None]
    image_folder: str
    has_file_each: bool = True
    has_splits: bool = True
    has_flags: bool = False
    is_upright: bool = False


FORMATS = {
    "labelme": Format(
        labelme_folder.mark, labelme_folder.read, labelme_folder.write, ".", has_splits=False, has_flags=True
    ),
    "coco": Format(coco.mark, coco.read, coco.write, coco.IMAGES, has_file_each=False),
    "voc": Format(voc.mark, voc.read, voc.write, voc.IMAGES, has_flags=True),
    "yolo": Format(yolo.mark, yolo.read, yolo.write, yolo.IMAGES, is_upright=True),
}


def format_of(name: str) -> Format:
    """Return a format by its name.

    Raises:
        AnnotationError: no such name.
    """
    if name not in FORMATS:
        raise AnnotationError(f"format {name!r} is unknown; known: {', '.join(FORMATS)}")
    return FORMATS[name]


def recognise(index: FileIndex) -> str:
    """Return the name of a dataset's format, recognised by its files; images without annotations are LabelMe's.

    Raises:
        AnnotationError: files of several formats are there, or the given file is of none.
    """
    marks = {name: mark for name, row in FORMATS.items() if (mark := row.mark(index)) is not None}
    if len(marks) > 1:
        told = " and ".join(f"{name} ({mark})" for name, mark in marks.items())
        raise AnnotationError(
            f"{index.root} could be {told}; say which with --format, or name the dataset's own file or sub-folder"
        )
    if not marks and index.entry is not None:
        raise AnnotationError(
            f"{index.entry} is neither COCO's JSON (lists images, annotations and categories) nor YOLO's YAML (names, "
            "and train, val or test)"
        )
    return next(iter(marks), "labelme")
