"""Choice of the golden images, which prove that a loaded release works.

Good golden images show clear objects of every class, and wrong input moves their boxes far.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from model_store import golden
from model_store.engines import Engine
from model_store.golden import GoldenDetections
from model_store.manifest import GoldenImage
from model_store.store import GOLDEN_IMAGE
from rendersight import images
from rendersight.annotations import AnnotatedImage
from rendersight.annotations.dataset import load_pixels
from rendersight.detections import Detections
from rendersight.images import RgbImage

MAX_IMAGES = 6
"""Largest number of golden images. Each one costs a detection at every start of the service."""

_ENOUGH_OBJECTS = 40
_ENOUGH_OF_CLASS = 2
_MOST_TRIED = 24
_CONTRAST = 0.226
"""Mean standard deviation of ImageNet's pixels in 0..1, by which the network divides its input."""

_LOST = 0.1
"""Distance that counts for a lost object, as a share of the box's side."""


def choose(
    candidates: Sequence[AnnotatedImage],
    found: Sequence[Detections],
    engine: Engine,
    *,
    score_threshold: float,
) -> list[RgbImage]:
    """Return the pixels of the golden images, uint8 (H, W, 3) each, best first; at least one.

    The choice prefers images with many clear objects, with classes that are still rare among the chosen images, and
    in which wrong input moves the boxes far.

    Args:
        candidates: N images, at least one; their labels are ignored.
        found: the eager fp32 detections in each candidate.
        engine: the eager fp32 engine.
        score_threshold: the recommended threshold.
    """
    labels = [
        item.labels[golden.clear(item, size_wh=image.size_wh, score_threshold=score_threshold)].tolist()
        for image, item in zip(candidates, found, strict=True)
    ]
    known = {label for of_image in labels for label in of_image}
    order = sorted(range(len(candidates)), key=lambda index: -len(labels[index]))
    left = [index for index in order if labels[index]][:_MOST_TRIED]
    if not left:
        most = max(range(len(found)), key=lambda index: len(found[index].above(score_threshold)))
        return [load_pixels(candidates[most])]
    pixels = {index: load_pixels(candidates[index]) for index in left}
    sensitivity = {
        index: _sensitivity(pixels[index], found[index], engine, score_threshold=score_threshold) for index in left
    }
    chosen: list[RgbImage] = []
    seen: Counter[int] = Counter()
    while left and len(chosen) < MAX_IMAGES and not _is_enough(seen, known):
        best = max(left, key=lambda index: sensitivity[index] * _worth(labels[index], seen))
        left.remove(best)
        chosen.append(pixels[best])
        seen.update(labels[best])
    return chosen


def write(
    folder: Path, pixels: Sequence[RgbImage], engine: Engine, *, score_threshold: float
) -> tuple[GoldenImage, ...]:
    """Write golden images into a release folder, and return them with the engine's detections in the written files."""
    stem, suffix = GOLDEN_IMAGE.split(".")
    golden_images = []
    for number, image in enumerate(pixels, 1):
        name = GOLDEN_IMAGE if number == 1 else f"{stem}-{number}.{suffix}"
        Image.fromarray(image).save(folder / name, quality=95)
        (found,) = engine.detect([images.read(folder / name)])
        golden_images.append(
            GoldenImage(file=name, expected=golden.expectation(found, score_threshold=score_threshold))
        )
    return tuple(golden_images)


def _is_enough(seen: Counter[int], known: set[int]) -> bool:
    return seen.total() >= _ENOUGH_OBJECTS and all(seen[label] >= _ENOUGH_OF_CLASS for label in known)


def _worth(labels: Sequence[int], seen: Counter[int]) -> float:
    """Return the value of an image's objects. An object is worth less the more objects of its label are chosen."""
    counts = Counter(seen)
    worth = 0.0
    for label in labels:
        counts[label] += 1
        worth += 1 / counts[label]
    return worth


def _sensitivity(image: RgbImage, found: Detections, engine: Engine, *, score_threshold: float) -> float:
    """Return how far wrong input moves the boxes (`GoldenDifference.box`): the smaller value of two kinds.

    A robust network hardly notices these kinds: BGR channels, and a missing division by the standard deviation, which
    leaves a picture with little contrast.
    """
    expected = GoldenImage(expected=golden.expectation(found, score_threshold=score_threshold))
    mean = image.mean(axis=(0, 1))
    wrong = (np.ascontiguousarray(image[..., ::-1]), (mean + _CONTRAST * (image - mean)).astype(np.uint8))
    moved = []
    for answer in engine.detect(wrong):
        seen = GoldenDetections(expected, (image.shape[1], image.shape[0]), answer)
        drift = golden.compare([seen], score_threshold=score_threshold)
        moved.append(drift.box if drift.is_found.all() else _LOST)
    return min(moved)
