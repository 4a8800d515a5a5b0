"""The server: loads the model, listens, handles signals, and drains before it stops."""

import asyncio
import logging
import shlex
import signal
import socket
import sys
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from app.http.keys import InvalidKeysFile, read_keys
from app.http.lifecycle import Lifecycle
from app.inference.watchdog import Watchdog
from app.main import create_app
from app.settings import Settings, variable
from rendersight import images

_EXAMPLES = Path(__file__).parent.parent / "examples"
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound to
_BACKLOG = 2048
_CUT_OFF_S = 1  # for requests that are left when the time to drain is over

_log = logging.getLogger(__name__)


def serve_model(settings: Settings) -> None:
    """Load the model and serve it until SIGTERM or Ctrl-C.

    Raises:
        InvalidKeysFile: the file of API keys cannot be used.
        OSError, ModelError: as `serve`.
    """
    images.configure_pillow(max_pixels=settings.max_pixels)
    serve(create_app(settings), settings)


def serve(app: FastAPI, settings: Settings) -> None:
    """Serve an app until SIGTERM or Ctrl-C.

    Raises:
        OSError: the address cannot be bound; the message is one line.
        ModelError: the model cannot be served.
    """
    with _bind(settings.host, settings.port) as bound:
        asyncio.run(_serve(app, bound, settings))


class _Server(uvicorn.Server):
    """A uvicorn server that drains before it stops. Create it on the event loop."""

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle, drain_timeout_s: float) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle
        self._drain_timeout_s = drain_timeout_s
        self._draining: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, _frame: FrameType | None) -> None:
        """Start to drain. A second signal ends the draining at once."""
        self._lifecycle.stop(0 if self._lifecycle.stopping else self._drain_timeout_s)
        self._loop.call_soon_threadsafe(self._begin_to_drain, signal.Signals(sig).name)

    def _begin_to_drain(self, signal_name: str) -> None:
        _log.info("%s: stopping, %d requests in flight", signal_name, self._lifecycle.in_flight)
        self._draining = self._draining or self._loop.create_task(self._drain())

    async def _drain(self) -> None:
        if left := await self._lifecycle.drained():
            _log.warning("%d requests cut off: they did not finish in time", left)
        self.should_exit = True


async def _serve(app: FastAPI, bound: socket.socket, settings: Settings) -> None:
    server = _Server(
        uvicorn.Config(
            app,
            lifespan="off",  # entered below, so that its errors are raised unchanged
            log_config=None,
            access_log=False,
            server_header=False,
            h11_max_incomplete_event_size=settings.max_header_bytes,
            http="h11",  # the other parser, httptools, has no limit on headers
            timeout_graceful_shutdown=_CUT_OFF_S,
        ),
        app.state.lifecycle,
        settings.drain_timeout_s,
    )
    if hasattr(signal, "SIGHUP"):  # Windows has none
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # replaced once the app has started
    async with app.router.lifespan_context(app):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, server.handle_exit)  # uvicorn restores it after serving
        if hasattr(signal, "SIGHUP"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _look_again, app, settings)
        scheduler = app.state.scheduler
        watchdog = Watchdog(
            lambda: scheduler.trouble(settings.watchdog_s), limit_s=settings.watchdog_s, exit_s=settings.watchdog_exit_s
        )
        bound.listen(_BACKLOG)
        _announce(settings)
        try:
            await server.serve(sockets=[bound])
        finally:
            watchdog.stop()


def _look_again(app: FastAPI, settings: Settings) -> None:
    """Handle SIGHUP: read the API keys again and look for a newer release. An invalid keys file changes no key."""
    if settings.api_keys_file is not None:
        try:
            app.state.keys = read_keys(settings.api_keys_file)
        except InvalidKeysFile as error:
            _log.error("API keys not reloaded: %s", error)
    if app.state.reloader is not None:
        app.state.reloader.ask()


def _bind(host: str, port: int) -> socket.socket:
    """Bind the address before the model is loaded. Clients cannot connect until `listen`.

    Raises:
        OSError: the address does not exist or is in use.
    """
    bound = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        if sys.platform != "win32":  # there SO_REUSEADDR would share an address that another service uses
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, UnicodeError) as error:  # UnicodeError: the host is not a valid name
        if bound is not None:
            bound.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise OSError(f"{variable('host')}={host!r} {variable('port')}='{port}' cannot be used: {reason}") from error
    return bound


def _announce(settings: Settings) -> None:
    host = _WILDCARDS.get(settings.host, settings.host)
    address = f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
    _log.info("The page is at %s, the API docs are at %s/docs", address, address)
    _log.info("Try: curl -F image=@%s %s/detect", shlex.quote(_example_picture()), address)


def _example_picture() -> str:
    """Return the path of an example picture, relative to the working folder if the picture lies below it."""
    photo = min(_EXAMPLES.glob("*.jpg"), default=None)
    if photo is None:
        return "photo.jpg"
    return str(photo.relative_to(Path.cwd()) if photo.is_relative_to(Path.cwd()) else photo)
