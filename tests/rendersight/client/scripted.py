"""A real HTTP server on a free loopback port that answers as it is told, one act for each request.

An act finds what was sent in the handler's attribute `body`.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FOUND = {
    "model": {"name": "fruit", "version": "3", "engine": "fixed", "device": "cpu"},
    "image": {"width": 60, "height": 45},
    "score_threshold": 0.6,
    "tiles": 4,
    "detections": [
        {"label": "apple", "label_id": 1, "score": 0.95, "box": [0.0, 0.0, 10.0, 10.5]},
        {"label": "pear", "label_id": 2, "score": 0.8, "box": [1, 2, 30, 40]},
    ],
}

Act = Callable[[BaseHTTPRequestHandler], None]


def answers(status: int, body: Any, *, media_type: str = "application/json", **headers: str) -> Act:
    """Answer with this; a body that is not bytes goes as JSON, an underscore in a header's name is a hyphen."""

    def act(handler: BaseHTTPRequestHandler) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", media_type)
        handler.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(data)

    return act


def problem(status: int, slug: str, **headers: str) -> Act:
    told = {"type": f"urn:rendersight:problem:{slug}", "title": slug, "status": status, "detail": "so it is"}
    return answers(status, {**told, "request_id": "r1"}, media_type="application/problem+json", **headers)


def hangs_up(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection without a word."""
    handler.close_connection = True


def breaks_off(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection in the middle of the answer."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"{")
    handler.close_connection = True


@dataclass
class Scripted:
    """What a server was asked, and how it goes on: the last act is repeated."""

    acts: list[Act]
    url: str = ""
    released: threading.Event = field(default_factory=threading.Event)
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    most_at_once: int = 0

    def stays_silent(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer nothing before the test's end."""
        self.released.wait(30)
        handler.close_connection = True

    def drips(self, handler: BaseHTTPRequestHandler) -> None:
        """Send a byte of the answer every 20 ms, for ever."""
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        try:
            while not self.released.wait(0.02):
                handler.wfile.write(b" ")
        except OSError:  # the client has gone
            handler.close_connection = True


@contextmanager
def scripted(*acts: Act | str) -> Iterator[Scripted]:
    """Serve in threads of this process; an act may be a method of `Scripted`, by its name."""
    script = Scripted([])
    script.acts = [getattr(script, act) if isinstance(act, str) else act for act in acts]
    lock = threading.Lock()
    at_once = 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_request(self) -> None:
            nonlocal at_once
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            with lock:
                at_once += 1
                script.most_at_once = max(script.most_at_once, at_once)
                act = script.acts[min(len(script.paths), len(script.acts) - 1)]
                script.paths.append(self.path)
                script.headers.append({name.lower(): value for name, value in self.headers.items()})
                script.bodies.append(body)
                self.body = body
            try:
                act(self)
            finally:
                with lock:
                    at_once -= 1

        do_GET = do_POST = handle_request  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    script.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield script
    finally:
        script.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
