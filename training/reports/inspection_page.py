"""The report on the contents and faults of a dataset, as one self-contained HTML page."""

from collections import Counter
from collections.abc import Sequence
from html import escape

import numpy as np
from PIL import Image, ImageDraw

from rendersight.annotations import AnnotatedImage
from rendersight.annotations.folder import load_pixels
from rendersight.drawing import draw_boxes
from training.data.anchor_fit import FEWEST_PX
from training.data.findings import SEVERITIES, Finding, Spot, counted
from training.data.inspection import Inspection, sheet
from training.reports.html_page import document, figure, jpeg, tiles
from training.reports.svg import histogram

_MOST_PICTURES = 6
_MOST_FILES = 40
_PICTURE_PX = 180
_CONTEXT = 4.0
_LEAST_CROP_PX = 96
_COLOUR = (255, 59, 48)


def page(report: Inspection) -> str:
    """Return the page; pictures are embedded, and nothing is fetched."""
    found = report.found
    title = f"Dataset {report.name}"
    by_name = {image.name: image for image in found.images}
    findings = [_finding(finding, by_name, report.all_labels) for finding in report.findings]
    parts = [
        f'<p class="dim">Read as {found.format}. Network: {escape(report.geometry.words())}.</p>',
        _tiles(report),
        "<h2>Findings</h2>",
        *(findings or ["<p>Nothing to remark.</p>"]),
        "<h2>Classes</h2>",
        _class_table(report),
        *_splits(found.images),
        "<h2>Sizes</h2>",
        f'<div class="charts">{"".join(_charts(report))}</div>',
    ]
    if found.images:
        contact = sheet(found, report.all_labels)
        caption = f"{counted(min(len(found.images), 24), 'image')} chosen evenly, with their boxes."
        parts += ["<h2>Contact sheet</h2>", f'<p class="dim">{caption}</p>', jpeg(contact, "contact sheet", "sheet")]
    return document(title, parts)


def _tiles(report: Inspection) -> str:
    images = report.found.images
    counts = Counter(finding.severity for finding in report.findings)
    counts["fault"] = sum(len(finding.spots) for finding in report.findings if finding.severity == "fault")
    numbers = {
        "images": len(images),
        "boxes": sum(len(image.labels) for image in images),
        "classes": len(report.class_names),
        "without objects": sum(1 for image in images if not image.labels),
        **{f"{severity}s": counts[severity] for severity in SEVERITIES},
    }
    return tiles(numbers)


def _finding(finding: Finding, by_name: dict[str, AnnotatedImage], labels: Sequence[str]) -> str:
    shown = [spot for spot in finding.spots if spot.file in by_name][:_MOST_PICTURES]
    pictures = "".join(_picture(by_name[spot.file], spot, labels) for spot in shown)
    return (
        f'<section class="finding {finding.severity}"><p><span class="badge">{finding.severity}: '
        f"{escape(finding.check)}</span>{escape(finding.what)}</p>"
        + (f'<p class="dim">{escape(finding.advice)}</p>' if finding.advice else "")
        + (f'<div class="pictures">{pictures}</div>' if pictures else "")
        + _files(finding.spots, is_open=finding.severity == "fault")
        + "</section>"
    )


def _files(spots: Sequence[Spot], *, is_open: bool) -> str:
    if not spots:
        return ""
    lines = [escape(f"{spot.file}: {spot.words}" if spot.words else spot.file) for spot in spots[:_MOST_FILES]]
    if len(spots) > _MOST_FILES:
        lines.append(f"and {len(spots) - _MOST_FILES} more; --json has all")
    items = "".join(f"<li>{line}</li>" for line in lines)
    return f"<details{' open' * is_open}><summary>{counted(len(spots), 'place')}</summary><ul>{items}</ul></details>"


def _picture(image: AnnotatedImage, spot: Spot, labels: Sequence[str]) -> str:
    """Return HTML of the area around a box, or of a whole image with all of its boxes."""
    picture = Image.fromarray(load_pixels(image))
    if spot.box_xyxy is not None:
        picture = _crop(picture, spot)
    else:
        picture.thumbnail((_PICTURE_PX, _PICTURE_PX))
        shares = np.asarray(picture.size * 2, np.float32) / np.asarray(image.size_wh * 2, np.float32)
        numbers = [labels.index(label) + 1 for label in image.labels]
        picture = draw_boxes(
            np.array(picture), np.asarray(image.boxes_xyxy * shares, np.float32), numbers, [""] * len(numbers)
        )
    caption = f"{spot.file}: {spot.words}" if spot.words else spot.file
    return figure(jpeg(picture, spot.file), caption)


def _crop(picture: Image.Image, spot: Spot) -> Image.Image:
    """Return a square crop around a box, with the box drawn; for a box outside, the nearest part of the image."""
    assert spot.box_xyxy is not None
    width, height = picture.size
    x0, y0, x1, y1 = spot.box_xyxy
    side = min(max(_CONTEXT * max(x1 - x0, y1 - y0), _LEAST_CROP_PX), max(width, height))
    left = min(max((x0 + x1 - side) / 2, 0), max(width - side, 0))
    top = min(max((y0 + y1 - side) / 2, 0), max(height - side, 0))
    area = (round(left), round(top), round(min(left + side, width)), round(min(top + side, height)))
    scale = _PICTURE_PX / max(area[2] - area[0], area[3] - area[1])
    size = (max(1, round((area[2] - area[0]) * scale)), max(1, round((area[3] - area[1]) * scale)))
    enlarged = picture.crop(area).resize(size, Image.Resampling.BILINEAR)
    corners = [(value - shift) * scale for value, shift in zip(spot.box_xyxy, (area[0], area[1]) * 2, strict=True)]
    ImageDraw.Draw(enlarged).rectangle(corners, outline=_COLOUR, width=2)
    return enlarged


def _class_table(report: Inspection) -> str:
    counts = report.class_counts
    top = max(counts.values(), default=1) or 1
    rows = [
        f'<tr><td>{escape(name)}</td><td class="number">{counts[name]}</td><td class="wide">'
        f'<div class="level" style="width:{100 * counts[name] / top:.1f}%"></div></td></tr>'
        for name in report.all_labels
    ]
    return f"<table>{''.join(rows)}</table>"


def _splits(images: Sequence[AnnotatedImage]) -> list[str]:
    counts = Counter(split for image in images for split in image.splits or ("none",))
    if set(counts) <= {"none"}:
        return []
    boxes = Counter(dict.fromkeys(counts, 0))
    for image in images:
        for split in image.splits or ("none",):
            boxes[split] += len(image.labels)
    rows = [
        f"<tr><td>{escape(name)}</td><td>{counted(counts[name], 'image')}</td><td>"
        f"{counted(boxes[name], 'box', 'boxes')}</td></tr>"
        for name in sorted(counts)
    ]
    return ["<h2>Splits</h2>", f"<table>{''.join(rows)}</table>"]


def _charts(report: Inspection) -> list[str]:
    images, boxes, geometry = report.found.images, report.boxes, report.geometry
    sides = np.concatenate([np.zeros((0, 2)), *(image.boxes_xyxy[:, 2:] - image.boxes_xyxy[:, :2] for image in images)])
    anchors = [(size, f"{size:g}") for size in geometry.sizes_px]
    return [
        histogram(
            boxes.sizes_px,
            title="Boxes at the network's input; dotted: its anchors",
            unit="px, square root of the area",
            marks=anchors,
        ),
        histogram(
            boxes.sides_wh.min(axis=1, initial=np.inf),
            title="Shorter sides at the network's input",
            unit="px",
            marks=[(FEWEST_PX, f"{FEWEST_PX:g} px")],
        ),
        histogram(np.sqrt(sides.prod(axis=1)), title="Boxes in the photos", unit="px, square root of the area"),
        histogram(sides[:, 0] / sides[:, 1], title="Shapes of boxes", unit="width / height", marks=[(1.0, "square")]),
        histogram(
            np.array([len(image.labels) for image in images], np.float64),
            title="Boxes in an image",
            unit="boxes",
            is_log=False,
        ),
        histogram(
            np.array([max(image.size_wh) for image in images], np.float64), title="Images", unit="px, longer side"
        ),
    ]
