"""What HTTP and browsers ask of every endpoint: HEAD for GET, answers that arrive though a body is refused, headers."""

import asyncio
from contextlib import suppress
from typing import ClassVar

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LINGER_S = 2.0


class HeadAsGet:
    """Answers HEAD as GET without the content (RFC 9110 section 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app, for HEAD with the method GET and without the body of its answer."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_content(message: Message) -> None:
            scope["route"] = got.get("route")
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        got = {**scope, "method": "GET"}
        await self._app(got, receive, without_content)


class LingeringClose:
    """Lets a client read an answer that was given before its whole body was read.

    Closing a socket while data still arrives resets the connection, and the answer may be lost on the way (RFC 9112
    section 9.6). So the answer is sent, what still comes is thrown away for a short while, then the connection closes.
    """

    def __init__(self, app: ASGIApp, *, linger_s: float = _LINGER_S) -> None:
        """Wrap an app; `linger_s` is how long to go on reading, in seconds."""
        self._app = app
        self._linger_s = linger_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app and watch how far it has read the body when it answers."""
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
    """Tells browsers to take an answer for nothing else than it is, and to run and embed nothing.

    What a page of ours needs beyond that, its own headers allow; see https://owasp.org/www-project-secure-headers/.
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
        """Run the app and add each header that its answer has not."""
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
