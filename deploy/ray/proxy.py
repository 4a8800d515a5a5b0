"""Middleware for Ray Serve's proxies: their own errors become problem documents of the service.

Each node must have RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=deploy.ray.proxy.middlewares in its environment before
Ray starts; `deploy/ray/start` sets it.
"""

import logging
import time
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import DeadlineExceeded, NotReady, ServiceError, ServiceOverloaded
from app.http import problems
from app.http.middleware import SecurityHeaders
from app.observability.request_log import REQUEST_ID_HEADER, request_id_of

_OF_SERVE = "/-/"
"""Prefix of Serve's own paths, such as /-/healthz. Their answers pass unchanged."""

_STAY = "X-Request-Disconnect-Disabled"

_log = logging.getLogger(__name__)


def middlewares() -> list[Middleware]:
    """Return the middleware that Ray Serve wraps its proxies in."""
    return [Middleware(ProxyMiddleware)]


class ProxyMiddleware:
    """Middleware that makes the proxy answer like the service.

    The service's answers pass with one X-Request-ID instead of two. A request that Serve refuses or loses gets a
    problem document. If a replica dies with a request, the answer is a 503, so clients that retry a 503 retry it too.
    An answer that breaks off in the middle stays broken.

    The service itself detects that a client has gone. If Serve cancelled the request, the log would show another
    outcome.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the proxy. Answer with a problem if the service did not answer."""
        if scope["type"] != "http" or scope["path"].startswith(_OF_SERVE):
            await self._app(scope, receive, send)
            return
        came_s = time.perf_counter()
        request_id = request_id_of(Headers(scope=scope))
        asked = MutableHeaders(scope=scope)
        asked[REQUEST_ID_HEADER], asked[_STAY] = request_id, "?1"
        has_begun = False
        refused: ServiceError | None = None

        async def watch(message: Message) -> None:
            nonlocal has_begun, refused
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                is_of_service = len(headers.getlist(REQUEST_ID_HEADER)) > 1
                if not is_of_service and message["status"] >= HTTPStatus.BAD_REQUEST:
                    refused = _meant(message["status"], headers)
                headers[REQUEST_ID_HEADER] = request_id
            if refused is None:
                has_begun = True
                await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception:
            if has_begun:
                raise
            _log.exception("the proxy failed with a request")
        if not has_begun:
            lost = NotReady("the replica that had this request is gone; try again")
            await _answer(refused or lost, request_id, came_s)(scope, receive, send)


def _meant(status: int, headers: Headers) -> ServiceError:
    """Return the service's error that corresponds to Serve's own refusal."""
    if status == HTTPStatus.REQUEST_TIMEOUT:
        return DeadlineExceeded("not finished within the time limit of the proxy")
    if "Retry-After" in headers:  # `deploy.ray.service` makes Serve send it when too many requests wait
        return ServiceOverloaded("too many requests wait for a replica; try again in 1 s")
    return NotReady("no replica serves yet")


def _answer(error: ServiceError, request_id: str, came_s: float) -> ASGIApp:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["request_id"] = request_id
        response = problems.response_to(Request(scope), error)
        response.headers[REQUEST_ID_HEADER] = request_id
        response.headers["Server-Timing"] = f"total;dur={(time.perf_counter() - came_s) * 1000:.1f}"
        await response(scope, receive, send)

    return SecurityHeaders(answer)
