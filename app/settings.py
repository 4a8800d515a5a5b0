"""Settings: the only reader of environment variables."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BeforeValidator, Field, PlainValidator, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from model_store.model_info import MOST_DETECTIONS
from model_store.store import DEFAULT_ROOT
from rendersight.tiles import ACCEPTED, TileChoice, parse_tiles

PREFIX = "RENDERSIGHT_"


class InvalidSetting(ValueError):
    """An invalid setting. The message is one line with the name, the value and the accepted values."""


def _split_labels(value: object) -> object:
    """Split `one, two` at its commas. Return a value that is not text unchanged, for the type to validate."""
    if not isinstance(value, str):
        return value
    names = tuple(name.strip() for name in value.split(","))
    if not all(names) or len(set(names)) != len(names):
        raise ValueError("a class name is empty or repeated")
    return names


def _split_origins(value: object) -> object:
    """Split `https://one.example, https://two.example` at its commas. Return a value that is not text unchanged."""
    if not isinstance(value, str):
        return value
    origins = tuple(origin.strip() for origin in value.split(","))
    if origins != ("*",) and not all(re.fullmatch(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?", item) for item in origins):
        raise ValueError("not an origin")
    return origins


def _accepts(words: str) -> dict[str, Any]:
    """Return the extra that holds a field's accepted values in words, because its type does not say them."""
    return {"accepted": words}


class Settings(BaseSettings):
    """The service's settings, read from the environment once and passed to `create_app`.

    Each variable is `RENDERSIGHT_` and the field's name in capitals. An empty variable counts as unset.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True)

    model: str = Field(
        "dice",
        min_length=1,
        description="Model to serve. A name means its highest version in the model store.",
        json_schema_extra=_accepts("a release's name, name@version, a release's folder, or a state dict file"),
    )
    model_store: Path = Field(
        DEFAULT_ROOT,
        description="Folder that holds the releases as <name>/<version>/.",
        json_schema_extra=_accepts("a folder"),
    )
    labels: Annotated[tuple[str, ...] | None, NoDecode, BeforeValidator(_split_labels)] = Field(
        None,
        description="Class names of a bare state dict, in the order of its labels 1..K. A release has its own names.",
        json_schema_extra=_accepts("different class names separated by commas"),
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:[0-9]{1,3})?)$",
        description="Device that runs the network. auto is CUDA if available, else the CPU.",
        json_schema_extra=_accepts("auto, cpu, cuda, cuda:N"),
    )
    engine: Literal[
        "auto", "openvino-int8", "openvino-bf16", "openvino-fp32", "torch-fp16", "torch-bf16", "torch-fp32"
    ] = Field(
        "auto",
        description="Runtime and arithmetic of the network. auto is the fastest engine that runs here and is known to "
        "be accurate for the release.",
    )
    streams: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Number of images that OpenVINO computes at once. They share the cores; a single image gets all "
        "of them. Unset means one per core, which has the highest throughput.",
    )
    cache_dir: Path = Field(
        Path("~/.cache/rendersight"),
        description="Folder that keeps networks converted at the start, for the next start. It is created if missing. "
        "If it cannot be written, each start takes longer.",
        json_schema_extra=_accepts("a folder"),
    )
    score_threshold: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Default score threshold. Unset means the release's recommendation, or 0.5 for a bare state dict.",
    )
    detections_per_image: int | None = Field(
        None,
        ge=1,
        le=MOST_DETECTIONS,
        description="Maximum number of objects that the network reports for one image. Unset means the model's own. "
        "With a larger number, a release's prepared engines are not used: the network is converted at the start.",
    )
    tiles: Annotated[TileChoice, NoDecode, PlainValidator(parse_tiles)] = Field(
        "off",
        description="Default of the parameter tiles: whether to look for small objects in overlapping tiles of a "
        "large photo. Each tile takes as long as a photo.",
        json_schema_extra=_accepts(ACCEPTED),
    )
    min_size: int | None = Field(
        None,
        ge=32,
        le=4096,
        description="Shorter side in pixels to which a bare state dict's photos are scaled. Unset means the usual size "
        "of its architecture. A release has its own.",
    )
    host: str = Field(
        "127.0.0.1",
        description="Address to listen on. 0.0.0.0 means all addresses of this machine.",
        json_schema_extra=_accepts("an address or a host name of this machine"),
    )
    port: int = Field(8000, ge=1, le=65535, description="TCP port to listen on.")
    max_bytes: int = Field(
        20 * 1024 * 1024, ge=1, description="Maximum size of a request's body in bytes. A larger body gets a 413."
    )
    max_batch_bytes: int = Field(
        100 * 1024 * 1024,
        ge=1,
        description="Maximum size in bytes of the body of a batch, or of an inference request with binary tensor data. "
        "Each photo in it may have up to MAX_BYTES. A larger body gets a 413.",
    )
    max_held_bytes: int = Field(
        512 * 1024 * 1024,
        ge=1,
        description="Maximum size in bytes of all request bodies in memory together. A request beyond it gets a 503. "
        "Base64 in JSON needs memory that is not counted: while it is decoded, another three quarters of its size.",
    )
    max_parts: int = Field(
        32,
        ge=1,
        le=10_000,
        description="Maximum number of parts in a form, or of images in an inference request. More get a 400.",
    )
    max_part_header_bytes: int = Field(
        4096,
        ge=128,
        le=65536,
        description="Maximum size in bytes of one header line in a form's part. A longer line gets a 400.",
    )
    max_header_bytes: int = Field(
        65536,
        ge=1024,
        le=1_048_576,
        description="Maximum size in bytes of a request's first line and headers. Larger ones get a 400.",
    )
    max_pixels: int = Field(
        50_000_000,
        ge=1,
        description="Maximum number of pixels (width times height) of an image, read from its header. A larger image "
        "gets a 413.",
    )
    upload_timeout_s: float = Field(
        60.0, gt=0, le=3600, description="Seconds for a request's body to arrive. A slower upload gets a 408."
    )
    queue_size: int = Field(
        64,
        ge=0,
        le=10_000,
        description="Number of requests that may wait, besides those being computed. A request beyond it gets a 503. A "
        "photo in tiles counts as one request for each tile and one for the whole photo.",
    )
    request_timeout_s: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="Seconds for a request to wait and be computed after its body has arrived. Clients can ask for "
        "less with X-Request-Timeout. A request that cannot meet the limit gets a 503 at once, one that misses it "
        "gets a 504.",
    )
    decoders: int = Field(2, ge=1, le=1024, description="Number of images decoded at once.")
    drain_timeout_s: float = Field(
        90.0,
        gt=0,
        le=3600,
        description="Seconds for requests in flight to finish after SIGTERM. Requests left after that are cut off.",
    )
    watchdog_s: float = Field(
        60.0,
        gt=0,
        le=3600,
        description="Seconds without progress, on one image or in the queue, after which /livez answers 503.",
    )
    watchdog_exit_s: float = Field(
        30.0,
        ge=0,
        le=3600,
        description="Further seconds after which the process exits with status 70, so that it is restarted.",
    )
    reload_interval_s: float = Field(
        30.0,
        ge=0,
        le=86400,
        description="Seconds between two checks whether MODEL means a newer release, which then replaces the served "
        "one. 0 turns the checks off.",
    )
    api_keys_file: Path | None = Field(
        None,
        description="File of the API keys. If unset, everybody who reaches the service may detect, and nobody may "
        "reload.",
        json_schema_extra=_accepts("a file made with python -m app.keys"),
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_origins)] = Field(
        (),
        description="Other sites whose pages may call the service from a browser. Cookies are never accepted.",
        json_schema_extra=_accepts("origins such as https://example.com separated by commas, or *"),
    )
    log_format: Literal["text", "json"] = Field("text", description="Log plain text, or one JSON object per line.")


def variable(field: str) -> str:
    """Return the environment variable of a field: `max_bytes` -> `RENDERSIGHT_MAX_BYTES`."""
    return PREFIX + field.upper()


def accepted(field: FieldInfo) -> str:
    """Return the accepted values of a field in words, from its type and its bounds."""
    if isinstance(field.json_schema_extra, dict):
        return str(field.json_schema_extra["accepted"])
    kinds = get_args(field.annotation) or (field.annotation,)
    if get_origin(field.annotation) is Literal:
        return ", ".join(kinds)
    bounds = {
        name: getattr(limit, name) for limit in field.metadata for name in ("ge", "gt", "le") if hasattr(limit, name)
    }
    words = "a whole number" if int in kinds else "a number"
    if {"ge", "le"} <= bounds.keys():
        return f"{words} from {bounds['ge']} to {bounds['le']}"
    words += f" above {bounds['gt']}" if "gt" in bounds else f" of at least {bounds['ge']}"
    return f"{words}, at most {bounds['le']}" if "le" in bounds else words


def read_settings(given: Mapping[str, Any] | None = None) -> Settings:
    """Read the settings from this process's environment.

    Args:
        given: field name -> value, for callers that pass settings as arguments. They override the environment.

    Raises:
        InvalidSetting: a value is not accepted, or a name in `given` or a variable with our prefix is not a setting.
    """
    given = given or {}
    fields = Settings.model_fields
    known = {variable(name) for name in fields}
    if unknown := sorted(given.keys() - fields.keys()):
        raise _unknown(unknown[0], given[unknown[0]], fields)
    if unknown := sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known):
        raise _unknown(unknown[0], os.environ[unknown[0]], known)
    try:
        return Settings(**given)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        if name in given:
            shown = f"{name}={given[name]!r}"
        else:
            value = next(text for key, text in os.environ.items() if key.upper() == variable(name))
            shown = f"{variable(name)}={value!r}"
        raise InvalidSetting(f"{shown} is not accepted; accepted: {accepted(fields[name])}") from error


def _unknown(name: str, value: object, known: Iterable[str]) -> InvalidSetting:
    return InvalidSetting(f"{name}={value!r} is not a setting; accepted: {', '.join(sorted(known))}")
