"""The answer formats (JSON, the photo with its boxes, annotation files, CSV) and the choice between them."""

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import Any
from urllib.parse import quote

from python_multipart.multipart import parse_options_header

from app.errors import NotAcceptable, shown
from app.schemas import DetectionsOut, FormatName
from model_store.detector import Detector
from rendersight.annotations.formats import coco_writing, labelme
from rendersight.detections import Detections
from rendersight.drawing import draw_detections
from rendersight.images import RgbImage

CSV_COLUMNS = ("label", "label_id", "score", "x0", "y0", "x1", "y1")

_JPEG_QUALITY = 90
_LEAST_PX = 320
_PNG_LEVEL = 1  # at 12 megapixels level 6 takes four times as long and saves a tenth of the bytes
_MAX_RANGES = 32  # read from an Accept header
_MAX_NAME_CHARS = 100


@dataclass(frozen=True)
class Result:
    """The reported objects of one photo, ready to be formatted.

    Attributes:
        selected: the reported objects, boxes in px of the upright photo.
        detector: the detector that found the objects.
        size_wh: width and height of the upright photo, px.
        score_threshold: the threshold that was applied.
        tile_count: number of tiles that the detector saw besides the whole photo.
        image_name: file name of the photo.
        pixels: uint8 (H, W, 3), the upright photo; None unless the format draws on it.
    """

    selected: Detections
    detector: Detector
    size_wh: tuple[int, int]
    score_threshold: float
    tile_count: int
    image_name: str
    pixels: RgbImage | None = None


@dataclass(frozen=True)
class OutputFormat:
    """One answer format.

    Attributes:
        media_type: media type of the answer, matched against the Accept header.
        write: returns the answer's bytes.
        suffix: suffix of the answer's file name, which replaces the photo's; empty if the answer is not a file.
        draws_photo: whether `write` needs the photo's pixels and so runs on a worker thread.
    """

    media_type: str
    write: Callable[[Result], bytes]
    suffix: str = ""
    draws_photo: bool = False

    def headers(self, image_name: str) -> dict[str, str]:
        """Return the header that names the answer's file (RFC 6266) after the photo."""
        if not self.suffix:
            return {}
        stem = PureWindowsPath(image_name).stem[:_MAX_NAME_CHARS]
        plain = re.sub(r"[^A-Za-z0-9._ -]", "_", stem) + self.suffix
        encoded = "" if plain == stem + self.suffix else f"; filename*=UTF-8''{quote(stem + self.suffix, safe='')}"
        return {"Content-Disposition": f'inline; filename="{plain}"{encoded}'}


def as_json(result: Result) -> DetectionsOut:
    """Return the answer in the JSON form of `POST /detect`."""
    return DetectionsOut.from_domain(
        result.selected,
        detector=result.detector,
        size_wh=result.size_wh,
        score_threshold=result.score_threshold,
        tile_count=result.tile_count,
    )


def _json(result: Result) -> bytes:
    # dumped here, because FastAPI would validate the model a second time
    return as_json(result).model_dump_json().encode()


def _csv(result: Result) -> bytes:
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(CSV_COLUMNS)
    rows.writerows((item.label, item.label_id, item.score, *item.box) for item in as_json(result).detections)
    return text.getvalue().encode()


def _annotations(write: Callable[..., str]) -> Callable[[Result], bytes]:
    def annotate(result: Result) -> bytes:
        text = write(
            result.selected,
            class_names=result.detector.info.class_names,
            image_name=result.image_name,
            size_wh=result.size_wh,
        )
        return text.encode()

    return annotate


def _picture(image_format: str, **options: Any) -> Callable[[Result], bytes]:
    def draw(result: Result) -> bytes:
        assert result.pixels is not None, "the pipeline passes the pixels to a format that draws"
        file = io.BytesIO()
        drawn = draw_detections(
            result.pixels, result.selected, class_names=result.detector.info.class_names, least_px=_LEAST_PX
        )
        drawn.save(file, image_format, **options)
        return file.getvalue()

    return draw


FORMATS: dict[FormatName, OutputFormat] = {
    "json": OutputFormat("application/json", _json),
    "jpeg": OutputFormat("image/jpeg", _picture("JPEG", quality=_JPEG_QUALITY), ".boxes.jpg", draws_photo=True),
    "png": OutputFormat("image/png", _picture("PNG", compress_level=_PNG_LEVEL), ".boxes.png", draws_photo=True),
    "labelme": OutputFormat(
        "application/vnd.rendersight.labelme+json", _annotations(labelme.detections_to_json), ".json"
    ),
    "coco": OutputFormat(
        "application/vnd.rendersight.coco+json", _annotations(coco_writing.detections_to_json), ".coco.json"
    ),
    "csv": OutputFormat("text/csv", _csv, ".csv"),
}
"""Name -> answer format. If a client accepts several equally, it gets the first."""


def chosen_format(asked: FormatName | None, accept: str) -> OutputFormat:
    """Return the format of the answer.

    Args:
        asked: the query parameter `format`. It has priority over `accept`.
        accept: the request's Accept header (RFC 9110, section 12.5.1). An empty one accepts every format.

    Raises:
        NotAcceptable: `accept` allows none of `FORMATS`.
    """
    if asked is not None:
        return FORMATS[asked]
    ranges = _ranges(accept) or {"*/*": 1.0}
    best = max(FORMATS.values(), key=lambda one: _quality(one.media_type, ranges))
    if not _quality(best.media_type, ranges):
        given = ", ".join(one.media_type for one in FORMATS.values())
        raise NotAcceptable(f"header Accept: {shown(accept)} allows no answer format; available: {given}")
    return best


def _ranges(accept: str) -> dict[str, float]:
    """Return media range -> quality of an Accept header. An unreadable quality counts as 1."""
    ranges = {}
    for text in accept.split(",")[:_MAX_RANGES]:
        kind, options = parse_options_header(text.strip())
        try:
            quality = float(options.get(b"q", b"1"))
        except ValueError:
            quality = 1.0
        if kind:
            ranges[kind.decode("latin-1").lower()] = quality
    return ranges


def _quality(media_type: str, ranges: dict[str, float]) -> float:
    """Return the quality of a media type by the most specific range that matches it; 0 if none matches."""
    main, _, _ = media_type.partition("/")
    return next((ranges[one] for one in (media_type, f"{main}/*", "*/*") if one in ranges), 0.0)
