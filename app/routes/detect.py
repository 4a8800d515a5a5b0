"""`POST /detect`: one photo in, its objects out."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from app import errors
from app.dependencies import MemoryDep, PipelineDep, SettingsDep, TimeoutDep
from app.http.access import needs
from app.http.disconnect import unless_gone
from app.http.multipart import FIELD, FORM, FormLimits
from app.http.problems import responses
from app.http.query import known_once
from app.http.uploads import IMAGE_TYPES, read_upload
from app.inference.formats import CSV_COLUMNS, FORMATS, chosen_format
from app.inference.pipeline import DetectOptions
from app.observability.request_log import note_stages
from app.schemas import DetectionsOut, DetectQuery

router = APIRouter(tags=["Detection"])

_BINARY = {"type": "string", "format": "binary", "minLength": 1}
_BODY: dict[str, Any] = {
    "required": True,
    "description": f"Exactly one image: as the file `{FIELD}` of a form, or bare as the whole body. "
    "Its own signature tells the format, whatever is declared; `application/octet-stream` is taken as well.",
    "content": {
        FORM: {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "additionalProperties": False,
                "properties": {FIELD: {**_BINARY, "description": "The photo."}},
            },
        },
        **{media_type: {"schema": _BINARY} for media_type in IMAGE_TYPES},
    },
}
_ACCESS = needs("detect")
_OTHER_FORMS: dict[str, Any] = {
    FORMATS["jpeg"].media_type: {"schema": _BINARY},
    FORMATS["png"].media_type: {"schema": _BINARY},
    FORMATS["labelme"].media_type: {
        "schema": {"type": "object", "required": ["version", "shapes", "imagePath"]},
        "example": {"version": "5.5.0", "shapes": [], "imagePath": "photo.jpg", "imageHeight": 45, "imageWidth": 60},
    },
    FORMATS["coco"].media_type: {
        "schema": {"type": "object", "required": ["images", "categories", "annotations"]},
        "example": {"images": [], "categories": [{"id": 1, "name": "one"}], "annotations": []},
    },
    FORMATS["csv"].media_type: {
        "schema": {"type": "string"},
        "example": f"{','.join(CSV_COLUMNS)}\r\nfive,5,0.98,10.5,20.0,52.1,61.7\r\n",
    },
}


@router.post(
    "/detect",
    summary="Find the objects in one photo",
    operation_id="detect",
    response_model=DetectionsOut,
    dependencies=[*_ACCESS["dependencies"], Depends(known_once(DetectQuery))],
    openapi_extra={**_ACCESS["openapi_extra"], "requestBody": _BODY},
    responses={
        200: {"description": "What was found, in the form that was asked for.", "content": _OTHER_FORMS},
        **responses(
            errors.MalformedBody,
            errors.EmptyUpload,
            errors.Unauthorized,
            errors.Forbidden,
            errors.NotAcceptable,
            errors.UploadTimeout,
            errors.UploadTooLarge,
            errors.TooManyPixels,
            errors.UnsupportedMediaType,
            errors.ImageNotRecognized,
            errors.InvalidParameter,
            errors.InvalidForm,
            errors.ImageNotDecodable,
            errors.InternalError,
            errors.NotReady,
            errors.ServiceOverloaded,
            errors.DeadlineExceeded,
        ),
    },
)
async def detect(
    request: Request,
    query: Annotated[DetectQuery, Query()],
    timeout_s: TimeoutDep,
    pipeline: PipelineDep,
    settings: SettingsDep,
    memory: MemoryDep,
) -> Response:
    """Find the objects in one uploaded photo, best score first.

    Boxes are in pixels of the upright photo: the service applies the EXIF orientation first, as an image viewer does.
    It converts grey, palette, transparent (over white), CMYK and 16-bit images to RGB. Of an animation it uses the
    first frame.

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
        request.state.card = detector.card
        image = await asyncio.to_thread(upload.image)
        found = await unless_gone(request.receive, pipeline.detect(image, options, detector))
    note_stages(request, found.stages_s)
    return Response(found.body, media_type=options.output.media_type, headers=options.output.headers(image.name))


def describe(document: dict[str, Any], class_names: Sequence[str]) -> None:
    """Write the served classes into the schema of the parameter `labels` of an OpenAPI document."""
    for path in ("/detect", "/detect/batch"):
        parameters = document["paths"][path]["post"]["parameters"]
        labels = next(item for item in parameters if item["name"] == "labels")
        labels["schema"]["items"]["enum"] = list(class_names)
