"""Graceful shutdown: new requests are refused, requests in flight are answered."""

import asyncio
import math
import time

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import NotReady
from app.http import problems

_STILL_ANSWERED = ("/livez", "/v2/health/live", "/metrics")
_LOOK_S = 0.05


class Lifecycle:
    """The state of a shutdown: the requests in flight and the deadline for them.

    Attributes:
        stopping: whether new requests are refused.
        in_flight: number of requests that have begun and not ended.
    """

    def __init__(self) -> None:
        self.stopping = False
        self.in_flight = 0
        self._until_s = math.inf

    def stop(self, within_s: float) -> None:
        """Refuse new requests. Those in flight get `within_s` seconds, or less if an earlier call left them less."""
        self.stopping = True
        self._until_s = min(self._until_s, time.monotonic() + within_s)

    def left_s(self) -> float:
        """Return the seconds left for the requests in flight: 0 or less when the time is over."""
        return self._until_s - time.monotonic()

    async def drained(self) -> int:
        """Wait until no request is in flight or the time is over. Return the number of requests left."""
        while self.in_flight and self.left_s() > 0:
            await asyncio.sleep(_LOOK_S)
        return self.in_flight


class Gate:
    """Middleware that counts the requests in flight and refuses new ones while the service stops."""

    def __init__(self, app: ASGIApp, *, lifecycle: Lifecycle) -> None:
        self._app = app
        self._lifecycle = lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app, or answer 503 while the service stops. Liveness checks and metrics are always answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._lifecycle.stopping and problems.path_of(scope) not in _STILL_ANSWERED:
            response = problems.response_to(Request(scope), NotReady("the service is stopping"))
            response.headers["Connection"] = "close"
            await response(scope, receive, send)
            return
        self._lifecycle.in_flight += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._lifecycle.in_flight -= 1
