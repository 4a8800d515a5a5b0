"""The end of a process: readiness off, new requests refused, those in flight answered."""

import asyncio

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app import problems
from app.errors import NotReady

_STILL_ANSWERED = ("/livez", "/metrics")
_LOOK_S = 0.05


class Lifecycle:
    """What is in flight, and whether more may come.

    Attributes:
        stopping: new requests are refused.
        in_flight: requests that have begun and not ended.
    """

    def __init__(self) -> None:
        self.stopping = False
        self.in_flight = 0

    async def drain(self, timeout_s: float) -> int:
        """Refuse new requests from now on and wait for those in flight.

        Args:
            timeout_s: how long to wait.

        Returns:
            How many are left.
        """
        self.stopping = True
        until_s = asyncio.get_running_loop().time() + timeout_s
        while self.in_flight and asyncio.get_running_loop().time() < until_s:
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
        if self._lifecycle.stopping and scope["path"] not in _STILL_ANSWERED:
            response = problems.response_to(Request(scope), NotReady("the service is stopping"))
            response.headers["Connection"] = "close"
            await response(scope, receive, send)
            return
        self._lifecycle.in_flight += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._lifecycle.in_flight -= 1
