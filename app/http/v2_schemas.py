"""The JSON schemas of the Open Inference Protocol, version 2: requests and answers.

https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md
"""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field, JsonValue, WithJsonSchema, field_validator

from app.schemas import MAX_LABELS, AnswerModel, SelectQuery

INPUT = "images"
MAX_ID_CHARS = 1000

OutputName = Literal["boxes", "labels", "scores", "num_detections"]

_BASE64 = {"type": "string", "format": "byte"}


def _whole(value: object) -> object:
    """Convert 5.0 to 5, because JSON does not distinguish them. The type validates anything else."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class _Sent(BaseModel):
    """Base of request schemas. Types are strict; unknown members are ignored, as the protocol does not forbid them."""

    model_config = ConfigDict(frozen=True, strict=True, val_json_bytes="base64")


class InputParameters(_Sent):
    """The parameters of an input tensor."""

    model_config = ConfigDict(extra="forbid")

    binary_data_size: Annotated[int | None, Field(ge=0), BeforeValidator(_whole)] = Field(
        None, description="Length in bytes of the tensor, which follows the JSON instead of `data`."
    )


class RequestInput(_Sent):
    """The input tensor: encoded images."""

    name: Literal["images"]
    shape: list[Annotated[int, Field(ge=1), BeforeValidator(_whole)]] = Field(
        min_length=1, max_length=1, description="`[N]`, the number of images."
    )
    datatype: Literal["BYTES"]
    parameters: InputParameters = Field(InputParameters(), description="How the tensor is sent.")
    data: Annotated[list[Annotated[bytes, WithJsonSchema(_BASE64)]] | None, FailFast()] = Field(
        None, description="Image files in base64 (RFC 4648, either alphabet, without line breaks)."
    )


class OutputParameters(_Sent):
    """The parameters of a requested output tensor."""

    model_config = ConfigDict(extra="forbid")

    binary_data: bool | None = Field(
        None, description="Whether to send the output as bytes after the JSON. The default is `binary_data_output`."
    )


class RequestOutput(_Sent):
    """A requested output tensor."""

    name: OutputName
    parameters: OutputParameters = Field(OutputParameters(), description="How to send the tensor.")


def _split(value: object) -> object:
    """Split `five,six` at its commas; raise ValueError if the value is no text. The protocol has no list parameters."""
    if not isinstance(value, str):
        raise ValueError("Input should be class names separated by commas")
    return [name.strip() for name in value.split(",")]


class InferenceParameters(SelectQuery):
    """The parameters of a request: those of `POST /detect` that select objects, and `binary_data_output`."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    labels: Annotated[list[str], BeforeValidator(_split), WithJsonSchema({"type": "string"})] = Field(
        [],
        max_length=MAX_LABELS,
        description="Report only these classes: names separated by commas. `GET /models` lists the names.",
    )
    binary_data_output: bool = Field(
        False, description="Whether to send outputs as bytes after the JSON, unless an output asks otherwise."
    )

    _whole_max_detections = field_validator("max_detections", mode="before")(_whole)


class InferenceRequest(_Sent):
    """A request of the Open Inference Protocol."""

    id: str | None = Field(None, max_length=MAX_ID_CHARS, description="Your id for the request; the answer repeats it.")
    parameters: InferenceParameters = Field(InferenceParameters(), description="Selection of the reported objects.")
    inputs: list[RequestInput] = Field(min_length=1, max_length=1, description="The input tensor.")
    outputs: list[RequestOutput] = Field(
        [], max_length=4, description="Outputs to return, in this order. The default is all."
    )


class TensorParameters(AnswerModel):
    """How an output is sent."""

    binary_data_size: int = Field(ge=0, description="Length in bytes of the tensor, which follows the JSON.")


class ResponseOutput(AnswerModel):
    """An output tensor."""

    name: OutputName
    shape: list[int] = Field(description="N is the number of images, M the largest number of objects in one image.")
    datatype: str
    parameters: TensorParameters | None = Field(None, description="Absent if `data` is present.")
    data: list[float] | None = Field(None, description="Values in row-major order; absent if they follow the JSON.")


_RESPONSE: dict[str, JsonValue] = {
    "model_name": "dice",
    "model_version": "6",
    "id": "42",
    "outputs": [
        {"name": "boxes", "datatype": "FP32", "shape": [1, 1, 4], "data": [442.39, 225.6, 523.68, 309.41]},
        {"name": "labels", "datatype": "INT64", "shape": [1, 1], "data": [2]},
        {"name": "scores", "datatype": "FP32", "shape": [1, 1], "data": [0.9999]},
        {"name": "num_detections", "datatype": "INT32", "shape": [1], "data": [1]},
    ],
}


class InferenceResponse(AnswerModel):
    """The objects found in the images of one request."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [_RESPONSE]})

    model_name: str = Field(description="Name of the model that answered.")
    model_version: str = Field(description="Version of the model that answered.")
    id: str | None = Field(None, description="The request's id; absent if it had none.")
    outputs: list[ResponseOutput] = Field(description="The requested outputs.")


class TensorMetadata(AnswerModel):
    """Name, type and shape of an input or output tensor."""

    name: str
    datatype: str
    shape: list[int] = Field(description="-1 for a size that depends on the request.")


class ModelMetadata(AnswerModel):
    """The inputs and outputs of a model."""

    name: str = Field(examples=["dice"], description="Name of the model, as in `GET /models`.")
    versions: list[str] = Field(examples=[["6"]], description="The served version.")
    platform: str = Field(examples=["openvino-int8"], description="Runtime and arithmetic of the engine.")
    inputs: list[TensorMetadata] = Field(examples=[[{"name": INPUT, "datatype": "BYTES", "shape": [-1]}]])
    outputs: list[TensorMetadata] = Field(examples=[[{"name": "boxes", "datatype": "FP32", "shape": [-1, -1, 4]}]])


class ServerMetadata(AnswerModel):
    """The server's name, version and protocol extensions."""

    name: str = Field(examples=["rendersight"])
    version: str = Field(examples=["1.0.0"], description="Version of the HTTP contract.")
    extensions: list[str] = Field(
        examples=[["binary_tensor_data"]], description="Supported extensions of the protocol."
    )


class ServerLive(AnswerModel):
    """The answer of a server that is alive."""

    live: Literal[True] = Field(True, examples=[True])


class ServerReady(AnswerModel):
    """The answer of a server that is ready. The protocol names the member `live`; its servers name it `ready`."""

    live: Literal[True] = Field(True, examples=[True])
    ready: Literal[True] = Field(True, examples=[True])


class ModelReady(AnswerModel):
    """The answer of a model that is ready."""

    name: str = Field(examples=["dice"])
    ready: Literal[True] = Field(True, examples=[True])


class InferenceError(AnswerModel):
    """An error at or below `/v2`."""

    error: str = Field(description="What is wrong with this request.")
