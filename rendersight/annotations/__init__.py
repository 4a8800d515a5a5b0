"""Annotated images, the common form of all annotation formats."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

IGNORE = "ignore"
"""The flag of a box that is neither object nor background."""

DIFFICULT = "difficult"
"""VOC's flag of an object that its evaluation ignores; X-AnyLabeling exports it as `ignore` to COCO."""

IGNORE_LABEL = "__ignore__"
"""LabelMe's reserved label of what is neither object nor background; an ignored box without another label has it."""


class AnnotationError(ValueError):
    """An annotation file, or one shape in it, that does not describe a box."""


@dataclass(frozen=True)
class ReadOptions:
    """How to read a dataset's files; the arguments of the commands have the same names.

    Attributes:
        format: a key of `formats.FORMATS`; None recognises the format by the files.
        class_names: the names of classes 0, 1, ... if the files hold only their numbers; empty keeps the numbers.
        negatives: whether an image without a label file shows no object. Otherwise it is left out if others have one.
        ignore_unread: whether label files that no reader understands are left out. Otherwise they are faults.
        pixel_origin: 0 if coordinates are pixel edges counted from 0; 1 if they number the pixels from 1 and include
            the last one; None follows the format's own rule.
        with_difficult: whether boxes flagged `difficult` count as objects. Otherwise they are ignored boxes.
    """

    format: str | None = None
    class_names: tuple[str, ...] = ()
    negatives: bool = False
    ignore_unread: bool = False
    pixel_origin: Literal[0, 1] | None = None
    with_difficult: bool = False


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
        flags: flags of each of the N boxes, such as VOC's `truncated`; empty if no box has any.
        splits: the dataset's splits that contain the image, such as `train`.
        ignored: boxes that are neither object nor background, inside the image and with an area, px. Their labels need
            not be classes.
    """

    name: str
    image_path: Path | None
    annotation_path: Path | None
    size_wh: tuple[int, int]
    boxes_xyxy: NDArray[np.float32]
    labels: tuple[str, ...]
    flags: tuple[frozenset[str], ...] = ()
    splits: tuple[str, ...] = ()
    ignored: tuple["LabelledBox", ...] = ()

    @property
    def ignored_xyxy(self) -> NDArray[np.float32]:
        """The ignored boxes, float32 (M, 4), px."""
        return np.array([item.box_xyxy for item in self.ignored], np.float32).reshape(-1, 4)


@dataclass(frozen=True)
class Fault:
    """A file of a dataset that cannot be used, and why."""

    file: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"


_MOST_ALIKE = 3
# what differs between faults of one kind: quoted paths, names in brackets, files and numbers
_DETAILS = re.compile(r"'[^']*[./\\][^']*'|\([^)]*\)|\S+\.[A-Za-z]{2,4}\b|-?\d[\d.e+-]*")


def summary(faults: Iterable[Fault]) -> list[str]:
    """Return one line for each fault, but one line for all faults of one kind if there are more than three."""
    kinds: dict[str, list[Fault]] = {}
    for fault in faults:
        kinds.setdefault(_DETAILS.sub("#", fault.reason), []).append(fault)
    lines = []
    for alike in kinds.values():
        if len(alike) <= _MOST_ALIKE:
            lines += [str(fault) for fault in alike]
            continue
        files = list(dict.fromkeys(fault.file for fault in alike))
        more = f" and {len(files) - _MOST_ALIKE} more files" if len(files) > _MOST_ALIKE else ""
        again = "" if len(alike) == len(files) else f" (and {len(alike) - 1} faults like it)"
        lines.append(f"{', '.join(files[:_MOST_ALIKE])}{more}: {alike[0].reason}{again}")
    return lines


@dataclass(frozen=True)
class LabelledBox:
    """One object, or ignored box, as written in its file.

    Attributes:
        label: class name.
        box_xyxy: x0, y0, x1, y1; the box may reach beyond the image or have no area.
        flags: names of the flags that are set, such as VOC's `difficult`; `ignore` marks an ignored box.
        is_outline: whether the file holds a polygon or another outline, and the box is its extent.
    """

    label: str
    box_xyxy: tuple[float, float, float, float]
    flags: frozenset[str] = frozenset()
    is_outline: bool = False

    def is_ignored(self, *, with_difficult: bool = False) -> bool:
        """Return whether the box is neither object nor background; see `ReadOptions.with_difficult`."""
        is_difficult = DIFFICULT in self.flags and not with_difficult
        return self.label == IGNORE_LABEL or IGNORE in self.flags or is_difficult


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
        ignored_shapes: number of skipped shapes, by type or label, that give no box.
        class_names: the declared classes in the dataset's order, used or not; LabelMe and VOC declare none.
        unlisted: names of image files that the dataset's files do not mention, if this excludes them from the dataset.
        remarks: how ambiguous files were interpreted.
        used: files that were read beside the annotation files of `records`, such as lists of images or of names.
    """

    root: Path
    records: tuple[Record, ...]
    faults: tuple[Fault, ...]
    ignored_shapes: Counter[str] = field(default_factory=Counter)
    class_names: tuple[str, ...] = ()
    unlisted: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    used: tuple[Path, ...] = ()
