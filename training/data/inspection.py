"""Inspection of a dataset before training: counts, box sizes and findings."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rendersight.annotations import AnnotatedImage, Fault, summary
from rendersight.annotations.dataset import AnnotatedDataset
from training.data.anchor_fit import Boxes, Geometry, boxes_at_input
from training.data.checks import examine
from training.data.dataset import all_faults, names_in
from training.data.duplicates import Look, look_at
from training.data.findings import Finding, counted

_SIZE_EDGES_PX = (0, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512)
_BAR = 40
_MOST_NAMED = 3


@dataclass(frozen=True, eq=False)
class Inspection:
    """Result of inspecting a dataset.

    Attributes:
        name: name of the dataset.
        found: the dataset as read.
        class_names: the classes, as given or taken from the data.
        findings: results of the checks, the most severe first.
        geometry: input size, anchors and strides of the network that the boxes are compared with.
        boxes: all boxes at the network's input.
    """

    name: str
    found: AnnotatedDataset
    class_names: tuple[str, ...]
    findings: tuple[Finding, ...]
    geometry: Geometry
    boxes: Boxes

    @property
    def all_labels(self) -> list[str]:
        """The classes, followed by the labels that are not a class."""
        return [*self.class_names, *(name for name in names_in(self.found) if name not in self.class_names)]

    @property
    def class_counts(self) -> Counter[str]:
        """Number of boxes of each label."""
        return Counter(label for image in self.found.images for label in image.labels)

    @property
    def ignored_count(self) -> int:
        """Number of ignored boxes."""
        return sum(len(image.ignored) for image in self.found.images)


def inspect(
    name: str,
    found: AnnotatedDataset,
    class_names: Sequence[str],
    geometry: Geometry,
    *,
    against: tuple[str, Sequence[Look]] | None = None,
) -> Inspection:
    """Look at every image of a dataset and run all checks.

    Args:
        name: name of the dataset.
        found: the dataset as read.
        class_names: the classes.
        geometry: input size, anchors and strides of the network.
        against: name and looks of another dataset, to find shared images; None compares with none.
    """
    boxes = boxes_at_input(found.images, geometry)
    findings = examine(
        found,
        all_faults(found, class_names),
        class_names,
        looks=look_at(found.images),
        boxes=boxes,
        geometry=geometry,
        against=against,
    )
    return Inspection(name, found, tuple(class_names), tuple(findings), geometry, boxes)


def as_text(report: Inspection) -> str:
    """Return a text report: counts by class, images without objects, a histogram of box sizes, and findings."""
    images, counts = report.found.images, report.class_counts
    negatives = sum(1 for image in images if not image.labels)
    ignored = f", {counted(report.ignored_count, 'ignored box', 'ignored boxes')}" if report.ignored_count else ""
    lines = [f"{len(images)} images, {counts.total()} boxes{ignored}, {negatives} images without objects", ""]
    width = max((len(name) for name in report.all_labels), default=5)
    lines += [f"  {name:<{width}} {counts[name]:6d}" for name in report.all_labels]
    if splits := Counter(split for image in images for split in image.splits):
        lines += ["", "splits: " + ", ".join(f"{split} {count}" for split, count in sorted(splits.items()))]
    lines += ["", "box size, square root of the area, px:"]
    lines += _histogram([size for image in images for size in _sizes(image)])
    for finding in report.findings:
        lines += ["", f"{finding.severity}: {finding.check}: {finding.what}"]
        if finding.severity == "fault" or finding.check == "unused":
            lines += [f"  {line}" for line in summary(Fault(spot.file, spot.words) for spot in finding.spots)]
        else:
            lines += _places(finding)
        if finding.advice:
            lines.append(f"  {finding.advice}")
    return "\n".join(lines)


def _places(finding: Finding) -> list[str]:
    names = list(dict.fromkeys(spot.file for spot in finding.spots))
    if not names:
        return []
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return [f"  {', '.join(names[:_MOST_NAMED])}{more}"]


def _sizes(image: AnnotatedImage) -> list[float]:
    sides = image.boxes_xyxy[:, 2:] - image.boxes_xyxy[:, :2]
    sizes: list[float] = np.sqrt(sides.prod(axis=1)).tolist()
    return sizes


def _histogram(sizes: Sequence[float]) -> list[str]:
    counts, _ = np.histogram(sizes, bins=[*_SIZE_EDGES_PX, np.inf])
    highest = max(int(counts.max()), 1)
    lines = []
    for low, count in zip(_SIZE_EDGES_PX, counts.tolist(), strict=True):
        if count:
            lines.append(f"  from {low:>4} {count:6d} {'#' * max(1, round(_BAR * count / highest))}")
    return lines or ["  none"]


def _rounded(box_xyxy: Sequence[float]) -> list[float]:
    return [round(value, 3) for value in box_xyxy]


def as_json(report: Inspection) -> dict[str, Any]:
    """Return the report as plain JSON data. Boxes are x0, y0, x1, y1 in px of the upright images."""
    found, geometry = report.found, report.geometry
    return {
        "format": found.format,
        "class_names": list(report.class_names),
        "class_counts": {name: report.class_counts[name] for name in report.all_labels},
        "images": [
            {
                "name": image.name,
                "width": image.size_wh[0],
                "height": image.size_wh[1],
                "splits": list(image.splits),
                "objects": [
                    {"label": label, "box": _rounded(box.tolist())}
                    for label, box in zip(image.labels, image.boxes_xyxy, strict=True)
                ],
                "ignored": [{"label": item.label, "box": _rounded(item.box_xyxy)} for item in image.ignored],
            }
            for image in found.images
        ],
        "dropped": found.dropped,
        "ignored_shapes": dict(found.ignored_shapes),
        "faults": [{"file": fault.file, "reason": fault.reason} for fault in found.faults],
        "unused": [{"file": fault.file, "reason": fault.reason} for fault in found.unused],
        "unlabelled": list(found.unlabelled),
        "unlisted": list(found.unlisted),
        "network": {
            "architecture": geometry.architecture,
            "min_size": geometry.rule.min_size,
            "max_size": geometry.rule.max_size,
            "anchor_sizes": list(geometry.sizes_px),
            "strides": list(geometry.strides_px),
        },
        "findings": [finding.as_json() for finding in report.findings],
    }
