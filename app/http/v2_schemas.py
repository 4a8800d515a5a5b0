"""The JSON schemas of the Open Inference Protocol, version 2: requests and answers.

https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field, WithJsonSchema, field_validator

from app.schemas import MAX_LABELS, SelectQuery

INPUT = "images"
MAX_ID_CHARS = 1000

OutputName = Literal["boxes", "labels", "scores", "num_detections"]

_BASE64 = {"type": "string", "format": "byte"}


def _whole(value: object) -> object:
    """Convert 5.0 to 5, because JSON does not distinguish them. Return anything else unchanged, for the type."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class _Sent(BaseModel):
    """Base of request schemas. Types are strict; unknown members are ignored, as the protocol does not forbid them."""

    model_config = ConfigDict(frozen=True, strict=True, val_json_bytes="base64")


class InputParameters(_Sent):
    """The parameters of an input tensor."""

    model_config = ConfigDict(extra="forbid")

    binary_data_size: Annotated[int | None, Field(ge=0), BeforeValidator(_whole)] = Field(
        None, description="The tensor is not in `data` but so many bytes behind the JSON."
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
        None, description="The image files in base64 (RFC 4648, either alphabet, without line breaks)."
    )


class OutputParameters(_Sent):
    """The parameters of a requested output tensor."""

    model_config = ConfigDict(extra="forbid")

    binary_data: bool | None = Field(
        None, description="Whether it is to come as bytes behind the JSON; without it `binary_data_output` says so."
    )


class RequestOutput(_Sent):
    """A requested output tensor."""

    name: OutputName
    parameters: OutputParameters = Field(OutputParameters(), description="How the tensor is to be sent.")


def _split(value: object) -> object:
    """Split `five,six` at its commas; raise ValueError if the value is no text. The protocol has no list parameters."""
    if not isinstance(value, str):
        raise ValueError("a text with commas between class names is accepted")
    return [name.strip() for name in value.split(",")]


class InferenceParameters(SelectQuery):
    """The parameters of a request: those of `POST /detect` that select objects, and `binary_data_output`."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    labels: Annotated[list[str], BeforeValidator(_split), WithJsonSchema({"type": "string"})] = Field(
        [],
        max_length=MAX_LABELS,
        description="Report only these classes: their names, with commas between. `GET /models` lists the names.",
    )
    binary_data_output: bool = Field(
        False, description="Whether outputs come as bytes behind the JSON, where they do not say it themselves."
    )

    _whole_max_detections = field_validator("max_detections", mode="before")(_whole)


class InferenceRequest(_Sent):
    """A request of the Open Inference Protocol."""

    id: str | None = Field(None, max_length=MAX_ID_CHARS, description="Comes back with the answer.")
    parameters: InferenceParameters = Field(InferenceParameters(), description="Which objects are reported.")
    inputs: list[RequestInput] = Field(min_length=1, max_length=1, description="The one input.")
    outputs: list[RequestOutput] = Field(
        [], max_length=4, description="Which outputs to answer with, in this order; without any, all."
    )


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class TensorParameters(_Answer):
    """How an output is sent."""

    binary_data_size: int = Field(ge=0, description="It is so many bytes behind the JSON.")


class ResponseOutput(_Answer):
    """An output tensor."""

    name: OutputName
    shape: list[int] = Field(description="N is the number of images, M that of the most objects in one.")
    datatype: str
    parameters: TensorParameters | None = Field(None, description="Absent where `data` is there.")
    data: list[float] | None = Field(None, description="Row-major; absent where it comes behind the JSON.")


class InferenceResponse(_Answer):
    """The objects found in the images of one request."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "model_name": "dice",
                    "model_version": "6",
                    "id": "42",
                    "outputs": [
                        {
                            "name": "boxes",
                            "datatype": "FP32",
                            "shape": [1, 1, 4],
                            "data": [442.39, 225.6, 523.68, 309.41],
                        },
                        {"name": "labels", "datatype": "INT64", "shape": [1, 1], "data": [2]},
                        {"name": "scores", "datatype": "FP32", "shape": [1, 1], "data": [0.9999]},
                        {"name": "num_detections", "datatype": "INT32", "shape": [1], "data": [1]},
                    ],
                }
            ]
        },
    )

    model_name: str = Field(description="The model that answered.")
    model_version: str = Field(description="Its version.")
    id: str | None = Field(None, description="The request's; absent where it had none.")
    outputs: list[ResponseOutput] = Field(description="As asked for.")


class TensorMetadata(_Answer):
    """Name, type and shape of an input or output tensor."""

    name: str
    datatype: str
    shape: list[int] = Field(description="-1 where it depends on the request.")


class ModelMetadata(_Answer):
    """The inputs and outputs of a model."""

    name: str = Field(examples=["dice"], description="As `GET /models` has it.")
    versions: list[str] = Field(examples=[["6"]], description="The one that is served.")
    platform: str = Field(examples=["openvino-int8"], description="What runs it: runtime and arithmetic.")
    inputs: list[TensorMetadata] = Field(examples=[[{"name": INPUT, "datatype": "BYTES", "shape": [-1]}]])
    outputs: list[TensorMetadata] = Field(examples=[[{"name": "boxes", "datatype": "FP32", "shape": [-1, -1, 4]}]])


class ServerMetadata(_Answer):
    """The server's name, version and protocol extensions."""

    name: str = Field(examples=["rendersight"])
    version: str = Field(examples=["1.0.0"], description="Of the HTTP contract.")
    extensions: list[str] = Field(examples=[["binary_tensor_data"]], description="What it knows beyond the protocol.")


class ServerLive(_Answer):
    """The answer of a server that is alive."""

    live: Literal[True] = Field(True, examples=[True])


class ServerReady(_Answer):
    """The answer of a server that is ready. The protocol names the member `live`; its servers name it `ready`."""

    live: Literal[True] = Field(True, examples=[True])
    ready: Literal[True] = Field(True, examples=[True])


class ModelReady(_Answer):
    """The answer of a model that is ready."""

    name: str = Field(examples=["dice"])
    ready: Literal[True] = Field(True, examples=[True])


class InferenceError(_Answer):
    """An error at or below `/v2`."""

    error: str = Field(description="What was wrong with this request.")


def describe(document: dict[str, Any]) -> None:
    """Add the schemas of the request body to an OpenAPI document, because no route declares them."""
    schema = InferenceRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    document["components"]["schemas"].update({**schema.pop("$defs"), "InferenceRequest": schema})
