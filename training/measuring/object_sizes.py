"""How large an object must be: objects found, and named right, by their size at the network's input."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_store.manifest import InputRule
from rendersight.annotations import AnnotatedImage
from training.measuring.confusion import NONE, pair
from training.measuring.measured import Domain

EDGES_PX = (0.0, 12.0, 25.0, 50.0, 100.0, 200.0, 400.0, float("inf"))


@dataclass(frozen=True)
class SizeBin:
    """The objects of one range of sizes.

    Attributes:
        low_px: smallest size, px of the network's input.
        high_px: upper limit, px of the network's input.
        count: number of objects.
        found: number of those that a detection of any class covers at IoU 0.5.
        right: number of those whose detection has their class.
    """

    low_px: float
    high_px: float
    count: int
    found: int
    right: int

    def words(self) -> str:
        """Return the range in words."""
        if self.low_px == 0:
            return f"below {self.high_px:g}"
        return f"{self.low_px:g} and more" if np.isinf(self.high_px) else f"{self.low_px:g} to {self.high_px:g}"


def by_size(domain: Domain, rule: InputRule, *, score_threshold: float) -> list[SizeBin]:
    """Return a bin for each range between `EDGES_PX`; an object's size is the square root of its box's area.

    Args:
        domain: images with their detections.
        rule: how the network resizes an image.
        score_threshold: only detections above it count.
    """
    sizes, found, right = [np.zeros(0)], [np.zeros(0, bool)], [np.zeros(0, bool)]
    for image, detections in zip(domain.data.images, domain.found, strict=True):
        kept = detections.above(score_threshold)
        taken = pair(image.boxes_xyxy, kept)
        names = np.full(len(image.labels), NONE)  # the class that was found
        names[taken[taken != NONE]] = kept.labels[taken != NONE]
        sizes.append(_sizes_at_input(image, rule))
        found.append(names != NONE)
        right.append(names == np.array(domain.data.label_ids(image), np.int64))
    return _bins(np.concatenate(sizes), np.concatenate(found), np.concatenate(right))


def _sizes_at_input(image: AnnotatedImage, rule: InputRule) -> NDArray[np.float64]:
    width, height = image.size_wh
    resized = rule.resized_hw(height, width)
    boxes = image.boxes_xyxy.astype(np.float64).reshape(-1, 4)
    scale = np.sqrt(np.prod(resized) / (width * height))
    sizes: NDArray[np.float64] = scale * np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    return sizes


def _bins(sizes: NDArray[np.float64], found: NDArray[np.bool_], right: NDArray[np.bool_]) -> list[SizeBin]:
    bins = []
    for low, high in itertools.pairwise(EDGES_PX):
        inside = (sizes >= low) & (sizes < high)
        bins.append(SizeBin(low, high, int(inside.sum()), int(found[inside].sum()), int(right[inside].sum())))
    return bins


def size_rows(columns: Sequence[Sequence[SizeBin]]) -> list[list[str]]:
    """Return a table row for each range that any column has an object in: the range, and three cells a column.

    The cells are the number of objects, the share that is found, and the share of these that is named right.
    """
    rows = []
    for bins in zip(*columns, strict=True):
        if any(item.count for item in bins):
            cells = [[str(item.count), _share(item.found, item.count), _share(item.right, item.found)] for item in bins]
            rows.append([bins[0].words(), *itertools.chain(*cells)])
    return rows


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "–"
