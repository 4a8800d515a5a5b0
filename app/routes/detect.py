"""Photo in, boxes out."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from app import errors
from app.access import needs
from app.detecting import Detecting
from app.form import FIELD, FORM, FormLimits
from app.formats import CSV_COLUMNS, FORMATS, chosen
from app.problems import responses
from app.query import known_once
from app.readiness import MemoryDep, MetricsDep, SchedulerDep, SettingsDep
from app.schemas import DetectionsOut, DetectQuery
from app.settings import Settings
from app.telemetry import note_stages
from app.upload import IMAGE_TYPES, read_upload

router = APIRouter(tags=["Detection"])

_MIN_TIMEOUT_S = 0.1
_TIMEOUT = (
    "How long you wait for the answer once the body is sent, in seconds; the service's own limit, where that is less."
)
TimeoutHeader = Annotated[float | None, Header(ge=_MIN_TIMEOUT_S, allow_inf_nan=False, description=_TIMEOUT)]
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
            errors.ImageTooLarge,
            errors.UnsupportedMediaType,
            errors.UnknownImageFormat,
            errors.InvalidParameter,
            errors.InvalidForm,
            errors.BrokenImage,
            errors.InternalError,
            errors.NotReady,
            errors.Overloaded,
            errors.DeadlineExceeded,
        ),
    },
)
async def detect(
    request: Request,
    query: Annotated[DetectQuery, Query()],
    scheduler: SchedulerDep,
    settings: SettingsDep,
    memory: MemoryDep,
    metrics: MetricsDep,
    x_request_timeout: TimeoutHeader = None,
) -> Response:
    """Find the objects in one uploaded photo, best score first.

    Boxes are in pixels of the upright photo: its EXIF orientation is applied first, as a viewer does. Grey, palette,
    transparent (over white), CMYK and 16-bit images become RGB; of an animation the first frame counts.

    The order of selection: score threshold (strictly above), then labels, then overlap, then max_detections.

    The answer is JSON unless `format` or the header Accept ask for something else: the photo with its boxes, an
    annotation file for LabelMe or of COCO's form, or CSV.
    """
    detecting = Detecting(
        query=query,
        form=chosen(query.format, request.headers.get("accept", "")),
        timeout_s=patience_s(settings, x_request_timeout),
        gone=partial(left, request),
        scheduler=scheduler,
        settings=settings,
        metrics=metrics,
    )
    detecting.check()
    with memory.share() as take:
        upload = await read_upload(
            request,
            max_bytes=settings.max_bytes,
            limits=FormLimits(settings.max_parts, settings.max_part_header_bytes),
            timeout_s=settings.upload_timeout_s,
            take=take,
        )
        detector = scheduler.detector
        request.state.card = detector.card
        answer = await detecting.answer(lambda: upload.image, detector)
    note_stages(request, answer.stages_s)
    headers = {} if detecting.form is FORMATS["json"] else detecting.form.headers(answer.image_name)
    return Response(answer.body, media_type=detecting.form.media_type, headers=headers)


def describe(document: dict[str, Any], class_names: Sequence[str]) -> None:
    """Say in an OpenAPI document which classes there are to ask for, now."""
    for path in ("/detect", "/detect/batch"):
        parameters = document["paths"][path]["post"]["parameters"]
        labels = next(item for item in parameters if item["name"] == "labels")
        labels["schema"]["items"]["enum"] = list(class_names)


def patience_s(settings: Settings, asked: float | None) -> float:
    """Return how long a photo may take: as long as the client waits, and no longer than the service allows."""
    return min(settings.request_timeout_s, asked or settings.request_timeout_s)


async def left(request: Request) -> None:
    """Return when the client has closed its connection; its body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
