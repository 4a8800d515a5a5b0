"""The annotation formats there are, and which one a dataset is in."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rendersight.annotations import AnnotatedImage, AnnotationError, Listing, coco, labelme_folder, voc, yolo
from rendersight.annotations.tree import Tree


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        mark: says what in a dataset's files is of this format; None where nothing is.
        read: the files -> what they say.
        write: writes annotations into a folder whose images lie in `image_folder` already, under their names; takes
            the folder, the images, and the class names in their order.
        image_folder: where in a written dataset the images lie.
        has_file_each: whether each image has an annotation file of its stem.
        has_splits: whether it tells of the parts of a dataset.
        has_flags: whether it has a place for VOC's `difficult` and the like.
        is_upright: whether its own programs turn images by their EXIF orientation, so that boxes surely count there.
    """

    mark: Callable[[Tree], str | None]
    read: Callable[[Tree], Listing]
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
    """Return the row of the table.

    Raises:
        AnnotationError: no such name.
    """
    if name not in FORMATS:
        raise AnnotationError(f"format {name!r} is unknown; known: {', '.join(FORMATS)}")
    return FORMATS[name]


def recognise(tree: Tree) -> str:
    """Tell the format of a dataset by what lies there; images without any annotation are LabelMe's.

    Raises:
        AnnotationError: marks of several formats, or a file that is of none.
    """
    marks = {name: mark for name, row in FORMATS.items() if (mark := row.mark(tree)) is not None}
    if len(marks) > 1:
        told = " and ".join(f"{name} ({mark})" for name, mark in marks.items())
        raise AnnotationError(
            f"{tree.root} could be {told}; say which with --format, or name the dataset's own file or sub-folder"
        )
    if not marks and tree.entry is not None:
        raise AnnotationError(
            f"{tree.entry} is neither COCO's JSON (lists images, annotations and categories) nor YOLO's YAML (names, "
            "and train, val or test)"
        )
    return next(iter(marks), "labelme")
