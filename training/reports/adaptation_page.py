"""The report on an adaptation: the verdict, figures, and the photos that changed most, before and after."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from rendersight import atomic
from rendersight.annotations import AnnotatedImage
from rendersight.annotations.dataset import load_pixels
from rendersight.detections import Detections, box_iou
from rendersight.drawing import draw_detections
from training.measuring.measured import Domain
from training.measuring.tables import NO_VALUE, Column, figure_rows
from training.records.run_folder import PAGE
from training.reports.html_page import jpeg_uri, render

FIGURES = "figures.json"
MOST = 12

_SAME_IOU = 0.5
_CELL_PX = 640
_GAP_PX = 8


@dataclass(frozen=True, eq=False)
class Change:
    """A photo and what was found in it above the threshold, before and after."""

    photo: AnnotatedImage
    before: Detections
    after: Detections

    @property
    def gone(self) -> int:
        """Number of objects found only before; another label is another object."""
        return _alone(self.before, self.after)

    @property
    def new(self) -> int:
        """Number of objects found only after."""
        return _alone(self.after, self.before)


def _alone(found: Detections, others: Detections) -> int:
    same = box_iou(found.boxes_xyxy, others.boxes_xyxy) >= _SAME_IOU
    same &= found.labels[:, None] == others.labels[None, :]
    return int((~same.any(axis=1)).sum())


def write_adaptation(
    out: Path,
    *,
    title: str,
    verdict: str,
    agreements: tuple[float | None, float | None],
    figures: Sequence[Domain],
    changes: Sequence[Change],
    class_names: Sequence[str],
) -> None:
    """Write the report: `report.html`, and its numbers as `figures.json`.

    Args:
        out: folder of the report.
        title: title of the page.
        verdict: the verdict in words.
        agreements: agreement between the views before and after; None if nothing was found.
        figures: figures before and after on the same labelled photos; empty without such photos.
        changes: photos with what was found before and after; those that changed most are shown.
        class_names: label i is `class_names[i - 1]`.
    """
    out.mkdir(parents=True, exist_ok=True)
    named = list(zip(("before", "after"), figures, strict=False))
    told: dict[str, Any] = {
        "verdict": verdict,
        "agreement": dict(zip(("before", "after"), agreements, strict=True)),
        "figures": {name: item.metrics().model_dump(mode="json") for name, item in named},
        "changed": {change.photo.name: [change.gone, change.new] for change in changes if change.gone + change.new},
    }
    columns = [Column(name, item.figures()) for name, item in named]
    most = sorted((item for item in changes if item.gone + item.new), key=lambda item: -(item.gone + item.new))[:MOST]
    page = render(
        "adaptation.html",
        title=title,
        verdict=verdict,
        headline={
            f"agreement {name}": NO_VALUE if value is None else f"{value:.2f}"
            for name, value in zip(("before", "after"), agreements, strict=True)
        },
        figure_header=["", *(column.title for column in columns)],
        figure_rows=figure_rows(columns) if columns else [],
        changes=[
            {
                "name": item.photo.name,
                "gone": item.gone,
                "new": item.new,
                "picture": jpeg_uri(_side_by_side(item, class_names)),
            }
            for item in most
        ],
    )
    atomic.write_bytes(out / FIGURES, (json.dumps(told, indent=2) + "\n").encode())
    atomic.write_bytes(out / PAGE, page.encode("utf-8", "replace"))


def _side_by_side(change: Change, class_names: Sequence[str]) -> Image.Image:
    pixels = load_pixels(change.photo)
    pair = [draw_detections(pixels, found, class_names=class_names) for found in (change.before, change.after)]
    for picture in pair:
        picture.thumbnail((_CELL_PX, _CELL_PX))
    sheet = Image.new("RGB", (2 * pair[0].width + _GAP_PX, pair[0].height), "white")
    for number, picture in enumerate(pair):
        sheet.paste(picture, (number * (picture.width + _GAP_PX), 0))
    return sheet
