"""Services under test, each in a process of its own on a free port of this machine."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.frameworks.network import MODEL, PORT

ROOT = Path(__file__).parent.parent
_START_S = 180.0


@dataclass(frozen=True)
class Server:
    """A running service.

    Attributes:
        port: on 127.0.0.1.
        pid: of its first process.
        start_s: from its start to the first answer that it is ready.
    """

    port: int
    pid: int
    start_s: float

    def cpu_s(self) -> float:
        """Return the CPU seconds that its processes have used."""
        return sum(sum(map(int, _stat(pid)[11:13])) for pid in self._processes()) / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> float:
        """Return the resident memory of its processes in MB; what they share counts for each."""
        pages = sum(int(_stat(pid)[21]) for pid in self._processes())
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def _processes(self) -> set[int]:
        """Return its process and all that came of it."""
        parents = {int(path.name): int(_stat(int(path.name))[1]) for path in Path("/proc").glob("[0-9]*")}
        found = {self.pid}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return found


def _stat(pid: int) -> list[str]:
    """Return the fields of a process from its state on (proc(5)); zeros for one that has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["0"] * 50


@contextmanager
def service(model: str, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run this project's service."""
    port = free_port()
    settings = {"RENDERSIGHT_MODEL": model, "RENDERSIGHT_PORT": str(port), **(environment or {})}
    with _running([sys.executable, "-m", "app"], port, {**os.environ, **settings}) as server:
        yield server


@contextmanager
def constant() -> Iterator[Server]:
    """Run this project's service around a network that costs nothing."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.constant"]
    with _running(command, port, {**os.environ, "RENDERSIGHT_PORT": str(port)}) as server:
        yield server


@contextmanager
def naive(model: str) -> Iterator[Server]:
    """Run the naive service, for a release, a bare state dict's file, or `frameworks.network.CONSTANT`."""
    with framework("python -m benchmarks.naive", model, Path(sys.executable).parent) as server:
        yield server


@contextmanager
def framework(command: str, model: str, binaries: Path) -> Iterator[Server]:
    """Run a server that is told by its environment what to serve and where.

    Args:
        command: its words; `{port}` in it becomes the port.
        model: as `naive`.
        binaries: folder of the environment's programs.
    """
    port = free_port()
    name, *rest = command.format(port=port).split()
    environment = {**os.environ, MODEL: model, PORT: str(port), "PYTHONPATH": str(ROOT)}
    with _running([str(binaries / name), *rest], port, environment) as server:
        yield server


@contextmanager
def _running(command: Sequence[str], port: int, environment: Mapping[str, str]) -> Iterator[Server]:
    began = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603
        command,
        cwd=ROOT,
        env=dict(environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
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
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # LitServe leaves its workers behind


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
