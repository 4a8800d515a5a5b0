"""Services under test, each in its own process on a free port of this machine."""

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
        port: port on 127.0.0.1.
        pid: its first process.
        start_s: time from its start to the first successful readiness check.
    """

    port: int
    pid: int
    start_s: float

    def cpu_s(self) -> float:
        """Return the CPU seconds used by its processes."""
        return sum(sum(map(int, _stat(pid)[11:13])) for pid in self._processes()) / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> float:
        """Return the resident memory of its processes in MB; shared memory counts once per process."""
        pages = sum(int(_stat(pid)[21]) for pid in self._processes())
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def _processes(self) -> set[int]:
        """Return the pids of its first process and all descendants."""
        parents = {int(path.name): int(_stat(int(path.name))[1]) for path in Path("/proc").glob("[0-9]*")}
        found = {self.pid}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return found


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on (proc(5)); zeros if the process has ended."""
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
    """Run this project's service with a network that costs nothing."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.constant"]
    with _running(command, port, {**os.environ, "RENDERSIGHT_PORT": str(port)}) as server:
        yield server


@contextmanager
def naive(model: str) -> Iterator[Server]:
    """Run the naive service; `model` is a release, a bare state dict's file, or `frameworks.network.CONSTANT`."""
    with framework("python -m benchmarks.naive", model, Path(sys.executable).parent) as server:
        yield server


@contextmanager
def framework(command: str, model: str, binaries: Path) -> Iterator[Server]:
    """Run a server that reads its model and port from environment variables.

    Args:
        command: command line; `{port}` in it becomes the port.
        model: as for `naive`.
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
        wait_until_ready(port, process)
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


def wait_until_ready(port: int, process: subprocess.Popen[bytes] | None = None) -> None:
    """Wait until the service at a port of this machine is ready.

    Raises:
        RuntimeError: the given process ended, or the service is not ready within three minutes.
    """
    until_s = time.perf_counter() + _START_S
    while not is_ready(port):
        if (process is not None and process.poll() is not None) or time.perf_counter() > until_s:
            raise RuntimeError(f"nothing is ready at port {port}" + (f": {process.args!r} failed" if process else ""))
        time.sleep(0.02)


def is_ready(port: int) -> bool:
    """Return whether the service at a port of this machine reports that it is ready."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def free_port() -> int:
    """Return an unused port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
