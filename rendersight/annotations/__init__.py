"""Annotated images: what every annotation format is read into and written from."""

from dataclasses import dataclass
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
    """

    name: str
    image_path: Path | None
    annotation_path: Path | None
    size_wh: tuple[int, int]
    boxes_xyxy: NDArray[np.float32]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Fault:
    """A file of a dataset that cannot be used, and why."""

    file: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"
