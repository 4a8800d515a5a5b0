"""The report on the contents and faults of a dataset, as one self-contained HTML page."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from rendersight.annotations import AnnotatedImage
from rendersight.annotations.dataset import load_pixels
from rendersight.drawing import draw_boxes
from training.data.anchor_fit import FEWEST_PX
from training.data.contact_sheet import contact_sheet
from training.data.findings import SEVERITIES, Spot
from training.data.inspection import Inspection
from training.reports.gallery import close_up
from training.reports.histogram import Histogram, histogram
from training.reports.html_page import jpeg_uri, render

_MOST_PICTURES = 6
_MOST_FILES = 40
_MOST_SHOWN = 24
_PICTURE_PX = 180
_CONTEXT = 4.0
_LEAST_CROP_PX = 96
_COLOUR = (255, 59, 48)


def page(report: Inspection) -> str:
    """Return the page; pictures are embedded, and nothing is fetched."""
    images, labels = report.found.images, report.all_labels
    by_name = {image.name: image for image in images}
    findings = []
    for finding in report.findings:
        shown = [spot for spot in finding.spots if spot.file in by_name][:_MOST_PICTURES]
        findings.append((finding, [(spot, jpeg_uri(_picture(by_name[spot.file], spot, labels))) for spot in shown]))
    return render(
        "inspection.html",
        title=f"Dataset {report.name}",
        report=report,
        counts=_counts(report),
        findings=findings,
        most_files=_MOST_FILES,
        splits=_splits(images),
        charts=_charts(report),
        contact_sheet=jpeg_uri(contact_sheet(report.found, labels, most=_MOST_SHOWN)) if images else None,
        shown_count=min(len(images), _MOST_SHOWN),
    )


def _counts(report: Inspection) -> dict[str, int]:
    images = report.found.images
    counts = Counter(finding.severity for finding in report.findings)
    counts["fault"] = sum(len(finding.spots) for finding in report.findings if finding.severity == "fault")
    return {
        "images": len(images),
        "boxes": report.class_counts.total(),
        **({"ignored boxes": report.ignored_count} if report.ignored_count else {}),
        "classes": len(report.class_names),
        "without objects": sum(not image.labels for image in images),
        **{f"{severity}s": counts[severity] for severity in SEVERITIES},
    }


def _splits(images: Sequence[AnnotatedImage]) -> list[tuple[str, int, int]]:
    """Return the name, images and boxes of each split; empty if no image has one."""
    counts: Counter[str] = Counter()
    boxes: Counter[str] = Counter()
    for image in images:
        for split in image.splits or ("none",):
            counts[split] += 1
            boxes[split] += len(image.labels)
    return [] if set(counts) <= {"none"} else [(name, counts[name], boxes[name]) for name in sorted(counts)]


def _picture(image: AnnotatedImage, spot: Spot, labels: Sequence[str]) -> Image.Image:
    """Return the area around a box, or a whole image with all of its boxes."""
    picture = Image.fromarray(load_pixels(image))
    if spot.box_xyxy is not None:
        box = np.array([spot.box_xyxy])
        shown, corners = close_up(picture, box, context=_CONTEXT, least_px=_LEAST_CROP_PX, side_px=_PICTURE_PX)
        ImageDraw.Draw(shown).rectangle(tuple(corners[0]), outline=_COLOUR, width=2)
        return shown
    picture.thumbnail((_PICTURE_PX, _PICTURE_PX))
    scale = np.asarray(picture.size * 2, np.float32) / np.asarray(image.size_wh * 2, np.float32)
    numbers = [labels.index(label) + 1 for label in image.labels]
    boxes, ignored = (np.asarray(item * scale, np.float32) for item in (image.boxes_xyxy, image.ignored_xyxy))
    return draw_boxes(np.array(picture), boxes, numbers, [""] * len(numbers), ignored_xyxy=ignored)


def _charts(report: Inspection) -> list[Histogram]:
    images, boxes, geometry = report.found.images, report.boxes, report.geometry
    sides = np.concatenate([np.zeros((0, 2)), *(image.boxes_xyxy[:, 2:] - image.boxes_xyxy[:, :2] for image in images)])
    counts = np.array([len(image.labels) for image in images], np.float64)
    longer = np.array([max(image.size_wh) for image in images], np.float64)
    shorter = boxes.sides_wh.min(axis=1, initial=np.inf)
    anchors = [(size, f"{size:g}") for size in geometry.sizes_px]
    size = "px, square root of the area"
    return [
        histogram(boxes.sizes_px, "Boxes at the network's input (dotted: its anchors)", size, marks=anchors),
        histogram(shorter, "Shorter sides at the network's input", "px", marks=[(FEWEST_PX, f"{FEWEST_PX:g} px")]),
        histogram(np.sqrt(sides.prod(axis=1)), "Boxes in the photos", size),
        histogram(sides[:, 0] / sides[:, 1], "Shapes of the boxes", "width / height", marks=[(1.0, "square")]),
        histogram(counts, "Boxes per image", "boxes", is_log=False),
        histogram(longer, "Images", "px, longer side"),
    ]
