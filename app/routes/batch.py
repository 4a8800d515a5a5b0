"""`POST /detect/batch`: many photos in, one JSON line for each out."""

import asyncio
from contextlib import ExitStack
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from app import errors
from app.dependencies import MemoryDep, PipelineDep, SettingsDep, TimeoutDep
from app.http.access import needs
from app.http.batch import MEDIA_TYPE, LinesResponse, answer_in_order
from app.http.multipart import FIELD, FORM, FormLimits
from app.http.problems import responses
from app.http.query import known_once
from app.http.uploads import read_upload
from app.inference.pipeline import DetectOptions
from app.schemas import BatchLine, SelectQuery

router = APIRouter(tags=["Detection"])

_ITEM = {"type": "string", "format": "binary"}  # no minLength: an empty file fails alone
_PHOTOS: dict[str, Any] = {"type": "array", "items": _ITEM, "minItems": 1, "description": "The photos."}
_BODY: dict[str, Any] = {
    "required": True,
    "description": f"A form with any number of images, up to the service's limits, each as a file `{FIELD}`.",
    "content": {
        FORM: {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "additionalProperties": False,
                "properties": {FIELD: _PHOTOS},
            },
        },
    },
}
_EXAMPLE = """\
{"index":0,"filename":"a.jpg","result":{"model":...,"image":...,"score_threshold":0.5,"detections":[...]}}
{"index":1,"filename":"b.txt","problem":{"type":"urn:rendersight:problem:unknown-image-format","status":415,...}}
"""
_ACCESS = needs("detect")


@router.post(
    "/detect/batch",
    summary="Find the objects in many photos",
    operation_id="detect_batch",
    status_code=200,
    response_class=LinesResponse,
    dependencies=[*_ACCESS["dependencies"], Depends(known_once(SelectQuery))],
    openapi_extra={**_ACCESS["openapi_extra"], "requestBody": _BODY},
    responses={
        200: {
            "description": "A line of JSON for each photo, in their order.",
            "model": BatchLine,
            "content": {MEDIA_TYPE: {"example": _EXAMPLE}},
        },
        **responses(
            errors.MalformedBody,
            errors.EmptyUpload,
            errors.Unauthorized,
            errors.Forbidden,
            errors.UploadTimeout,
            errors.UploadTooLarge,
            errors.UnsupportedMediaType,
            errors.InvalidParameter,
            errors.InvalidForm,
            errors.InternalError,
            errors.NotReady,
            errors.ServiceOverloaded,
        ),
    },
)
async def detect_batch(
    request: Request,
    query: Annotated[SelectQuery, Query()],
    timeout_s: TimeoutDep,
    pipeline: PipelineDep,
    settings: SettingsDep,
    memory: MemoryDep,
) -> LinesResponse:
    """Find the objects in many photos. The answer is JSON lines in the photos' order, sent as soon as each is ready.

    If one photo cannot be read, or its time runs out, the others are not affected: its line has a `problem` instead
    of a `result`. The time limit applies to each photo and starts when its turn comes.
    """
    options = DetectOptions(query, timeout_s)
    pipeline.check(options)
    with ExitStack() as held:
        upload = await read_upload(
            request,
            max_bytes=min(settings.max_batch_bytes, memory.max_bytes),
            form_only=True,
            limits=FormLimits(settings.max_parts, settings.max_part_header_bytes),
            timeout_s=settings.upload_timeout_s,
            take=held.enter_context(memory.share()),
        )
        lines = answer_in_order(
            pipeline,
            await asyncio.to_thread(upload.files),
            options,
            request_id=request.state.request_id,
            max_bytes=settings.max_bytes,
        )
        return LinesResponse(lines, held=held.pop_all())
