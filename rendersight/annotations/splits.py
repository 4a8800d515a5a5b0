"""Splits that a dataset declares: by names of files and folders, and by lists of images."""

import re
from pathlib import Path, PurePosixPath

from rendersight import images
from rendersight.annotations import AnnotationError, Fault
from rendersight.annotations.index import FileIndex

_HEAD_BYTES = 4096
_SPLIT_NAMES = {"valid": "val", "validation": "val", "dev": "val"}
_SPLIT = re.compile(r"(?<![a-z])(trainval|train|validation|valid|val|minival|dev|test)(?![a-z])", re.IGNORECASE)
_FILLER = re.compile(r"[_-]|images?|imgs?|photos?|data|obj|set|20\d\d")


def split_of(name: str) -> tuple[str, ...]:
    """Return the split in the name of a file or folder, such as `valid` or `instances_val2017`.

    Returns:
        One of `train`, `val`, `test`, `trainval` and `minival`, or nothing; `valid`, `validation` and `dev` are `val`.
    """
    found = _SPLIT.search(PurePosixPath(name).name)
    if found is None:
        return ()
    word = found.group(1).lower()
    return (_SPLIT_NAMES.get(word, word),)


def split_of_folders(name: str) -> tuple[str, ...]:
    """Return the split named by a folder in an image's name: `train/a.jpg`, `train2017/a.jpg`, `train_images/a.jpg`."""
    for part in name.split("/")[:-1]:
        if _SPLIT.fullmatch(word := _FILLER.sub("", part.lower())):
            return split_of(word)
    return ()


def is_image_list(index: FileIndex, path: Path) -> bool:
    """Return whether a text file lists the images of a split, such as `train.txt`, by its name and first line."""
    if path.suffix.lower() not in (".txt", ".lst", ".list") or not split_of(path.stem) or "_" in path.stem:
        return False
    with path.open("rb") as file:
        first = file.read(_HEAD_BYTES).strip().split(b"\n")[0].strip().decode("utf-8", "replace")
    return PurePosixPath(first).suffix.lower() in images.file_formats() or first in index.stems


def read_lists(index: FileIndex, lists: dict[Path, str]) -> tuple[dict[Path, tuple[str, ...]], list[Fault]]:
    """Read lists with the path, name or stem of an image in each line.

    Args:
        index: the dataset's files.
        lists: list -> the split of its images.

    Returns:
        Image -> its splits, and a fault for each line that names no image.

    Raises:
        AnnotationError: a list cannot be read.
    """
    splits: dict[Path, dict[str, None]] = {}
    faults = []
    for path, name in lists.items():
        for number, line in enumerate(index.text(path).split("\n"), 1):
            try:
                if line.strip():
                    splits.setdefault(index.image_named(line.strip(), (path.parent, index.root)), {})[name] = None
            except AnnotationError as error:
                faults.append(Fault(index.name(path), f"line {number}: {line.strip()!r}: {error}"))
    return {path: tuple(found) for path, found in splits.items()}, faults
