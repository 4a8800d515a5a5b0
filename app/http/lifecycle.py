"""The end of a process: readiness off, new requests refused, those in flight answered."""

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
    """What is in flight, whether more may come, and until when all must have ended.

    Attributes:
        stopping: new requests are refused.
        in_flight: requests that have begun and not ended.
    """

    def __init__(self) -> None:
        self.stopping = False
        self.in_flight = 0
        self._until_s = math.inf

    def stop(self, within_s: float) -> None:
        """Refuse new requests from now on; those in flight have so many seconds, or what an earlier call left them."""
        self.stopping = True
        self._until_s = min(self._until_s, time.monotonic() + within_s)

    def left_s(self) -> float:
        """Return how many seconds there are left to end what is in flight: 0 or less when the time is over."""
        return self._until_s - time.monotonic()

    async def drained(self) -> int:
        """Wait until nothing is in flight or the time is over, and return how many requests are left."""
        while self.in_flight and self.left_s() > 0:
            await asyncio.sleep(_LOOK_S)
        return self.in_flight


class Gate:
    """Middleware: counts requests in and out, and refuses them once the service is stopping."""

    def __init__(self, app: ASGIApp, *, lifecycle: Lifecycle) -> None:
        self._app = app
        self._lifecycle = lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app, unless the service is stopping; whoever watches the process is always answered."""
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
