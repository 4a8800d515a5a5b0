"""Error responses in the OpenAPI document, with an example of each error."""

from typing import Any

from app import errors
from app.errors import ServiceError
from app.http.problems import PROBLEM, V2_ERROR, ErrorShape, shape_at, type_of
from app.schemas import InputFaultOut, Problem

KEY = (errors.Unauthorized, errors.Forbidden)
UPLOAD = (
    errors.MalformedBody,
    errors.EmptyUpload,
    errors.UploadTimeout,
    errors.UploadTooLarge,
    errors.UnsupportedMediaType,
)
IMAGE = (errors.TooManyPixels, errors.ImageNotRecognized, errors.ImageNotDecodable)
RUN = (errors.InternalError, errors.NotReady, errors.ServiceOverloaded)

_V2_EXAMPLES: dict[type[ServiceError], str] = {
    errors.MalformedBody: "the connection closed after 81920 bytes of the body",
    errors.EmptyUpload: "image 1 is empty",
    errors.UnsupportedMediaType: "Content-Type image/jpeg is not accepted; "
    "accepted: application/json, application/octet-stream",
    errors.InvalidParameter: "parameters.score_threshold: Input should be less than or equal to 1, but it is 1.5",
    **{error: f"image 1: {error.example}" for error in IMAGE},
}
_FAULTS: dict[type[ServiceError], InputFaultOut] = {
    errors.InvalidParameter: InputFaultOut(
        location="query", name="score_threshold", value="1.5", accepted="Input should be less than or equal to 1"
    ),
    errors.InvalidForm: InputFaultOut(
        location="form", name="image", value=None, accepted="exactly one file, this form has none"
    ),
}


def error_responses(*kinds: type[ServiceError], path: str = "/") -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI `responses` of an endpoint that raises these errors.

    Args:
        kinds: the errors that the endpoint raises.
        path: the endpoint's path or a parent of it; it decides the shape of the errors.
    """
    shape = shape_at(path)
    schema = {"$ref": f"#/components/schemas/{shape.schema.__name__}"}
    by_status: dict[int | str, dict[str, Any]] = {}
    for error in sorted(kinds, key=lambda kind: kind.status):
        content = {shape.media_type: {"schema": schema, "examples": {}}}
        response = by_status.setdefault(error.status, {"description": "", "content": content})
        response["description"] = " or ".join(filter(None, [response["description"], error.title]))
        response["content"][shape.media_type]["examples"][error.slug] = {
            "summary": error.title,
            "value": shape.body(_example(error, shape)),
        }
    return by_status


def _example(error: type[ServiceError], shape: ErrorShape) -> Problem:
    return Problem(
        type=type_of(error),
        title=error.title,
        status=error.status,
        detail=_V2_EXAMPLES.get(error, error.example) if shape is V2_ERROR else error.example,
        request_id="b1946ac92492d234",
        errors=[_FAULTS[error]] if error in _FAULTS else [],
    )


def add_error_schemas(document: dict[str, Any]) -> None:
    """Add the schemas that `error_responses` refers to."""
    for shape in (PROBLEM, V2_ERROR):
        schema = shape.schema.model_json_schema(ref_template="#/components/schemas/{model}")
        document["components"]["schemas"].update({**schema.pop("$defs", {}), shape.schema.__name__: schema})
