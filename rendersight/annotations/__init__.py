"""Annotated images, the common form of all annotation formats."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class AnnotationError(ValueError):
    """An annotation file, or one shape in it, that does not describe a box."""


@dataclass(frozen=True, eq=False)
class AnnotatedImage:
    """One image of a dataset with its boxes; an image without objects has no boxes.

    Attributes:
        name: path within the dataset with forward slashes, unique in it, such as `tray/photo_1.jpg`.
        image_path: the image file; None if the pixels are embedded in the annotation file.
        annotation_path: the file with the boxes; None for an image without one.
        size_wh: width and height of the upright image, px.
        boxes_xyxy: float32 (N, 4), px of the upright image, inside it and with an area.
        labels: N class names.
        flags: flags of each of the N boxes, such as VOC's `difficult`; empty if no box has any.
        splits: the dataset's splits that contain the image, such as `train`; LabelMe has none.
    """

    name: str
    image_path: Path | None
    annotation_path: Path | None
    size_wh: tuple[int, int]
    boxes_xyxy: NDArray[np.float32]
    labels: tuple[str, ...]
    flags: tuple[frozenset[str], ...] = ()
    splits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fault:
    """A file of a dataset that cannot be used, and why."""

    file: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"


@dataclass(frozen=True)
class LabelledBox:
    """One object as written in its file: x0, y0, x1, y1; the box may reach beyond the image or have no area."""

    label: str
    box_xyxy: tuple[float, float, float, float]
    flags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Record:
    """One image as described by the dataset's files, before its pixels are read.

    Attributes:
        name: as in `AnnotatedImage.name`.
        image_path: the image file; None if the pixels are embedded in the annotation file.
        annotation_path: the file with the boxes; None for an image without one.
        objects: the boxes, in px of the upright image or, if `is_normalised`, in fractions of its width and height.
        stated_wh: width and height stated in the file, px; None for a missing one.
        size_field: the file's name for that size, for messages.
        is_normalised: whether the boxes are fractions.
        splits: as in `AnnotatedImage.splits`.
    """

    name: str
    image_path: Path | None
    annotation_path: Path | None
    objects: tuple[LabelledBox, ...]
    stated_wh: tuple[int | None, int | None] = (None, None)
    size_field: str = "width x height"
    is_normalised: bool = False
    splits: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """The file that describes the image: its annotation, else the image itself."""
        path = self.annotation_path or self.image_path
        assert path is not None
        return path


@dataclass(frozen=True)
class Listing:
    """The content of a dataset as found by a format's reader, before any pixels are read.

    Attributes:
        root: the folder that names are relative to.
        records: one record for each image, with unique names.
        faults: every file that cannot be used.
        ignored_shapes: number of skipped shapes, by type, for types that give no box.
        class_names: the declared classes in the dataset's order, used or not; LabelMe and VOC declare none.
        unlisted: names of image files that the dataset's files do not mention, if this excludes them from the dataset.
        remarks: how ambiguous files were interpreted.
    """

    root: Path
    records: tuple[Record, ...]
    faults: tuple[Fault, ...]
    ignored_shapes: Counter[str] = field(default_factory=Counter)
    class_names: tuple[str, ...] = ()
    unlisted: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
