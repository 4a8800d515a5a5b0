"""Settings: the only reader of environment variables."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from model_store.store import DEFAULT_ROOT

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


def _field(default: Any, *, accepted: str, description: str, **limits: Any) -> Any:
    return Field(default, description=description, json_schema_extra={"accepted": accepted}, **limits)


class Settings(BaseSettings):
    """The service's settings, read from the environment once and passed to `create_app`.

    Each variable is `RENDERSIGHT_` and the field's name in capitals. An empty variable counts as unset.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True)

    model: str = _field(
        "dice",
        min_length=1,
        accepted="a release's name, name@version, a release's folder, or the file of a bare state dict",
        description="The model to serve. A name means its highest version in the model store.",
    )
    model_store: Path = _field(
        DEFAULT_ROOT,
        accepted="a folder",
        description="The folder that holds the releases as <name>/<version>/.",
    )
    labels: Annotated[tuple[str, ...] | None, NoDecode, BeforeValidator(_split_labels)] = _field(
        None,
        accepted="different class names separated by commas",
        description="Class names of a bare state dict, in the order of its labels 1..K; a release has its own.",
    )
    device: str = _field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:[0-9]{1,3})?)$",
        accepted="auto, cpu, cuda, cuda:N",
        description="What the network runs on; auto is CUDA where there is one, else the CPU.",
    )
    engine: Literal[
        "auto", "openvino-int8", "openvino-bf16", "openvino-fp32", "torch-fp16", "torch-bf16", "torch-fp32"
    ] = _field(
        "auto",
        accepted="auto, openvino-int8, openvino-bf16, openvino-fp32, torch-fp16, torch-bf16, torch-fp32",
        description="How the network is run; auto is the fastest that the release knows to be accurate and that runs.",
    )
    streams: int | None = _field(
        None,
        ge=1,
        le=1024,
        accepted="a whole number from 1 to 1024",
        description="Images that OpenVINO computes at once, each on its share of the cores; one alone gets all of "
        "them. Unset: one for each core, the most throughput.",
    )
    cache_dir: Path = _field(
        Path("~/.cache/rendersight"),
        accepted="a folder",
        description="Where a network that was converted at start is kept for the next one; it may be missing.",
    )
    score_threshold: float | None = _field(
        None,
        ge=0,
        le=1,
        accepted="a number from 0 to 1",
        description="Where a request names none; unset: the release's recommendation, 0.5 for a bare state dict.",
    )
    host: str = _field(
        "127.0.0.1",
        accepted="an address or a host name of this machine",
        description="The address to listen at; 0.0.0.0 is every one of this machine.",
    )
    port: int = _field(
        8000,
        ge=1,
        le=65535,
        accepted="a whole number from 1 to 65535",
        description="The TCP port to listen at.",
    )
    max_bytes: int = _field(
        20 * 1024 * 1024,
        ge=1,
        accepted="a whole number above 0",
        description="The most bytes of a request's body; more is a 413.",
    )
    max_batch_bytes: int = _field(
        100 * 1024 * 1024,
        ge=1,
        accepted="a whole number above 0",
        description="The most bytes of the body of a batch, or of an inference request with binary tensor data, whose "
        "photos have at most MAX_BYTES each; more is a 413.",
    )
    max_held_bytes: int = _field(
        512 * 1024 * 1024,
        ge=1,
        accepted="a whole number above 0",
        description="The most bytes of all requests' bodies that are in memory at a time; more is a 503. Not counted "
        "is what base64 in JSON is decoded to, which while that is done takes three quarters of it once more.",
    )
    max_parts: int = _field(
        32,
        ge=1,
        le=10_000,
        accepted="a whole number from 1 to 10000",
        description="The most parts of a form, or images of an inference request; more is a 400.",
    )
    max_part_header_bytes: int = _field(
        4096,
        ge=128,
        le=65536,
        accepted="a whole number from 128 to 65536",
        description="The most bytes of one header line of a form's part; more is a 400.",
    )
    max_header_bytes: int = _field(
        65536,
        ge=1024,
        le=1_048_576,
        accepted="a whole number from 1024 to 1048576",
        description="The most bytes of a request's line and headers; more is a 400.",
    )
    max_pixels: int = _field(
        50_000_000,
        ge=1,
        accepted="a whole number above 0",
        description="The most pixels (width times height) of an image, read from its header; more is a 413.",
    )
    upload_timeout_s: float = _field(
        60.0,
        gt=0,
        le=3600,
        accepted="a number of seconds above 0, at most 3600",
        description="How long a request's body may take to arrive, in seconds; longer is a 408.",
    )
    queue_size: int = _field(
        64,
        ge=0,
        le=10_000,
        accepted="a whole number from 0 to 10000",
        description="How many requests may wait for the network beside those it computes; one more is a 503.",
    )
    request_timeout_s: float = _field(
        30.0,
        gt=0,
        le=3600,
        accepted="a number of seconds above 0, at most 3600",
        description="How long a request may wait and be computed once its body is there, in seconds; a client may ask "
        "for less by X-Request-Timeout. What cannot be done by then is a 503 at once, what was not a 504.",
    )
    decoders: int = _field(
        2,
        ge=1,
        le=1024,
        accepted="a whole number from 1 to 1024",
        description="How many images are decoded at once.",
    )
    drain_timeout_s: float = _field(
        90.0,
        gt=0,
        le=3600,
        accepted="a number of seconds above 0, at most 3600",
        description="How long requests in flight may take to end after SIGTERM, in seconds; what is left is cut off.",
    )
    watchdog_s: float = _field(
        60.0,
        gt=0,
        le=3600,
        accepted="a number of seconds above 0, at most 3600",
        description="How long one image may take, or nothing happen with those that wait, before /livez is a 503, in "
        "seconds.",
    )
    watchdog_exit_s: float = _field(
        30.0,
        ge=0,
        le=3600,
        accepted="a number of seconds from 0 to 3600",
        description="How long after that the process ends itself, with status 70, to be started anew, in seconds.",
    )
    reload_interval_s: float = _field(
        30.0,
        ge=0,
        le=86400,
        accepted="a number of seconds from 0 to 86400",
        description="How often to look whether MODEL leads to a newer release, which then takes over, in seconds; 0 "
        "never looks.",
    )
    api_keys_file: Path | None = _field(
        None,
        accepted="a file made by python -m app.keys",
        description="Who may use the service; unset: everybody who reaches it may detect, nobody may reload.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_origins)] = _field(
        (),
        accepted="origins such as https://example.com separated by commas, or *",
        description="Other sites whose pages may call the service in a browser; cookies are never taken.",
    )
    log_format: Literal["text", "json"] = _field(
        "text",
        accepted="text, json",
        description="Log lines to read, or one JSON object a line.",
    )


def variable(field: str) -> str:
    """Return the environment variable of a field: `max_bytes` -> `RENDERSIGHT_MAX_BYTES`."""
    return PREFIX + field.upper()


def accepted(field: FieldInfo) -> str:
    """Return the accepted values of a field, in words."""
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    return str(extra["accepted"])


def read_settings(given: Mapping[str, Any] | None = None) -> Settings:
    """Read the settings from this process's environment.

    Args:
        given: field name -> value, for callers that pass settings as arguments. They override the environment.

    Raises:
        InvalidSetting: a value is not accepted, or a name in `given` or a variable with our prefix is no setting.
    """
    given = given or {}
    fields = Settings.model_fields
    known = {variable(name) for name in fields}
    if unknown := sorted(given.keys() - fields.keys()):
        raise _no_setting(unknown[0], given[unknown[0]], fields)
    if unknown := sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known):
        raise _no_setting(unknown[0], os.environ[unknown[0]], known)
    try:
        return Settings(**given)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        if name in given:
            told = f"{name}={given[name]!r}"
        else:
            value = next(text for key, text in os.environ.items() if key.upper() == variable(name))
            told = f"{variable(name)}={value!r}"
        raise InvalidSetting(f"{told} is not accepted; accepted: {accepted(fields[name])}") from error


def _no_setting(name: str, value: object, known: Iterable[str]) -> InvalidSetting:
    return InvalidSetting(f"{name}={value!r} is no setting; accepted: {', '.join(sorted(known))}")
