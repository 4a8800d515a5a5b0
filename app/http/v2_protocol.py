"""Conversion of Open Inference Protocol requests to images, and of detections to output tensors.

A tensor stands in the JSON, or after it as in Triton's binary tensor data extension. There the header
Inference-Header-Content-Length gives the length of the JSON, and each element of a BYTES tensor follows its own length
(4 bytes, little-endian).
"""

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers, QueryParams
from starlette.responses import Response

from app import errors
from app.http.v2_schemas import (
    INPUT,
    InferenceParameters,
    InferenceRequest,
    InputParameters,
    OutputName,
    OutputParameters,
    RequestInput,
    TensorMetadata,
)
from app.inference.decoding import EncodedImage
from app.inference.formats import OutputFormat, Result, as_json
from model_store.model_info import ModelInfo

LENGTH_HEADER = "Inference-Header-Content-Length"
JSON, BINARY = "application/json", "application/octet-stream"

INPUTS = [TensorMetadata(name=INPUT, datatype="BYTES", shape=[-1])]
OUTPUTS = [
    TensorMetadata(name="boxes", datatype="FP32", shape=[-1, -1, 4]),
    TensorMetadata(name="labels", datatype="INT64", shape=[-1, -1]),
    TensorMetadata(name="scores", datatype="FP32", shape=[-1, -1]),
    TensorMetadata(name="num_detections", datatype="INT32", shape=[-1]),
]
"""The output tensors, of shape (images, most objects in one image). Shorter rows are padded with 0, never a label."""

_DTYPES = {"FP32": "<f4", "INT64": "<i8", "INT32": "<i4"}
_LENGTH = struct.Struct("<I")
_COLUMNS = 6
_MAX_VALUES = 10_000
_SHORT_BYTES = 65536
"""Maximum length of JSON whose faults show the invalid value. For longer JSON pydantic would keep all of it."""

_PARAMETERS: dict[str, type[BaseModel]] = {
    "parameters": InferenceParameters,
    "inputs": InputParameters,
    "outputs": OutputParameters,
}


def _rows(result: Result) -> bytes:
    rows = [(*item.box, item.label_id, item.score) for item in as_json(result).detections]
    return np.array(rows, np.float64).tobytes()


ROWS = OutputFormat(BINARY, _rows)
"""A photo's objects as rows of float64 (x0, y0, x1, y1, label, score), with the values of the JSON of /detect."""


@dataclass(frozen=True)
class ParsedRequest:
    """A parsed inference request.

    Attributes:
        request: the request's JSON, without the images.
        images: the images, at least one, none empty.
    """

    request: InferenceRequest
    images: list[EncodedImage]


def check_headers(headers: Headers) -> None:
    """Raise an error if the Content-Type is neither JSON nor binary. A missing one is accepted.

    Raises:
        UnsupportedMediaType: the Content-Type is another one.
    """
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in ("", JSON, BINARY):
        raise errors.UnsupportedMediaType(
            f"Content-Type {errors.shown(media_type)} is not accepted; accepted: {JSON}, {BINARY}"
        )


def check_query(query: QueryParams) -> None:
    """Raise an error if there is a query, because a parameter in it, such as a threshold, would be ignored.

    Raises:
        InvalidParameter: the query has a parameter; the error names the first.
    """
    for name in query:
        raise errors.InvalidParameter(
            f"query parameter {errors.shown(name)}: no such parameter; put parameters into the body's `parameters`"
        )


def read_request(body: bytes, json_bytes: int | None, *, max_images: int, max_bytes: int) -> ParsedRequest:
    """Parse an inference request. A large one takes tenths of a second.

    Args:
        body: the whole body.
        json_bytes: length of the JSON at the start of the body; None if the body is nothing but JSON.
        max_images: maximum number of images.
        max_bytes: maximum number of bytes of an image, and of the JSON.

    Raises:
        InvalidInference: the request is invalid, or a tensor does not match its declared shape or size.
        InvalidParameter: a parameter of the request is unknown or out of range.
        EmptyUpload: an image is empty.
        UploadTooLarge: an image or the JSON has more than `max_bytes`.
    """
    length = len(body) if json_bytes is None else json_bytes
    if length > len(body):
        said = errors.shown(str(length))
        raise errors.InvalidInference(f"header {LENGTH_HEADER} is {said}, but the body has {len(body)} bytes")
    if length > max_bytes:  # refusing a text with one character beyond U+FFFF takes eight times its length in memory
        raise errors.UploadTooLarge(f"the JSON has {length} bytes, the limit is {max_bytes}")
    request = _validated(body if length == len(body) else body[:length])
    (tensor,) = request.inputs
    found = _elements_of(tensor, memoryview(body)[length:], max_images)
    for index, one in enumerate(found):
        if not one:
            raise errors.EmptyUpload(f"image {index} is empty")
        if len(one) > max_bytes:
            raise errors.UploadTooLarge(f"image {index} has {len(one)} bytes, the limit is {max_bytes}")
    without = tensor.model_copy(update={"data": None})
    return ParsedRequest(request.model_copy(update={"inputs": [without]}), [EncodedImage("", [one]) for one in found])


def _elements_of(tensor: RequestInput, behind: memoryview, max_images: int) -> Sequence[bytes | memoryview]:
    """Return the tensor's elements, from its JSON or from the binary data after the JSON.

    Raises:
        InvalidInference: their number or size does not match the tensor's declaration, or exceeds `max_images`.
    """
    (count,) = tensor.shape
    if count > max_images:
        said = errors.shown(str(count))
        raise errors.InvalidInference(f"inputs[0].shape: {said} images, the limit is {max_images}")
    size = tensor.parameters.binary_data_size
    if (tensor.data is None) == (size is None):
        raise errors.InvalidInference("inputs[0]: exactly one of data and parameters.binary_data_size is accepted")
    if len(behind) != (size or 0):
        said = "no binary_data_size" if size is None else f"binary_data_size {errors.shown(str(size))}"
        raise errors.InvalidInference(f"inputs[0].parameters: {said}, but {len(behind)} bytes follow the JSON")
    found = list(_elements(behind, count)) if tensor.data is None else tensor.data
    if len(found) != count:
        raise errors.InvalidInference(f"inputs[0].shape: [{count}], but there are {len(found)} elements")
    return found


def _validated(data: bytes) -> InferenceRequest:
    # one of these precedes each value; an array of empty objects would take twenty times its length in memory
    values = sum(map(data.count, (b",", b"[", b"{")))
    if values > _MAX_VALUES:
        raise errors.InvalidInference(f"the JSON has {values} values, the limit is {_MAX_VALUES}")
    try:
        return InferenceRequest.model_validate_json(data)
    except ValidationError as error:
        is_short = len(data) <= _SHORT_BYTES
        faults = error.errors(include_url=False, include_context=False, include_input=is_short)[: errors.MAX_FAULTS]
        is_parameter = all(fault["loc"][:1] == ("parameters",) for fault in faults)
        detail = "; ".join(
            _fault_text(fault["loc"], fault["type"], fault["msg"], fault.get("input", ...)) for fault in faults
        )
        raise (errors.InvalidParameter if is_parameter else errors.InvalidInference)(detail) from error


def _fault_text(location: tuple[int | str, ...], kind: str, message: str, value: object) -> str:
    if not location:
        return message
    if kind == "extra_forbidden":
        message = f"no such parameter; accepted: {', '.join(_PARAMETERS[str(location[0])].model_fields)}"
    else:
        message = message.removeprefix("Value error, ").replace(" after validation", "").removesuffix(".")
        message = message.replace("a valid bytes", "base64")
        if value is None or isinstance(value, str | int | float):
            message = f"{message}, but it is {errors.shown(repr(value))}"
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{errors.shown(part)}" for part in location)
    return f"{path.removeprefix('.')}: {message}"


def _elements(data: memoryview, count: int) -> Iterator[memoryview]:
    """Yield the elements of a BYTES tensor, at most `count` + 1."""
    at = index = 0
    while at < len(data) and index <= count:
        start = at + _LENGTH.size
        if start > len(data):
            raise errors.InvalidInference(f"inputs[0]: the data ends within the length of element {index}")
        (length,) = _LENGTH.unpack_from(data, at)
        at = start + length
        if at > len(data):
            raise errors.InvalidInference(
                f"inputs[0]: element {index} has {length} bytes, {len(data) - start} are left"
            )
        yield data[start:at]
        index += 1


def inference_response(asked: InferenceRequest, found: Sequence[bytes], info: ModelInfo) -> Response:
    """Return the answer to an inference request. For many images it takes tenths of a second.

    Args:
        asked: the request, which chooses the outputs and their encoding.
        found: for each image, the bytes that `ROWS` writes.
        info: description of the model that answers.
    """
    tensors = _tensors(found)
    datatypes = {output.name: output.datatype for output in OUTPUTS}
    wanted = {output.name: output.parameters.binary_data for output in asked.outputs} or dict.fromkeys(tensors)
    outputs: list[str] = []
    behind: list[bytes] = []
    for name, is_binary in wanted.items():
        tensor, datatype = tensors[name], datatypes[name]
        output: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(tensor.shape)}
        if asked.parameters.binary_data_output if is_binary is None else is_binary:
            behind.append(tensor.astype(_DTYPES[datatype]).tobytes())
            outputs.append(_dumps({**output, "parameters": {"binary_data_size": len(behind[-1])}}))
        else:
            outputs.append(f'{_dumps(output)[:-1]},"data":[{_values(tensor)}]}}')
    named = {"model_name": info.name, "model_version": info.version}
    head = _dumps({**named, **({} if asked.id is None else {"id": asked.id})})
    text = f'{head[:-1]},"outputs":[{",".join(outputs)}]}}'.encode()
    if not behind:
        return Response(text, media_type=JSON)
    return Response(b"".join(chain([text], behind)), media_type=BINARY, headers={LENGTH_HEADER: str(len(text))})


def _dumps(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _values(tensor: NDArray[Any]) -> str:
    """Return a tensor's values as JSON, encoded image by image: during one call json lets no other thread run."""
    return ",".join(filter(None, (_dumps(one.ravel().tolist())[1:-1] for one in tensor)))


def _tensors(found: Sequence[bytes]) -> dict[OutputName, NDArray[Any]]:
    """Return the outputs by name: boxes (N, M, 4) and scores (N, M) float64, labels (N, M) and counts (N,) int64."""
    rows = [np.frombuffer(one).reshape(-1, _COLUMNS) for one in found]
    counts = np.array([len(one) for one in rows])
    padded = np.zeros((len(rows), counts.max(), _COLUMNS))
    for row, one in zip(padded, rows, strict=True):
        row[: len(one)] = one
    return {
        "boxes": padded[..., :4],
        "labels": padded[..., 4].astype(np.int64),
        "scores": padded[..., 5],
        "num_detections": counts,
    }
