"""`POST /detect`: one photo in, its objects out."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from app.dependencies import MemoryDep, PipelineDep, SettingsDep, TimeoutDep
from app.http.access import KeyCheck
from app.http.disconnect import unless_gone
from app.http.multipart import FormLimits
from app.http.query import known_once
from app.http.uploads import read_upload
from app.inference.formats import chosen_format
from app.inference.pipeline import DetectOptions
from app.observability.request_log import note_stages
from app.openapi.detection import DETECT
from app.schemas import DetectQuery

router = APIRouter(tags=["Detection"])


@router.post("/detect", dependencies=[Depends(KeyCheck("detect")), Depends(known_once(DetectQuery))], **DETECT)
async def detect(
    request: Request,
    query: Annotated[DetectQuery, Query()],
    timeout_s: TimeoutDep,
    pipeline: PipelineDep,
    settings: SettingsDep,
    memory: MemoryDep,
) -> Response:
    """Detect the objects in one uploaded photo, best score first.

    Boxes are in pixels of the upright photo: the service applies the EXIF orientation first, as an image viewer does.
    It converts grey, palette, transparent (over white), CMYK and 16-bit images to RGB. Of an animation it uses the
    first frame.

    With `tiles`, the service also looks for small objects in overlapping tiles of a large photo, and reports each
    object once.

    The service selects objects in this order: overlap (`iou_threshold`), score (strictly above the threshold),
    `labels`, `max_detections`.

    The answer is JSON. With `format` or the Accept header you can ask for the photo with its boxes, an annotation file
    in LabelMe or COCO format, or CSV instead.
    """
    options = DetectOptions(query, timeout_s, chosen_format(query.format, request.headers.get("accept", "")))
    pipeline.check(options)
    with memory.share() as take:
        upload = await read_upload(
            request,
            max_bytes=settings.max_bytes,
            limits=FormLimits(settings.max_parts, settings.max_part_header_bytes),
            timeout_s=settings.upload_timeout_s,
            take=take,
        )
        detector = pipeline.scheduler.detector
        request.state.info = detector.info
        image = await asyncio.to_thread(upload.image)
        found = await unless_gone(request.receive, pipeline.detect(image, options, detector))
    note_stages(request, found.stages_s, tiles=found.tile_count)
    return Response(found.body, media_type=options.output.media_type, headers=options.output.headers(image.name))
