"""Middleware for every endpoint: HEAD, answers to requests whose body was not read, security headers."""

import asyncio
from contextlib import suppress
from typing import ClassVar

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LINGER_S = 2.0


class HeadAsGet:
    """Middleware that answers HEAD like GET, without the content (RFC 9110, section 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app. For HEAD, run it with the method GET and drop the answer's body."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_content(message: Message) -> None:
            scope["route"] = got.get("route")
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        got = {**scope, "method": "GET"}
        await self._app(got, receive, without_content)


class LingeringClose:
    """Middleware that lets a client read an answer sent before the request's body was read completely.

    Closing a socket while data still arrives resets the connection, and the client may lose the answer (RFC 9112,
    section 9.6). So the service sends the answer, reads and drops the body for a short while, then closes.
    """

    def __init__(self, app: ASGIApp, *, linger_s: float = _LINGER_S) -> None:
        """Wrap an app. `linger_s` is the time, in seconds, for which the body is still read after the answer."""
        self._app = app
        self._linger_s = linger_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app. If it answers before the end of the body, send the answer, then linger and close."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_read = "transfer-encoding" not in headers and headers.get("content-length", "0") == "0"
        is_closing = False

        async def watched_receive() -> Message:
            nonlocal is_read
            message = await receive()
            is_read = not message.get("more_body", False)
            return message

        async def lingering_send(message: Message) -> None:
            nonlocal is_closing
            if message["type"] == "http.response.start" and not is_read:
                is_closing = True
                MutableHeaders(scope=message)["Connection"] = "close"
            if message["type"] == "http.response.body" and is_closing and not message.get("more_body", False):
                await send({**message, "more_body": True})
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._linger_s):
                        while not is_read:
                            await watched_receive()
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        await self._app(scope, watched_receive, lingering_send)


class SecurityHeaders:
    """Middleware that adds security headers: browsers do not guess a type, run scripts or embed the answer.

    The service's own pages send headers that allow what they need. See https://owasp.org/www-project-secure-headers/.
    """

    _HEADERS: ClassVar = {
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cache-Control": "no-store",
    }

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app and add each header that its answer lacks."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, secured)
