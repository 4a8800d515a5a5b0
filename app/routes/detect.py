"""Photo in, boxes out."""

from collections import Counter
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from app import errors
from app.problems import responses
from app.readiness import SchedulerDep, SettingsDep
from app.schemas import DetectionsOut, DetectQuery
from app.selection import default_threshold, selection_of
from app.upload import FIELD, FORM, IMAGE_TYPES, decode_upload, read_upload

router = APIRouter(tags=["Detection"])

_REPEATABLE = ("labels",)
_BINARY = {"type": "string", "format": "binary"}
_BODY: dict[str, Any] = {
    "required": True,
    "description": f"Exactly one image: as the file `{FIELD}` of a form, or bare as the whole body. "
    "Its own signature tells the format; the declared type does not matter.",
    "content": {
        FORM: {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "additionalProperties": False,
                "properties": {FIELD: {**_BINARY, "description": "The photo."}},
            }
        },
        **{media_type: {"schema": _BINARY} for media_type in (*IMAGE_TYPES, "application/octet-stream")},
    },
}


async def _known_names_once(request: Request) -> None:
    """Refuse a query with a parameter that does not exist, such as a misspelt one, or with two values for one.

    Raises:
        InvalidParameter: it names every one.
    """
    accepted = ", ".join(DetectQuery.model_fields)
    wrong = [
        errors.InvalidInput("query", name, None, f"no such parameter; known: {accepted}")
        if name not in DetectQuery.model_fields
        else errors.InvalidInput("query", name, None, f"given {count} times; once is accepted")
        for name, count in Counter(name for name, _ in request.query_params.multi_items()).items()
        if name not in DetectQuery.model_fields or (count > 1 and name not in _REPEATABLE)
    ]
    if wrong:
        listed = "; ".join(f"query parameter {item.name}: {item.accepted}" for item in wrong)
        raise errors.InvalidParameter(listed, errors=wrong)


@router.post(
    "/detect",
    summary="Find the objects in one photo",
    operation_id="detect",
    response_model=DetectionsOut,
    dependencies=[Depends(_known_names_once)],
    openapi_extra={"requestBody": _BODY},
    responses=responses(
        errors.MalformedBody,
        errors.EmptyUpload,
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
    ),
)
async def detect(
    request: Request, query: Annotated[DetectQuery, Query()], scheduler: SchedulerDep, settings: SettingsDep
) -> Response:
    """Find the objects in one uploaded photo, best score first.

    Boxes are in pixels of the upright photo: its EXIF orientation is applied first, as a viewer does. Grey, palette,
    transparent (over white), CMYK and 16-bit images become RGB; of an animation the first frame counts.

    The order of selection: score threshold (strictly above), then labels, then max_detections.
    """
    detector = scheduler.detector
    default = default_threshold(detector.card, settings.score_threshold)
    selection = selection_of(query, detector.card, default_score_threshold=default)
    upload = await read_upload(request, max_bytes=settings.max_bytes, timeout_s=settings.upload_timeout_s)
    with scheduler.place():
        photo = await scheduler.decode(
            decode_upload, upload, max_pixels=settings.max_pixels, need=detector.card.input.resized_hw
        )
        found = await scheduler.detect(photo)
    answer = DetectionsOut.from_domain(
        selection.of(found),
        detector=detector,
        size_wh=(photo.width, photo.height),
        score_threshold=selection.score_threshold,
    )
    # as it is: FastAPI would validate once more what was validated when it was made
    return Response(answer.model_dump_json(), media_type="application/json")
