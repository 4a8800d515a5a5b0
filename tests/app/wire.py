"""A real server on a free loopback port, for what only the wire shows."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def serving(app: FastAPI) -> Iterator[int]:
    """Serve an app in a thread of this process; gives the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            deadline_s = time.monotonic() + 30
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
