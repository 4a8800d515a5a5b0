"""Services under test, each in a process of its own on a free port of this machine."""

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
_START_S = 180.0


@dataclass(frozen=True)
class Server:
    """A running service.

    Attributes:
        port: on 127.0.0.1.
        pid: of its process.
        start_s: from its start to the first answer that it is ready.
    """

    port: int
    pid: int
    start_s: float

    def cpu_s(self) -> float:
        """Return the CPU seconds that its process has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> float:
        """Return its resident memory in MB."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def service(model: str, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run this project's service."""
    port = free_port()
    settings = {"RENDERSIGHT_MODEL": model, "RENDERSIGHT_PORT": str(port), **(environment or {})}
    with _running([sys.executable, "-m", "app"], port, {**os.environ, **settings}) as server:
        yield server


@contextmanager
def naive(model: str) -> Iterator[Server]:
    """Run the naive service."""
    port = free_port()
    with _running([sys.executable, "-m", "benchmarks.naive", model, str(port)], port, dict(os.environ)) as server:
        yield server


@contextmanager
def _running(command: Sequence[str], port: int, environment: Mapping[str, str]) -> Iterator[Server]:
    began = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603
        command, cwd=ROOT, env=dict(environment), stderr=subprocess.DEVNULL
    )
    try:
        while not is_ready(port):
            if process.poll() is not None or time.perf_counter() - began > _START_S:
                raise RuntimeError(f"{' '.join(command)} did not start; status {process.poll()}")
            time.sleep(0.02)
        yield Server(port, process.pid, time.perf_counter() - began)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def is_ready(port: int) -> bool:
    """Tell whether the service at a port of this machine says that it is ready."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def free_port() -> int:
    """Return a port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
