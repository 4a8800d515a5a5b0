"""The request log: one line for each request, with its id, times and trace."""

import logging
import random
import re
import time
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.observability.metrics import ServiceMetrics
from model_store.model_info import ModelInfo

REQUEST_ID_HEADER = "X-Request-ID"

_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_REFUSED = 400
_ASKING = (
    "/detect",
    "/v2/models/{model_name}/infer",
    "/v2/models/{model_name}/versions/{model_version}/infer",
)
"""Routes whose requests count once, however many photos they have. In a batch, each photo counts."""

_TRACEPARENT = re.compile(
    "(?P<version>[0-9a-f]{2})-(?P<trace_id>[0-9a-f]{32})-(?P<parent_id>[0-9a-f]{16})-[0-9a-f]{2}(?P<rest>-.*)?"
)
_log = logging.getLogger(__name__)


def request_id_of(headers: Headers) -> str:
    """Return the client's id for its request, or a new id if the client's is missing or invalid."""
    asked = headers.get(REQUEST_ID_HEADER, "")
    return asked if _ACCEPTED_ID.fullmatch(asked) else f"{random.getrandbits(128):032x}"


class RequestLog:
    """Middleware that gives each request an id, and logs, counts and times it.

    A client's own X-Request-ID is kept if it has 1 to 128 letters, digits, dots, underscores and hyphens. The app reads
    the id from `request.state.request_id`. It stores further fields of the log line in `request.state`: `info`, the
    `ModelInfo` of the model that answers; `outcome`, the slug of a problem; `key`, the name of the API key; `stages_s`
    and `tiles`, set by `note_stages`. A W3C traceparent adds `trace_id` and `parent_id` to the line.
    """

    def __init__(self, app: ASGIApp, *, metrics: ServiceMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app. The logged time ends when the answer begins."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = request_id_of(headers)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        began_s = time.perf_counter()

        async def identified(message: Message) -> None:
            if message["type"] == "http.response.start":
                took_s = time.perf_counter() - began_s
                answer = MutableHeaders(scope=message)
                answer[REQUEST_ID_HEADER] = request_id
                answer["Server-Timing"] = _server_timing({**state.get("stages_s", {}), "total": took_s})
                self._note(scope, message["status"], took_s, _trace(headers.get("traceparent", "")))
            await send(message)

        self._metrics.began()
        try:
            await self._app(scope, receive, identified)
        finally:
            self._metrics.ended()

    def _note(self, scope: Scope, status: int, took_s: float, trace: dict[str, str]) -> None:
        state = scope["state"]
        route: str = getattr(scope.get("route"), "path", "")
        info: ModelInfo | None = state.get("info")
        outcome: str = state.get("outcome", "ok" if status < HTTPStatus.BAD_REQUEST else str(status))
        self._metrics.answered(scope["method"], route, status, took_s)
        fields = {
            "method": scope["method"],
            "path": quote(scope["path"]),
            "status": status,
            "ms": round(took_s * 1000, 1),
            "request_id": state["request_id"],
            **trace,
        }
        if "key" in state:
            fields["key"] = state["key"]
        if scope["method"] == "POST" and (route in _ASKING or (route == "/detect/batch" and status >= _REFUSED)):
            self._metrics.asked(outcome, (info.name, info.version) if info else None)
            if info:
                fields["model"] = f"{info.name}@{info.version}"
            if state.get("tiles"):
                fields["tiles"] = state["tiles"]
            fields |= {f"{stage}_ms": round(seconds * 1000, 1) for stage, seconds in state.get("stages_s", {}).items()}
        if "outcome" in state:
            fields["outcome"] = outcome
        _log.info("request", extra={"fields": fields})


def note_stages(request: Request, stages_s: Mapping[str, float], *, tiles: int) -> None:
    """Store stage -> time in seconds for the log line and the Server-Timing header, and the number of tiles."""
    request.state.stages_s = stages_s
    request.state.tiles = tiles


def _server_timing(stages_s: Mapping[str, float]) -> str:
    return ", ".join(f"{stage};dur={seconds * 1000:.1f}" for stage, seconds in stages_s.items())


def _trace(traceparent: str) -> dict[str, str]:
    """Return the ids in a W3C traceparent (Trace Context, section 3.2), or an empty dict if it is invalid."""
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None or match["version"] == "ff" or (match["version"] == "00" and match["rest"]):
        return {}
    ids = {"trace_id": match["trace_id"], "parent_id": match["parent_id"]}
    return ids if all(value.strip("0") for value in ids.values()) else {}
