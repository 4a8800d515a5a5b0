"""Logs and request ids: one line for each request, as text or as JSON."""

import json
import logging
import logging.config
import random
import re
import time
from typing import Any, Literal
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID_HEADER = "X-Request-ID"

_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_log = logging.getLogger(__name__)


class RequestLog:
    """Middleware: gives each request an id, sends it back with the answer, and logs the request.

    A client's own X-Request-ID is kept if it has 1 to 128 letters, digits, dots, underscores and hyphens. The app finds
    the id in `request.state.request_id`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app; the time logged is until its answer begins."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        request_id = asked if _ACCEPTED_ID.fullmatch(asked) else f"{random.getrandbits(128):032x}"
        scope.setdefault("state", {})["request_id"] = request_id
        began_s = time.perf_counter()

        async def identified(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
                fields = {
                    "method": scope["method"],
                    "path": quote(scope["path"]),
                    "status": message["status"],
                    "ms": round((time.perf_counter() - began_s) * 1000, 1),
                    "request_id": request_id,
                }
                _log.info("request", extra={"fields": fields})
            await send(message)

        await self._app(scope, receive, identified)


class _TextFormatter(logging.Formatter):
    """`2026-01-31 12:00:00 INFO message key=value ...`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
        return super().formatMessage(record) + fields


class _JsonFormatter(logging.Formatter):
    """One JSON object a line: `time` (ISO 8601, UTC), `level`, `logger`, `message`, the fields, `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a caller gave as `extra={"fields": {...}}`."""
    fields: dict[str, Any] = getattr(record, "fields", {})
    return fields


_FORMATTERS = {"text": _TextFormatter, "json": _JsonFormatter}


def configure_logging(log_format: Literal["text", "json"]) -> None:
    """Send the logs of this process to stderr; of uvicorn's only warnings, for `RequestLog` writes the requests."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"chosen": {"()": _FORMATTERS[log_format]}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "chosen"}},
            "root": {"handlers": ["stderr"], "level": "INFO"},
            # the multipart parser warns of what the client is told anyway
            "loggers": {"uvicorn": {"level": "WARNING"}, "python_multipart": {"level": "ERROR"}},
        }
    )
