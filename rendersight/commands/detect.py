"""The verb `detect`: sends photos to a running service and prints or writes the detections."""

import argparse
import asyncio
import json
import os
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

from rendersight import atomic, flags
from rendersight.annotations.formats import labelme
from rendersight.client import (
    AsyncClient,
    DetectResult,
    InputRefused,
    RendersightError,
    Selection,
    ServiceProblem,
    UnusableImage,
    WrongSetting,
)
from rendersight.client.batches import CONCURRENCY, in_order_async
from rendersight.client.calls import PICTURES
from rendersight.client.retries import TIMEOUT_S
from rendersight.client.wire import DEFAULT_URL
from rendersight.command_line import BAD_INPUT
from rendersight.console import bar_of, say, show
from rendersight.photos import find_photos
from rendersight.tiles import ACCEPTED

SUFFIXES = {"png": ".png", "jpeg": ".jpg", "labelme": ".json", "coco": ".json", "csv": ".csv"}

_INVALID_PARAMETER = "urn:rendersight:problem:invalid-parameter"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments to the parser."""
    parser.description = (
        "Send photos to a running service and print the objects it finds. If the service is starting or overloaded, "
        "wait and try again."
    )
    parser.add_argument("photos", type=Path, nargs="+", help="image files, or folders of them")
    parser.add_argument("--url", default=DEFAULT_URL, help=f"address of the service (default: {DEFAULT_URL})")
    parser.add_argument("--api-key-file", type=Path, metavar="FILE", help="file whose first line is the API key")
    parser.add_argument(
        "--score-threshold", type=flags.score, help="report objects with a higher score (default: the service's own)"
    )
    parser.add_argument("--labels", type=flags.names, help="report only these classes, separated by commas")
    parser.add_argument(
        "--iou-threshold", type=flags.score, help="if two boxes overlap more than this, keep the one with more score"
    )
    parser.add_argument(
        "--class-agnostic", action="store_true", help="apply --iou-threshold to boxes of different classes too"
    )
    parser.add_argument(
        "--tiles",
        type=flags.tiles,
        metavar="TILES",
        help="look for small objects in overlapping tiles of large photos too: "
        f"{ACCEPTED} (default: the service's setting)",
    )
    parser.add_argument("--max-detections", type=flags.positive, help="report at most this many objects per photo")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print one line of JSON for each photo and nothing else")
    output.add_argument("--format", choices=SUFFIXES, help="write a file for each photo into --out instead of printing")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder for the files of --format")
    parser.add_argument(
        "--concurrency",
        type=flags.positive,
        default=CONCURRENCY,
        help=f"number of photos sent at the same time (default: {CONCURRENCY})",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT_S,
        help=f"seconds allowed for each photo, including retries (default: {TIMEOUT_S:g})",
    )


def run(options: argparse.Namespace) -> int:
    """Detect the objects in the photos.

    Returns:
        0, or 2 if some of the photos cannot be used.

    Raises:
        AnnotationError, WrongSetting: the arguments cannot be used.
        RendersightError: an error that every photo would meet.
        OSError: an output file cannot be written.
    """
    if (options.format is None) != (options.out is None):
        raise WrongSetting("--format and --out belong together: give both, or neither")
    photos = find_photos(options.photos, stems_differ=options.format is not None)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
    refused = asyncio.run(_detect(photos, options))
    if refused:
        say(f"rendersight: {refused} of {len(photos)} photos could not be used")
    return BAD_INPUT if refused else 0


async def _detect(photos: Sequence[Path], options: argparse.Namespace) -> int:
    """Ask the service about every photo, print or write the answers, and return how many photos could not be used.

    Raises:
        RendersightError: an error that every other photo would meet too.
    """
    selection = Selection(
        score_threshold=options.score_threshold,
        labels=options.labels or (),
        iou_threshold=options.iou_threshold,
        class_agnostic=options.class_agnostic,
        max_detections=options.max_detections,
        tiles=options.tiles,
    )
    refused = 0
    async with AsyncClient(options.url, api_key=_key_of(options.api_key_file), timeout_s=options.timeout) as client:

        async def ask(photo: Path) -> DetectResult | bytes | RendersightError:
            try:
                return await _ask(client, photo, options.format, selection)
            except (UnusableImage, InputRefused) as error:
                if isinstance(error, InputRefused) and error.type == _INVALID_PARAMETER:
                    raise
                return error

        answers = in_order_async(photos, ask, concurrency=options.concurrency)
        async with aclosing(cast(Any, answers)):
            for index, photo in enumerate(bar_of("photos")(photos)):
                answer = await anext(answers)
                refused += isinstance(answer, RendersightError)
                _tell(index, photo, answer, options)
    return refused


async def _ask(client: AsyncClient, photo: Path, file_format: str | None, selection: Selection) -> DetectResult | bytes:
    if file_format is None:
        return await client.detect(photo, **selection)
    if file_format in PICTURES:
        return await client.picture(photo, cast(Any, file_format), **selection)
    return (await client.annotate(photo, cast(Any, file_format), **selection)).encode()


def _key_of(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return (path.read_text("utf-8").splitlines() or [""])[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise WrongSetting(f"--api-key-file {path}: {getattr(error, 'strerror', None) or error}") from error


def _tell(
    index: int, photo: Path, answer: DetectResult | bytes | RendersightError, options: argparse.Namespace
) -> None:
    if isinstance(answer, RendersightError):
        say(f"rendersight: {photo}: {answer}")
    if options.json:
        show(json.dumps({"index": index, "filename": str(photo), **_json_of(answer)}))
    elif isinstance(answer, DetectResult):
        show("\n".join(table_of(photo, answer)))
    elif isinstance(answer, bytes):
        _write(photo, answer, options)


def _json_of(answer: DetectResult | bytes | RendersightError) -> dict[str, Any]:
    """Return the member `result` or `problem`, as in a line of the service's own batches."""
    if isinstance(answer, DetectResult):
        return {"result": answer.as_json()}
    if isinstance(answer, ServiceProblem):
        names = ("type", "title", "status", "detail", "request_id")
        return {"problem": {name: getattr(answer, name) for name in names}}
    return {"problem": {"type": "about:blank", "title": "Unusable image", "detail": str(answer)}}


def table_of(photo: Path, found: DetectResult) -> list[str]:
    """Return one line for the photo and one for each object: label, score, and x0, y0, x1, y1 in px."""
    width, height = found.size_wh
    count = len(found.detections)
    objects = "1 object" if count == 1 else f"{count} objects"
    tiles = f", {found.tiles} tiles" if found.tiles else ""
    lines = [f"{photo}  {width} x {height} px, {objects} above {found.score_threshold:g}{tiles}"]
    longest = max((len(item.label) for item in found.detections), default=0)
    for item in found.detections:
        box = "".join(f"{value:9.1f}" for value in item.box)
        lines.append(f"  {item.label:<{longest}}  {item.score:.3f} {box}")
    return lines


def _write(photo: Path, data: bytes, options: argparse.Namespace) -> None:
    """Write a photo's output file whole. An older output file is replaced, the photo itself never.

    Raises:
        WrongSetting: the output file would be the photo.
        OSError: the file cannot be written.
    """
    path = options.out / f"{photo.stem}{SUFFIXES[options.format]}"
    if path.exists() and path.samefile(photo):
        raise WrongSetting(f"--out {options.out} would replace the photo {photo}; take another folder")
    if options.format == "labelme":  # the service knows no folders; LabelMe finds the photo relative to the JSON
        image_path = Path(os.path.relpath(photo, options.out)).as_posix()
        data = (labelme.with_image_path(data.decode(), image_path) + "\n").encode()
    atomic.write_bytes(path, data)
