"""OpenAPI metadata of `POST /detect` and `POST /detect/batch`."""

from typing import Any

from app import errors
from app.http.batch import MEDIA_TYPE
from app.http.multipart import FIELD, FORM
from app.http.uploads import IMAGE_TYPES
from app.inference.formats import CSV_COLUMNS, FORMATS
from app.openapi.responses import IMAGE, KEY, RUN, UPLOAD, error_responses
from app.schemas import BatchLine, DetectionsOut

_FILE = {"type": "string", "format": "binary"}
_IMAGE = {**_FILE, "minLength": 1}


def _form(field: dict[str, Any]) -> dict[str, Any]:
    properties = {"type": "object", "required": [FIELD], "additionalProperties": False, "properties": {FIELD: field}}
    return {FORM: {"schema": properties}}


_FILES: dict[str, Any] = {
    FORMATS["jpeg"].media_type: {"schema": _IMAGE},
    FORMATS["png"].media_type: {"schema": _IMAGE},
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

DETECT: dict[str, Any] = {
    "summary": "Detect the objects in one photo",
    "operation_id": "detect",
    "response_model": DetectionsOut,
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "description": f"One image: either a form with the file in the field `{FIELD}`, or the image itself as the "
            "body. The image's signature decides its format, not the declared type; `application/octet-stream` is "
            "accepted too.",
            "content": {
                **_form({**_IMAGE, "description": "The photo."}),
                **{media_type: {"schema": _IMAGE} for media_type in IMAGE_TYPES},
            },
        }
    },
    "responses": {
        200: {"description": "The detected objects, in the requested format.", "content": _FILES},
        **error_responses(
            *UPLOAD, *KEY, *IMAGE, errors.NotAcceptable, errors.InvalidParameter, errors.InvalidForm, *RUN,
            errors.DeadlineExceeded,
        ),
    },
}  # fmt: skip

_LINES = """\
{"index":0,"filename":"a.jpg","result":{"model":...,"image":...,"score_threshold":0.5,"detections":[...]}}
{"index":1,"filename":"b.txt","problem":{"type":"urn:rendersight:problem:unknown-image-format","status":415,...}}
"""

BATCH: dict[str, Any] = {
    "summary": "Detect the objects in many photos",
    "operation_id": "detect_batch",
    "status_code": 200,
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "description": f"A form with one or more images, each as a file in the field `{FIELD}`.",
            # an empty file fails alone, so an item has no minimum length
            "content": _form({"type": "array", "items": _FILE, "minItems": 1, "description": "The photos."}),
        }
    },
    "responses": {
        200: {
            "description": "One line of JSON per photo, in the order of the files.",
            "model": BatchLine,
            "content": {MEDIA_TYPE: {"example": _LINES}},
        },
        **error_responses(*UPLOAD, *KEY, errors.InvalidParameter, errors.InvalidForm, *RUN),
    },
}
