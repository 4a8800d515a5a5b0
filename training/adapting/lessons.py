"""The images that an adapted detector learns from: photos with the teacher's labels, labelled photos, and renders."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model_store.store import Release
from rendersight import atomic, images
from rendersight.annotations import AnnotatedImage
from rendersight.annotations.writing import link_image, write_dataset
from training.adapting.photos import renumbered

LABELLED_SHARE = 0.25
"""Share of the photos of a pass that are labelled ones, which are repeated for it."""

MOST_REPEATS = 8
"""Largest number of times that a pass shows a labelled photo."""


def write_lessons(
    folder: Path,
    *,
    taught: Sequence[AnnotatedImage],
    labelled: Sequence[AnnotatedImage],
    renders: Sequence[AnnotatedImage],
    release: Release,
    class_names: Sequence[str],
) -> list[str]:
    """Write a LabelMe dataset of links to the images, unless it is there, and return the names to hold out.

    The release's golden images are held out, without boxes: a run without an object to measure keeps its last weights.

    Args:
        folder: the dataset's folder.
        taught: photos with the teacher's labels.
        labelled: photos labelled by people, repeated up to `MOST_REPEATS` times for `LABELLED_SHARE`.
        renders: labelled renders; at most as many as there are photos are used, evenly chosen.
        release: the release to adapt.
        class_names: all classes in their order.
    """
    held_out = renumbered(golden_images(release), "golden")
    repeats = _repeats(len(taught), len(labelled))
    shown = np.linspace(0, len(renders) - 1, min(len(renders), len(taught) + len(labelled))).astype(int)
    lessons = [
        *renumbered(taught, "photos"),
        *(image for number in range(repeats) for image in renumbered(labelled, f"labelled-{number}")),
        *renumbered([renders[number] for number in shown.tolist()], "renders"),
        *held_out,
    ]

    def fill(draft: Path) -> None:
        write_dataset(lessons, draft, format="labelme", class_names=class_names, place_image=link_image)

    atomic.write_folder(folder, fill)  # False if a stopped command wrote it: equal plans give equal lessons
    return [image.name for image in held_out]


def _repeats(taught: int, labelled: int) -> int:
    if not labelled:
        return 0
    return min(MOST_REPEATS, max(1, math.ceil(LABELLED_SHARE / (1 - LABELLED_SHARE) * taught / labelled)))


def golden_images(release: Release) -> list[AnnotatedImage]:
    """Return the golden images of a release without boxes."""
    paths = [release.folder / image.file for image in release.manifest.golden]
    sizes = [images.read(path).shape for path in paths]
    return [
        AnnotatedImage(path.name, path, None, (shape[1], shape[0]), np.zeros((0, 4), np.float32), ())
        for path, shape in zip(paths, sizes, strict=True)
    ]
