"""What schemathesis must be told: what no schema can say of the bytes and the tensors that a body takes."""

import base64
import json
from typing import Any

import schemathesis
from hypothesis import strategies as st
from PIL import Image
from schemathesis.openapi import format as register_format

from app.http.uploads import IMAGE_TYPES
from rendersight.images import WEB_FORMATS
from tests.app.fakes import encoded
from tests.app.v2_requests import LENGTH, binary_request

IMAGES = [encoded(Image.linear_gradient("L").convert("RGB").resize((8, 6)), name) for name in WEB_FORMATS]
IN_BASE64 = [base64.b64encode(image).decode() for image in IMAGES]
TENSORS = [binary_request(image)[0] for image in IMAGES]

register_format("binary", st.sampled_from(IMAGES))
register_format("byte", st.sampled_from(IN_BASE64))

for media_type in IMAGE_TYPES:
    schemathesis.openapi.media_type(media_type, st.sampled_from(IMAGES))
schemathesis.openapi.media_type("application/octet-stream", st.sampled_from(TENSORS))


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """Leave out headers that nobody knows, which HTTP lets pass."""
    return not any(name.startswith("x-schemathesis-unknown") for name in case.headers or {})


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Make the parts of a request for tensors agree with each other, where it is meant to be taken."""
    if not case.path.endswith("/infer") or not case.meta.generation.mode.is_positive:
        return
    if isinstance(case.body, bytes):
        end = case.body.index(b"]}") + 2
        case.headers[LENGTH] = str(len(json.loads(case.body[:end]) and case.body[:end]))
        return
    case.headers.pop(LENGTH, None)
    for tensor in case.body["inputs"]:
        tensor["data"] = tensor.get("data") or IN_BASE64[:1]
        tensor["shape"] = [len(tensor["data"])]
        tensor.pop("parameters", None)
