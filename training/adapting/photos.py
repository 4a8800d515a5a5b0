"""The photos of a place: which of those in a folder can be learned from."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rendersight import images
from rendersight.annotations import AnnotatedImage, AnnotationError
from rendersight.annotations.index import name_below
from rendersight.photos import find_photos
from training.console import Bar
from training.data import duplicates
from training.data.dataset import LabelledImages
from training.data.findings import counted

FEWEST = 5
"""Smallest number of photos that look different. Fewer would be learned by heart."""

Say = Callable[[str], None]


def read_photos(folder: Path, *, labelled: LabelledImages, say: Say, bar: Bar) -> tuple[AnnotatedImage, ...]:
    """Return the photos of a folder without labels, sorted by name; label files beside them are not read.

    Photos that do not decode, copies of the same file, and photos that look like a labelled one are left out.

    Args:
        folder: the photos, at any depth.
        labelled: photos with labels, which measure the detector.
        say: writes a line for the user.
        bar: a progress bar with the interface of tqdm.

    Raises:
        AnnotationError: the folder does not exist, or fewer than `FEWEST` photos look different.
    """
    if not folder.is_dir():
        raise AnnotationError(f"--photos {folder} is not a folder")
    paths = find_photos([folder], stems_differ=False)
    photos, unread = [], []
    for path in bar(paths, desc="reading photos"):
        try:
            photos.append(_without_labels(folder, path))
        except (images.ImageError, OSError) as error:
            unread.append(f"{name_below(folder, path)}: {error}")
    if unread:
        say(f"left out: {counted(len(unread), 'photo')} that cannot be read, such as {unread[0]}")
    looks = duplicates.look_at(photos)
    first = {look.sha256: number for number, look in reversed(list(enumerate(looks)))}
    known = {one for one, _ in duplicates.alike(looks, duplicates.look_at(labelled.images))}
    kept = [number for number in sorted(first.values()) if number not in known]
    if copies := len(photos) - len(first):
        say(f"left out: {counted(copies, 'copy', 'copies')} of other photos")
    if known:
        say(f"left out: {counted(len(known), 'photo')}, also among the labelled ones")
    groups = duplicates.groups(duplicates.alike([looks[number] for number in kept]))
    different = len(kept) - sum(len(group) - 1 for group in groups)
    if different < FEWEST:
        raise AnnotationError(
            f"--photos {folder} has {counted(len(paths), 'photo')}, of which {different} can be read and look "
            f"different; accepted: at least {FEWEST}"
        )
    return tuple(photos[number] for number in kept)


def _without_labels(folder: Path, path: Path) -> AnnotatedImage:
    pixels = images.read(path)
    size_wh = (pixels.shape[1], pixels.shape[0])
    return AnnotatedImage(name_below(folder, path), path, None, size_wh, np.zeros((0, 4), np.float32), ())


def folds(data: LabelledImages, count: int) -> list[list[str]]:
    """Divide labelled photos into parts of about equal size; photos that look alike stay together.

    Returns:
        At most `count` lists of names, none empty.
    """
    parts: list[list[str]] = [[] for _ in range(count)]
    for group in groups_of(data):
        min(parts, key=len).extend(data.images[number].name for number in group)
    return [part for part in parts if part]


def groups_of(data: LabelledImages) -> list[list[int]]:
    """Return the indices of the photos, those that look alike in one group, in the order of their first members."""
    groups = duplicates.groups(duplicates.alike(duplicates.look_at(data.images)))
    grouped = {number for group in groups for number in group}
    return sorted([*groups, *([number] for number in range(len(data.images)) if number not in grouped)])


def renumbered(photos: Sequence[AnnotatedImage], folder: str) -> list[AnnotatedImage]:
    """Return images with names that are unique and fit any file system: `FOLDER/00000.jpg` and so on."""
    return [
        replace(photo, name=f"{folder}/{number:05d}{_suffix(photo)}", splits=()) for number, photo in enumerate(photos)
    ]


def _suffix(photo: AnnotatedImage) -> str:
    return ".png" if photo.image_path is None else photo.image_path.suffix.lower()
