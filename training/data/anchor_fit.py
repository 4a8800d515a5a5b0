"""Fit of labelled boxes to a network's input size, anchors and feature map strides.

A region proposal network starts from anchors: boxes of a few sizes and shapes at every cell of its feature maps. In
training, an anchor counts as an object from IoU 0.7 on, and as background below 0.3 (Ren et al. 2015, section 3.1.2).
If no anchor reaches IoU 0.3 with an object even at the same centre, the object is learned from its best anchor alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model_store import architectures
from model_store.manifest import InputRule
from model_store.model_info import MOST_DETECTIONS
from model_store.network import input_rule
from rendersight.annotations import AnnotatedImage
from training.config import TrainConfig
from training.data.findings import Finding, Spot, counted

FEWEST_PX = 8.0
"""Shortest useful side of a box at the network's input, px. Shorter sides cover about one cell of the finest map."""

_BACKGROUND_IOU = 0.3
_SMALL, _LARGE, _LONG = 0.5, 2.0, 2.0
_WORTH_TELLING = 0.01
_MOST_ENLARGED = 2.0
_STEP_PX = 32
_PROBE_PX = 256


@dataclass(frozen=True, eq=False)
class Geometry:
    """Input size, anchors and strides of a network, which determine the boxes it can find.

    Attributes:
        architecture: name of the architecture.
        rule: conversion of an image to the network's input.
        anchors_wh: float64 (A, 2), width and height of each anchor, px of the input.
        sizes_px: distinct anchor sizes (square root of the area), px of the input, ascending.
        strides_px: strides of the feature maps, px of the input, ascending.
        most_detections: maximum number of objects that the network reports for an image.
    """

    architecture: str
    rule: InputRule
    anchors_wh: NDArray[np.float64]
    sizes_px: tuple[float, ...]
    strides_px: tuple[int, ...]
    most_detections: int

    def words(self) -> str:
        """Return the geometry as a line of text."""
        sizes = ", ".join(f"{size:g}" for size in self.sizes_px)
        strides = ", ".join(str(stride) for stride in self.strides_px)
        return (
            f"{self.architecture}: shorter side {self.rule.min_size} px, longer at most {self.rule.max_size}; "
            f"anchors {sizes} px at strides {strides}"
        )


def geometry_of(config: TrainConfig) -> Geometry:
    """Return the geometry of the network that a configuration trains, without allocating its weights."""
    options = config.network_options()
    with torch.device("meta"):
        network = architectures.build(config.architecture, class_count=1, options=options).eval()
        features = network.backbone(torch.zeros(1, 3, _PROBE_PX, _PROBE_PX))
    generator = network.rpn.anchor_generator
    anchors = [
        (size / np.sqrt(ratio), size * np.sqrt(ratio))
        for sizes, ratios in zip(generator.sizes, generator.aspect_ratios, strict=True)
        for size in sizes
        for ratio in ratios
    ]
    return Geometry(
        architecture=config.architecture,
        rule=input_rule(options),
        anchors_wh=np.array(sorted(set(anchors)), np.float64),
        sizes_px=tuple(sorted({float(size) for sizes in generator.sizes for size in sizes})),
        strides_px=tuple(sorted({_PROBE_PX // int(level.shape[-1]) for level in features.values()})),
        most_detections=options.detections_per_image,
    )


@dataclass(frozen=True, eq=False)
class Boxes:
    """All boxes of a dataset at a network's input.

    Attributes:
        sides_wh: float64 (N, 2), px of the input.
        best_iou: float64 (N,), IoU with the best anchor at the same centre.
        spots: image, box and description of each of the N boxes.
    """

    sides_wh: NDArray[np.float64]
    best_iou: NDArray[np.float64]
    spots: tuple[Spot, ...]

    @property
    def sizes_px(self) -> NDArray[np.float64]:
        """Box sizes (square root of the area), float64 (N,), px of the input."""
        sizes: NDArray[np.float64] = np.sqrt(self.sides_wh.prod(axis=1))
        return sizes


def boxes_at_input(found: Sequence[AnnotatedImage], geometry: Geometry) -> Boxes:
    """Return the boxes of the images at the scale of a network's input."""
    sides = [np.zeros((0, 2))]
    spots = []
    for image in found:
        width, height = image.size_wh
        input_h, input_w = geometry.rule.resized_hw(height, width)
        boxes = image.boxes_xyxy.astype(np.float64)
        scaled = (boxes[:, 2:] - boxes[:, :2]) * (input_w / width, input_h / height)
        sides.append(scaled)
        spots += [
            Spot(image.name, tuple(box), f"{label}, {w:.0f} x {h:.0f} px at the input")
            for box, label, (w, h) in zip(boxes.tolist(), image.labels, scaled, strict=True)
        ]
    together = np.concatenate(sides)
    return Boxes(together, _best_iou(together, geometry.anchors_wh), tuple(spots))


def _best_iou(sides_wh: NDArray[np.float64], anchors_wh: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each box's IoU with its best anchor at the same centre, (N,)."""
    shared = np.minimum(sides_wh[:, None], anchors_wh[None]).prod(axis=2)  # (N, A)
    union = sides_wh.prod(axis=1)[:, None] + anchors_wh.prod(axis=1)[None] - shared
    best: NDArray[np.float64] = (shared / union).max(axis=1, initial=0)
    return best


def check_anchor_fit(boxes: Boxes, geometry: Geometry) -> list[Finding]:
    """Report boxes that are too small, too large or too long for a network at its input size."""
    sizes = boxes.sizes_px
    smallest, largest = geometry.sizes_px[0], geometry.sizes_px[-1]
    ratios = boxes.sides_wh[:, 1] / boxes.sides_wh[:, 0]
    ratios = np.maximum(ratios, 1 / ratios)
    longest = _LONG * float((geometry.anchors_wh.max(axis=1) / geometry.anchors_wh.min(axis=1)).max())
    checks = (
        (
            sizes < _SMALL * smallest,
            sizes,
            f"smaller than half the smallest anchor ({smallest:g} px)",
            _larger_input(sizes, _SMALL * smallest, geometry),
        ),
        (
            boxes.sides_wh.min(axis=1, initial=np.inf) < FEWEST_PX,
            boxes.sides_wh.min(axis=1, initial=np.inf),
            f"less than {FEWEST_PX:g} px wide or high (the finest feature map has a cell every "
            f"{geometry.strides_px[0]} px)",
            _larger_input(boxes.sides_wh.min(axis=1, initial=np.inf), FEWEST_PX, geometry),
        ),
        (
            sizes > _LARGE * largest,
            -sizes,
            f"larger than twice the largest anchor ({largest:g} px)",
            "a smaller input (--set min_size=...) makes them fit",
        ),
        (
            ratios > longest,
            -ratios,
            f"more than {longest:g} times as long as wide (twice the longest anchor)",
            "expect loose boxes there; if the objects allow it, label shorter parts",
        ),
        (
            boxes.best_iou < _BACKGROUND_IOU,
            boxes.best_iou,
            f"matched by no anchor: the best anchor at the same centre has an IoU below {_BACKGROUND_IOU:g}",
            "see the findings on size and shape; such objects are learned slowly and missed first",
        ),
    )
    return [_finding(boxes, chosen, order, what, advice) for chosen, order, what, advice in checks if np.any(chosen)]


def _finding(boxes: Boxes, chosen: NDArray[np.bool_], order: NDArray[np.float64], what: str, advice: str) -> Finding:
    places = np.flatnonzero(chosen)
    places = places[np.argsort(order[places], kind="stable")]
    share = len(places) / len(boxes.spots)
    return Finding(
        "reach",
        "warning" if share >= _WORTH_TELLING else "note",
        f"At the network's input, {len(places)} of {counted(len(boxes.spots), 'box', 'boxes')} ({share:.1%}) "
        f"{'is' if len(places) == 1 else 'are'} {what}.",
        advice[0].upper() + advice[1:] + ".",
        tuple(boxes.spots[place] for place in places.tolist()),
    )


def _larger_input(lengths: NDArray[np.float64], wanted: float, geometry: Geometry) -> str:
    """Return advice on the input size at which 95 % of the lengths would reach a wanted length, px."""
    factor = wanted / float(np.percentile(lengths, 5)) if len(lengths) else 1.0
    if factor <= 1:
        return "few boxes are affected; a larger input (--set min_size=...) fits more of them"
    min_size = int(np.ceil(geometry.rule.min_size * factor / _STEP_PX)) * _STEP_PX
    if factor <= _MOST_ENLARGED:
        return f"--set min_size={min_size} brings 95 % of all boxes above this limit, at {factor**2:.1f} times the work"
    return (
        f"95 % of all boxes would need an input of {min_size} px; closer photos, photos cut into tiles, or a network "
        "with smaller anchors work better"
    )


def check_crowds(found: Sequence[AnnotatedImage], geometry: Geometry) -> list[Finding]:
    """Report images with more objects than the network reports for one image."""
    most = geometry.most_detections
    crowded = sorted((image for image in found if len(image.labels) > most), key=lambda image: -len(image.labels))
    if not crowded:
        return []
    spots = tuple(Spot(image.name, words=f"{len(image.labels)} objects") for image in crowded)
    what = (
        f"{counted(len(crowded), 'image shows', 'images show')} more objects than the {most} that the network reports."
    )
    advice = f"The others are never found; {raise_limit(len(crowded[0].labels))}."
    return [Finding("crowds", "warning", what, advice, spots)]


def raise_limit(count: int) -> str:
    """Return advice on `detections_per_image` for images that show up to `count` objects."""
    if count > MOST_DETECTIONS:
        return f"cut the images into tiles: at most {MOST_DETECTIONS} objects in an image can be reported"
    return f"--set detections_per_image={min(-(-count // 100) * 100, MOST_DETECTIONS)} raises the limit"
