"""Writing of annotated images as a dataset in any format."""

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from PIL import Image

from rendersight.annotations import AnnotatedImage, AnnotationError, Fault
from rendersight.annotations.dataset import load_pixels
from rendersight.annotations.formats import FORMATS, WRITABLE, format_of

PlaceImage = Callable[[Path, Path], object]
"""Function that puts an image file (first argument) at a path (second argument)."""

_IMAGE_FOLDERS = {row.image_folder for row in FORMATS.values()}
# characters that neither XML nor a list of lines can hold: controls, surrogates, and two non-characters
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


def copy_image(source: Path, target: Path) -> None:
    """Copy an image file."""
    shutil.copyfile(source, target)


def link_image(source: Path, target: Path) -> None:
    """Create a symbolic link to an image file, with its absolute path."""
    target.symlink_to(source.resolve())


def renamed(found: Sequence[AnnotatedImage]) -> list[AnnotatedImage]:
    """Return the images with the names for the written dataset.

    If a folder `images` or `JPEGImages` encloses all of them, it comes from another format and is removed. `../` in the
    names of images outside their dataset's folder is removed too. An image embedded in a JSON becomes a PNG.
    """
    parts = [[part for part in PurePosixPath(image.name).parts if part != ".."] for image in found]
    if all(len(path) > 1 and path[0] == parts[0][0] and path[0] in _IMAGE_FOLDERS for path in parts):
        parts = [path[1:] for path in parts]
    names = [PurePosixPath(*path) for path in parts]
    return [
        replace(image, name=(name.with_suffix(".png") if image.image_path is None else name).as_posix())
        for image, name in zip(found, names, strict=True)
    ]


def unwritable(found: Sequence[AnnotatedImage], format: str) -> list[Fault]:  # noqa: A002
    """Return faults for names or labels that a format cannot hold, and for images that would share a file.

    Args:
        found: images from `renamed`.
        format: a key of `formats.FORMATS`.

    Raises:
        AnnotationError: no such format.
    """
    has_file_each = format_of(format).has_file_each
    faults = []
    first: dict[PurePosixPath, str] = {}
    for image in found:
        path = PurePosixPath(image.name)
        path = path.with_suffix("") if has_file_each else path
        if path in first:
            faults.append(
                Fault(image.name, f"would share a file with {first[path]}, which has the same stem; rename one")
            )
        first.setdefault(path, image.name)
        if _UNWRITABLE.search(image.name):
            faults.append(Fault(image.name, "its name holds control characters; rename it"))
        faults += [
            Fault(image.name, f"label {label!r} holds control characters, or begins or ends with a space; rename it")
            for label in dict.fromkeys((*image.labels, *(item.label for item in image.ignored)))
            if _UNWRITABLE.search(label) or label != label.strip()
        ]
    return faults


def write_dataset(
    found: Sequence[AnnotatedImage],
    folder: Path,
    *,
    format: str,  # noqa: A002
    class_names: Sequence[str],
    place_image: PlaceImage = copy_image,
) -> None:
    """Write images and their annotations.

    Args:
        found: images from `renamed`, without faults from `unwritable`.
        folder: target folder, created if missing.
        format: a key of `formats.FORMATS`.
        class_names: all classes in their order; every label is one of them.
        place_image: `copy_image` or `link_image`.

    Raises:
        AnnotationError: the format is unknown, or only read.
        OSError: a file cannot be read or written.
    """
    row = format_of(format)
    if row.write is None:
        raise AnnotationError(f"{row.title} is only read; formats that are written: {', '.join(WRITABLE)}")
    for image in found:
        target = folder / row.image_folder / image.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if image.image_path is not None:
            place_image(image.image_path, target)
        else:
            _extract(image, target)
    folder.mkdir(parents=True, exist_ok=True)
    row.write(folder, list(found), tuple(class_names))


def _extract(image: AnnotatedImage, target: Path) -> None:
    """Write an embedded image as shown; its bytes may carry an EXIF orientation that LabelMe ignores."""
    Image.fromarray(load_pixels(image)).save(target)
