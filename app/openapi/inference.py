"""OpenAPI metadata of the endpoints below `/v2/models`. Each exists for the model and for a version of it."""

import re
from typing import Any

from app import errors
from app.errors import ServiceError
from app.http.v2_protocol import BINARY, JSON, LENGTH_HEADER
from app.http.v2_schemas import InferenceRequest, InferenceResponse
from app.openapi.responses import IMAGE, KEY, RUN, UPLOAD, error_responses
from model_store.model_info import ModelInfo

MODEL_PATH = "/v2/models/{model_name}"
VERSION_PATH = MODEL_PATH + "/versions/{model_version}"

_NAME, _VERSION = (
    {"name": name, "in": "path", "required": True, "description": description, "schema": {"type": "string"}}
    for name, description in (("model_name", "Name of the model."), ("model_version", "Version of the model."))
)
_TENSORS = {"type": "string", "format": "tensors", "minLength": 1}
_BODY: dict[str, Any] = {
    "required": True,
    "description": "One input `images`, BYTES `[N]`: image files. In JSON, each element is base64. As binary tensor "
    "data, the files follow the JSON, each after its length.",
    "content": {JSON: {"schema": {"$ref": "#/components/schemas/InferenceRequest"}}, BINARY: {"schema": _TENSORS}},
}
_OK: dict[str, Any] = {
    "description": "The detected objects, as tensors.",
    "headers": {
        LENGTH_HEADER: {
            "description": "Length of the answer's JSON in bytes; absent if the whole answer is JSON.",
            "schema": {"type": "integer", "minimum": 1},
        }
    },
    "content": {BINARY: {"schema": _TENSORS, "example": '{"model_name":"dice",...}<the bytes of the outputs>'}},
}
_SYNTAX = re.compile(r"[\^$\\.*+?()\[\]{}|/]")
"""Characters that an ECMA-262 pattern with the flag u may escape. `re.escape` escapes more, such as a space."""


def _of_model(
    operation_id: str,
    summaries: tuple[str, str],
    *kinds: type[ServiceError],
    extra: dict[str, Any] | None = None,
    responses: dict[int | str, dict[str, Any]] | None = None,
    **options: Any,
) -> dict[str, dict[str, Any]]:
    """Return path -> the OpenAPI arguments of the route, for the model and for its version."""
    options["responses"] = {**(responses or {}), **error_responses(*kinds, path=MODEL_PATH)}
    return {
        path: {
            "operation_id": operation_id + suffix,
            "summary": summary,
            "openapi_extra": {**(extra or {}), "parameters": parameters},
            **options,
        }
        for path, suffix, summary, parameters in (
            (MODEL_PATH, "", summaries[0], [_NAME]),
            (VERSION_PATH, "_of_version", summaries[1], [_NAME, _VERSION]),
        )
    }


METADATA = _of_model(
    "model_metadata",
    ("Describe the model's tensors", "Describe the tensors of this version"),
    *KEY, errors.UnknownModel, errors.NotReady,
)  # fmt: skip
READY = _of_model(
    "model_ready",
    ("Check that the model is ready", "Check that this version is ready"),
    errors.UnknownModel, errors.NotReady, errors.NotAlive,
)  # fmt: skip
INFER = _of_model(
    "infer",
    ("Detect the objects in images", "Detect the objects in images with this version"),
    *UPLOAD, *KEY, *IMAGE, errors.InvalidInference, errors.UnknownModel, errors.InvalidParameter, *RUN,
    errors.DeadlineExceeded,
    extra={"requestBody": _BODY},
    responses={200: _OK},
    response_model=InferenceResponse,
)  # fmt: skip


def add_request_schemas(document: dict[str, Any]) -> None:
    """Add the schemas of the request body, because no route declares them."""
    schema = InferenceRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    document["components"]["schemas"].update({**schema.pop("$defs"), "InferenceRequest": schema})


def name_served_model(document: dict[str, Any], info: ModelInfo) -> None:
    """Write the served model's name, version and classes into the schemas."""
    names = "|".join(_SYNTAX.sub(r"\\\g<0>", name) for name in info.class_names)
    one = f"({names})"
    labels = document["components"]["schemas"]["InferenceParameters"]["properties"]["labels"]
    labels["pattern"] = rf"^\s*{one}\s*(,\s*{one}\s*)*$"
    known = {"model_name": info.name, "model_version": info.version}
    for path, item in document["paths"].items():
        if path.startswith(MODEL_PATH):
            for operation in item.values():
                for parameter in operation["parameters"]:
                    if parameter["in"] == "path":
                        parameter["schema"]["enum"] = [known[parameter["name"]]]
