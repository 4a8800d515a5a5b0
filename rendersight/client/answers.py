"""The service's answers as typed objects."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from rendersight.client import errors
from rendersight.client.errors import InvalidInput, ServiceProblem, UnexpectedAnswer
from rendersight.detections import Detections

_OVERLOADED = "urn:rendersight:problem:overloaded"
_BY_STATUS = {
    **dict.fromkeys((400, 408, 413, 415, 422), errors.InputRefused),
    **dict.fromkeys((401, 403), errors.KeyRefused),
    **dict.fromkeys((429, 502, 503, 504), errors.Unavailable),
}
_FIRST_ERROR = 400
_FIRST_REDIRECTION = 300


@dataclass(frozen=True)
class Answer:
    """An HTTP response with its whole body; header names are in lower case."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class ServedModel:
    """The model that answered.

    Attributes:
        name: name of the release, or stem of a bare state dict's file.
        version: the release's number, or the start of the state dict's sha256.
        engine: runtime and arithmetic.
        device: `cpu` or `cuda:N`.
    """

    name: str
    version: str
    engine: str
    device: str


@dataclass(frozen=True)
class Detection:
    """One detected object.

    Attributes:
        label: class name.
        label_id: class number, 1..K in the order of `Model.classes`.
        score: confidence in [0, 1].
        box: x0, y0, x1, y1 in px of the upright image, origin top-left.
    """

    label: str
    label_id: int
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class DetectResult:
    """The detections in one image.

    Attributes:
        model: the model that found the objects.
        size_wh: width and height of the upright image, px.
        score_threshold: the threshold used; all scores are strictly above it.
        detections: the objects, best score first.
        request_id: ID of the request in the service's log.
        server_timing_s: stage -> seconds that the service spent on it, from the header Server-Timing.
        tiles: number of tiles in which the service looked for objects, besides the whole image.
    """

    model: ServedModel
    size_wh: tuple[int, int]
    score_threshold: float
    detections: tuple[Detection, ...]
    request_id: str | None = None
    server_timing_s: Mapping[str, float] | None = None
    tiles: int = 0

    def to_detections(self) -> Detections:
        """Return the boxes, labels and scores as arrays."""
        found = self.detections
        return Detections.of(
            [item.box for item in found], [item.label_id for item in found], [item.score for item in found]
        )

    def as_json(self) -> dict[str, Any]:
        """Return the result in the form of the service's JSON."""
        return {
            "model": asdict(self.model),
            "image": {"width": self.size_wh[0], "height": self.size_wh[1]},
            "score_threshold": self.score_threshold,
            "tiles": self.tiles,
            "detections": [{**asdict(item), "box": list(item.box)} for item in self.detections],
        }


@dataclass(frozen=True)
class Model(ServedModel):
    """A served model with all its properties.

    Attributes:
        architecture: architecture of the network.
        classes: class names; the `label_id` of the first is 1.
        sha256: sha256 of the state dict's file.
        score_floor: the network reports nothing at or below this score.
        score_threshold: the threshold that the release recommends.
        default_score_threshold: the threshold for calls that name none.
        detections_per_image: maximum number of objects that the network reports for one image.
        metrics: the release's figures, as in `GET /models`.
    """

    architecture: str
    classes: tuple[str, ...]
    sha256: str
    score_floor: float
    score_threshold: float
    default_score_threshold: float
    detections_per_image: int
    metrics: tuple[Mapping[str, Any], ...]


def read_detections(answer: Answer) -> DetectResult:
    """Read the answer of `POST /detect`.

    Raises:
        ServiceProblem: the answer is an error.
        UnexpectedAnswer: the answer does not have the service's form.
    """
    data = _json(answer)
    try:
        return DetectResult(
            model=ServedModel(**{name: str(data["model"][name]) for name in ("name", "version", "engine", "device")}),
            size_wh=(int(data["image"]["width"]), int(data["image"]["height"])),
            score_threshold=float(data["score_threshold"]),
            detections=tuple(_detection(item) for item in data["detections"]),
            request_id=answer.headers.get("x-request-id"),
            server_timing_s=server_timing(answer.headers.get("server-timing", "")),
            tiles=int(data.get("tiles", 0)),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _not_ours(answer, f"its JSON has no such detections ({error!r})") from error


def _detection(item: Any) -> Detection:
    x0, y0, x1, y1 = map(float, item["box"])
    return Detection(str(item["label"]), int(item["label_id"]), float(item["score"]), (x0, y0, x1, y1))


def read_models(answer: Answer) -> tuple[Model, ...]:
    """Read the answer of `GET /models`; raise the errors of `read_detections`."""
    data = _json(answer)
    try:
        return tuple(_model(item) for item in data["models"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _not_ours(answer, f"its JSON has no such models ({error!r})") from error


def _model(item: Any) -> Model:
    texts = {name: str(item[name]) for name in ("name", "version", "engine", "device", "architecture", "sha256")}
    scores = {name: float(item[name]) for name in ("score_floor", "score_threshold", "default_score_threshold")}
    others: dict[str, Any] = {
        "classes": tuple(map(str, item["classes"])),
        "detections_per_image": int(item["detections_per_image"]),
        "metrics": tuple(dict(metrics) for metrics in item["metrics"]),
    }
    return Model(**{**texts, **scores, **others})


def read_file(answer: Answer, media_type: str) -> bytes:
    """Return the body of an answer with this media type; raise the errors of `read_detections`."""
    check(answer)
    found = answer.headers.get("content-type", "").partition(";")[0].strip()
    if found != media_type:
        raise _not_ours(answer, f"its Content-Type is {found or 'missing'} instead of {media_type}")
    return answer.body


def check(answer: Answer) -> None:
    """Raise an error unless the answer is a success.

    Raises:
        ServiceProblem: the status is 400 or above.
        UnexpectedAnswer: the status is a redirection. It is not followed, because it could lead the key and the image
            elsewhere.
    """
    if answer.status >= _FIRST_ERROR:
        raise problem_of(answer)
    if answer.status >= _FIRST_REDIRECTION:
        raise _not_ours(answer, f"it leads to {answer.headers.get('location', 'nowhere')}; is base_url right?")


def problem_of(answer: Answer) -> ServiceProblem:
    """Return the error described by an answer of the service or of a proxy."""
    try:
        data = json.loads(answer.body)
        told = data if isinstance(data, dict) and "title" in data else {}
    except ValueError:
        told = {}
    kind = _BY_STATUS.get(answer.status, ServiceProblem)
    if told.get("type") == _OVERLOADED:
        kind = errors.Overloaded
    listed = told.get("errors", [])
    return kind(
        answer.status,
        str(told.get("title") or _phrase(answer.status)),
        str(told.get("detail", "")),
        type=str(told.get("type", "about:blank")),
        request_id=told.get("request_id") or answer.headers.get("x-request-id"),
        errors=[
            InvalidInput(str(item.get("location")), str(item.get("name")), item.get("value"), str(item.get("accepted")))
            for item in (listed if isinstance(listed, list) else [])
            if isinstance(item, dict)
        ],
        retry_after_s=retry_after_s(answer.headers),
    )


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in list(HTTPStatus) else "unknown status"


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait according to Retry-After (RFC 9110 section 10.2.3), or None if it gives none.

    A date is compared with the answer's own Date header, because the clocks of the two machines may differ.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        seconds = parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("date", ""))
    except (TypeError, ValueError):  # TypeError: only one of the two dates has a time zone
        return None
    return max(0.0, seconds.total_seconds())


def server_timing(text: str) -> dict[str, float]:
    """Parse a Server-Timing header (W3C) into stage -> seconds, without the stages that have no duration."""
    stages = {}
    for item in text.split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip().lower() == "dur":
                try:
                    stages[name] = float(value.strip().strip('"')) / 1000
                except ValueError:
                    continue
    return stages


def _json(answer: Answer) -> Any:
    check(answer)
    try:
        return json.loads(answer.body)
    except ValueError as error:
        raise _not_ours(answer, "it is not JSON") from error


def _not_ours(answer: Answer, reason: str) -> UnexpectedAnswer:
    return UnexpectedAnswer(f"{answer.url} gave no answer of Rendersight: status {answer.status}, and {reason}")
