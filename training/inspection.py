"""What a dataset holds, before anything is trained on it: counts, sizes, problems, a contact sheet."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from rendersight.annotations import AnnotatedImage
from rendersight.annotations.folder import Folder, load_pixels, no_bar
from rendersight.drawing import draw_boxes
from training.console import Bar
from training.pictures import contact_sheet

_SIZE_EDGES_PX = (0, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512)
_BAR = 40


def describe(found: Folder, class_names: Sequence[str]) -> str:
    """Return counts by class, a histogram of box sizes, negatives and problems, as text."""
    counts = Counter(label for image in found.images for label in image.labels)
    negatives = sum(1 for image in found.images if not image.labels)
    lines = [f"{len(found.images)} images, {counts.total()} boxes, {negatives} images without objects", ""]
    width = max((len(name) for name in class_names), default=5)
    lines += [f"  {name:<{width}} {counts[name]:6d}" for name in class_names]
    lines += ["", "box size, square root of the area, px:"]
    lines += _histogram([size for image in found.images for size in _sizes(image)])
    if found.dropped:
        lines.append(f"{found.dropped} boxes have no area inside their image and are left out")
    for shape_type, count in sorted(found.ignored_shapes.items()):
        lines.append(f"{count} shapes of type {shape_type} have no area and are passed over")
    if found.faults:
        lines += ["", f"{len(found.faults)} files cannot be used:"]
        lines += [f"  {fault}" for fault in found.faults]
    return "\n".join(lines)


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


def as_json(found: Folder, class_names: Sequence[str]) -> dict[str, Any]:
    """Return the boxes as read, px of the upright images, with the counts and the problems."""
    return {
        "class_names": list(class_names),
        "images": [
            {
                "name": image.name,
                "width": image.size_wh[0],
                "height": image.size_wh[1],
                "objects": [
                    {"label": label, "box": [round(float(value), 3) for value in box]}
                    for label, box in zip(image.labels, image.boxes_xyxy, strict=True)
                ],
            }
            for image in found.images
        ],
        "dropped": found.dropped,
        "ignored_shapes": dict(found.ignored_shapes),
        "faults": [{"file": fault.file, "reason": fault.reason} for fault in found.faults],
    }


def sheet(found: Folder, class_names: Sequence[str], *, most: int = 24, bar: Bar = no_bar) -> Image.Image:
    """Draw the boxes of images chosen evenly from the dataset, laid out on one sheet; `bar` is as tqdm."""
    chosen = np.linspace(0, len(found.images) - 1, min(most, len(found.images))).astype(int).tolist()
    numbers = {name: number for number, name in enumerate(class_names, 1)}
    pictures = [
        draw_boxes(load_pixels(image), image.boxes_xyxy, [numbers[label] for label in image.labels], image.labels)
        for image in bar([found.images[index] for index in chosen], desc="contact sheet")
    ]
    return contact_sheet(pictures, columns=6, cell_px=320)
