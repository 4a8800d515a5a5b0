"""A real server on a free loopback port, for what only the wire shows."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from app.observability.metrics import ServiceMetrics


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def serving(app: FastAPI, *, start_timeout_s: float = 30) -> Iterator[int]:
    """Serve an app in a thread of this process; gives the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            deadline_s = time.monotonic() + start_timeout_s
            while not server.started:
                assert thread.is_alive(), "the server ended at its start"
                assert time.monotonic() < deadline_s, "the server did not start"
                time.sleep(0.01)
            yield int(listening.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive(), "the server did not stop"


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def read_to_end(connection: socket.socket) -> bytes:
    """Return everything up to the server's end of the connection."""
    received = b""
    while piece := connection.recv(65536):
        received += piece
    return received


def wait_until(condition: Callable[[], object], timeout_s: float = 60) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true"
        time.sleep(0.01)


def sample(metrics: ServiceMetrics, name: str, **labels: str) -> float:
    """Return the sum of the samples of this name that have these labels, 0 where there are none."""
    families = text_string_to_metric_families(metrics.text().decode())
    return sum(
        item.value
        for family in families
        for item in family.samples
        if item.name == name and labels.items() <= item.labels.items()
    )
