"""Photo in, boxes out."""

import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from app import errors
from app.access import needs
from app.problems import responses
from app.readiness import MemoryDep, MetricsDep, SchedulerDep, SettingsDep
from app.schemas import DetectionsOut, DetectQuery
from app.selection import Selection, default_threshold, selection_of
from app.settings import Settings
from app.telemetry import note_stages
from app.upload import FIELD, FORM, IMAGE_TYPES, FormLimits, decode_upload, read_upload
from model_store.detector import Detector

router = APIRouter(tags=["Detection"])

_REPEATABLE = ("labels",)
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


async def _known_names_once(request: Request) -> None:
    """Refuse a query with a parameter that does not exist, such as a misspelt one, or with two values for one.

    Raises:
        InvalidParameter: it names the first `errors.MOST_INPUTS` of them.
    """
    accepted = ", ".join(DetectQuery.model_fields)
    found = (
        errors.InvalidInput("query", errors.shown(name), None, f"no such parameter; known: {accepted}")
        if name not in DetectQuery.model_fields
        else errors.InvalidInput("query", name, None, f"given {count} times; once is accepted")
        for name, count in Counter(name for name, _ in request.query_params.multi_items()).items()
        if name not in DetectQuery.model_fields or (count > 1 and name not in _REPEATABLE)
    )
    if wrong := list(islice(found, errors.MOST_INPUTS)):
        listed = "; ".join(f"query parameter {item.name}: {item.accepted}" for item in wrong)
        raise errors.InvalidParameter(listed, errors=wrong)


_ACCESS = needs("detect")


@router.post(
    "/detect",
    summary="Find the objects in one photo",
    operation_id="detect",
    response_model=DetectionsOut,
    dependencies=[*_ACCESS["dependencies"], Depends(_known_names_once)],
    openapi_extra={**_ACCESS["openapi_extra"], "requestBody": _BODY},
    responses=responses(
        errors.MalformedBody,
        errors.EmptyUpload,
        errors.Unauthorized,
        errors.Forbidden,
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

    The order of selection: score threshold (strictly above), then labels, then max_detections.
    """
    timeout_s = min(settings.request_timeout_s, x_request_timeout or settings.request_timeout_s)
    _selection(query, scheduler.detector, settings)  # what cannot be taken is refused before its body is read
    scheduler.admit(timeout_s)
    with memory.share() as take:
        upload = await read_upload(
            request, max_bytes=settings.max_bytes, timeout_s=settings.upload_timeout_s, take=take
        )
        detector = scheduler.detector  # the one to answer, whatever is swapped in from now on
        request.state.card = detector.card
        selection = _selection(query, detector, settings)
        found = await scheduler.detect(
            detector,
            partial(
                decode_upload,
                upload,
                limits=FormLimits(settings.max_parts, settings.max_part_header_bytes),
                max_pixels=settings.max_pixels,
                need=detector.card.input.resized_hw,
            ),
            timeout_s=timeout_s,
            gone=partial(_left, request),
        )
    began_s = time.perf_counter()
    selected = selection.of(found.detections)
    answer = DetectionsOut.from_domain(
        selected, detector=detector, size_wh=found.size_wh, score_threshold=selection.score_threshold
    )
    # as it is: FastAPI would validate once more what was validated when it was made
    response = Response(answer.model_dump_json(), media_type="application/json")
    encode_s = time.perf_counter() - began_s
    stages = {"queue": found.queue_s, "decode": found.decode_s, "inference": found.inference_s, "encode": encode_s}
    note_stages(request, stages)
    metrics.detected(detector.card.class_names, selected, stages)
    return response


def describe(document: dict[str, Any], class_names: Sequence[str]) -> None:
    """Say in an OpenAPI document which classes there are to ask for, now."""
    parameters = document["paths"]["/detect"]["post"]["parameters"]
    labels = next(item for item in parameters if item["name"] == "labels")
    labels["schema"]["items"]["enum"] = list(class_names)


def _selection(query: DetectQuery, detector: Detector, settings: Settings) -> Selection:
    default = default_threshold(detector.card, settings.score_threshold)
    return selection_of(query, detector.card, default_score_threshold=default)


async def _left(request: Request) -> None:
    """Return when the client has closed its connection; its body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
