"""Annotated images: what every annotation format is read into and written from."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class AnnotationError(ValueError):
    """An annotation file, or one shape in it, says something that cannot be a box."""


@dataclass(frozen=True, eq=False)
class AnnotatedImage:
    """One image of a dataset with its boxes; an image without objects has none.

    Attributes:
        name: path within the dataset with forward slashes, unique there, such as `tray/photo_1.jpg`.
        image_path: the image file; None where the pixels are embedded in the annotation file.
        annotation_path: the file the boxes come from; None for an image without one.
        size_wh: width and height of the upright image, px.
        boxes_xyxy: float32 (N, 4), px of the upright image, inside it and with an area.
        labels: N class names.
        flags: what else is said of each of the N boxes, such as VOC's `difficult`; empty where nothing is.
        splits: the parts of the dataset that its files put the image into, such as `train`; LabelMe knows none.
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
    """One object as its file has it: x0, y0, x1, y1, perhaps beyond the image or without an area."""

    label: str
    box_xyxy: tuple[float, float, float, float]
    flags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Record:
    """What a dataset's files say of one image, before anybody has looked at its pixels.

    Attributes:
        name: as `AnnotatedImage.name`.
        image_path: the image file; None where the pixels are embedded in the annotation file.
        annotation_path: the file the boxes come from; None for an image without one.
        objects: the boxes, in px of the upright image or, with `is_normalised`, in shares of its width and height.
        stated_wh: the size that the file states, px; None for what it does not.
        size_field: what the file calls that size, for messages.
        is_normalised: whether the boxes are shares.
        splits: as `AnnotatedImage.splits`.
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
        """The file that tells of the image: its annotation, else itself."""
        path = self.annotation_path or self.image_path
        assert path is not None
        return path


@dataclass(frozen=True)
class Listing:
    """What a format's reader has found; no pixel has been looked at.

    Attributes:
        root: the folder that names are relative to.
        records: an image each, of different names.
        faults: every file that cannot be used.
        ignored_shapes: how many shapes of each type that gives no box were passed over.
        class_names: those that the dataset declares, in its order, used or not; LabelMe and VOC declare none.
        unlisted: names of image files that the dataset's files do not speak of, where that means they are not in it.
        remarks: how the files were understood, where a person could think otherwise.
    """

    root: Path
    records: tuple[Record, ...]
    faults: tuple[Fault, ...]
    ignored_shapes: Counter[str] = field(default_factory=Counter)
    class_names: tuple[str, ...] = ()
    unlisted: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
