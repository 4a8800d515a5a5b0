"""What the service answers, typed."""

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
    """An answer of HTTP, read to its end; header names are in lower case."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class ServedModel:
    """The model that answered.

    Attributes:
        name: of the release, or the stem of a bare state dict's file.
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
    """One object.

    Attributes:
        label: class name.
        label_id: class number, 1..K in the order of `Model.classes`.
        score: in [0, 1].
        box: x0, y0, x1, y1 in px of the upright image, origin top-left.
    """

    label: str
    label_id: int
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class DetectResult:
    """What was found in one image.

    Attributes:
        model: what found it.
        size_wh: width and height of the upright image, px.
        score_threshold: the one that was used; scores are strictly above it.
        detections: best score first.
        request_id: what the service's log has the request under.
        server_timing_s: stage -> seconds that the service spent in it, as its header Server-Timing says.
    """

    model: ServedModel
    size_wh: tuple[int, int]
    score_threshold: float
    detections: tuple[Detection, ...]
    request_id: str | None = None
    server_timing_s: Mapping[str, float] | None = None

    def to_detections(self) -> Detections:
        """Return the boxes, labels and scores as arrays."""
        found = self.detections
        return Detections.of(
            [item.box for item in found], [item.label_id for item in found], [item.score for item in found]
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as the service's JSON has it."""
        return {
            "model": asdict(self.model),
            "image": {"width": self.size_wh[0], "height": self.size_wh[1]},
            "score_threshold": self.score_threshold,
            "detections": [{**asdict(item), "box": list(item.box)} for item in self.detections],
        }


@dataclass(frozen=True)
class Model(ServedModel):
    """All that is known of a served model.

    Attributes:
        architecture: of the network.
        classes: class names; the `label_id` of the first is 1.
        sha256: of the state dict's file.
        score_floor: the network reports nothing at or below this score.
        score_threshold: the release's recommendation.
        default_score_threshold: what holds where a call names none.
        detections_per_image: the most objects that the network reports for one image.
        metrics: the release's figures, as `GET /models` has them.
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
        ServiceProblem: it is an error.
        UnexpectedAnswer: it is nothing that the service would say.
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
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _not_ours(answer, f"its JSON has no such detections ({error!r})") from error


def _detection(item: Any) -> Detection:
    x0, y0, x1, y1 = map(float, item["box"])
    return Detection(str(item["label"]), int(item["label_id"]), float(item["score"]), (x0, y0, x1, y1))


def read_models(answer: Answer) -> tuple[Model, ...]:
    """Read the answer of `GET /models`; raises as `read_detections`."""
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
    """Return an answer that is a file of this media type; raises as `read_detections`."""
    check(answer)
    found = answer.headers.get("content-type", "").partition(";")[0].strip()
    if found != media_type:
        raise _not_ours(answer, f"its Content-Type is {found or 'missing'} instead of {media_type}")
    return answer.body


def check(answer: Answer) -> None:
    """Raise what an answer that is no success means.

    Raises:
        ServiceProblem: 400 and above.
        UnexpectedAnswer: a redirection, which is not followed: it could lead the key and the image elsewhere.
    """
    if answer.status >= _FIRST_ERROR:
        raise problem_of(answer)
    if answer.status >= _FIRST_REDIRECTION:
        raise _not_ours(answer, f"it leads to {answer.headers.get('location', 'nowhere')}; is base_url right?")


def problem_of(answer: Answer) -> ServiceProblem:
    """Read an error of the service, or of a proxy before it."""
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
    """Return for how many seconds Retry-After (RFC 9110 section 10.2.3) asks to wait; None where it does not.

    A date in it is compared with the answer's own Date, for the two machines' clocks may differ.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        seconds = parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("date", ""))
    except (TypeError, ValueError):  # the former for one date with a zone and one without
        return None
    return max(0.0, seconds.total_seconds())


def server_timing(text: str) -> dict[str, float]:
    """Read a header Server-Timing (W3C): stage -> seconds; stages without a duration are left out."""
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
