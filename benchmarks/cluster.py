"""A Ray cluster of several nodes on this machine, for benchmarks and tests.

`deploy/ray/start` starts a node: a raylet and its workers, in separate processes.
"""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from benchmarks.servers import ROOT, free_port

BINARIES = ROOT / ".venv-ray" / "bin"
CONFIG = ROOT / "deploy" / "ray" / "config.yaml"

_MARK = "BENCHMARK_CLUSTER"
"""Environment variable that marks all processes of a node, so that they are found even if their parent has ended."""

_HEAD_IP = "127.0.0.2"  # Ray replaces 127.0.0.1 by an address that is reachable from outside
_STORE_BYTES = 100_000_000
_START_S = 180.0
_REPLICA = "ray::ServeReplica:"


class Node:
    """A running node.

    Attributes:
        pid: its first process.
        http_port: port of its proxy, which listens once the node has a replica.
    """

    def __init__(self, process: subprocess.Popen[bytes], http_port: int, mark: str) -> None:
        self.pid = process.pid
        self.http_port = http_port
        self._process = process
        self._mark = mark

    def replicas(self, application: str = "rendersight") -> set[int]:
        """Return the pids of this node's replicas of an application."""
        return {pid for pid in self.processes() if _title(pid).startswith(f"{_REPLICA}{application}:")}

    def processes(self) -> set[int]:
        """Return the pids of this node's live processes."""
        return _marked(self._mark)

    def kill(self) -> None:
        """Kill all processes of the node at once, like a power cut."""
        for pid in (self.pid, *self.processes()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()


class Cluster:
    """Connected nodes, as a context manager that ends them all.

    Attributes:
        nodes: all nodes, the head first, including killed ones.
        environment: environment for a node, or for a process that connects to one.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """Prepare a cluster without a node.

        Args:
            environment: variables for all nodes, in addition to those of this process.
        """
        self.nodes: list[Node] = []
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self.environment = {**os.environ, **token, **(environment or {})}
        self._gcs_port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # socket paths must be short

    def __enter__(self) -> Self:
        """Return the cluster."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill all nodes, the head last; a graceful end would take half a minute per node."""
        for node in reversed(self.nodes):
            node.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def address(self) -> str:
        """Address of the head."""
        return f"{_HEAD_IP}:{self._gcs_port}"

    @property
    def head(self) -> Node:
        """Head node, the first one."""
        return self.nodes[0]

    def add(self, *, cpus: float) -> Node:
        """Start a node that offers `cpus` cores and return it once it has joined; the first node is the head."""
        if not (BINARIES / "ray").exists():
            raise FileNotFoundError(f"{BINARIES / 'ray'} is missing; make ray-env makes it")
        number = len(self.nodes)
        http_port = free_port()
        mark = f"{self._folder}:{number}"
        role = (
            [
                "--head",
                f"--port={self._gcs_port}",
                f"--ray-client-server-port={free_port()}",
                "--include-dashboard=false",
                f"--temp-dir={self._folder}",
            ]
            if number == 0
            else [f"--address={self.address}"]
        )
        log = self._folder / f"node-{number}.log"
        with log.open("wb") as written:
            process = subprocess.Popen(  # noqa: S603
                [
                    str(ROOT / "deploy" / "ray" / "start"),
                    *role,
                    f"--node-ip-address=127.0.0.{2 + number}",
                    f"--num-cpus={cpus:g}",
                    f"--object-store-memory={_STORE_BYTES}",
                    f"--dashboard-agent-listen-port={free_port()}",
                    "--block",
                ],
                env={**self.environment, _MARK: mark, "RAY_SERVE_WORKER_PROXY_HTTP_PORT": str(http_port)},
                stdout=written,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        node = Node(process, http_port, mark)
        self.nodes.append(node)
        wait_for(lambda: process.poll() is not None or "Ray runtime started" in log.read_text(), "the node")
        if process.poll() is not None:
            raise RuntimeError(f"the node ended with status {process.returncode}: {log.read_text()}")
        return node

    def deploy(self, config: Mapping[str, Any]) -> None:
        """Submit a configuration to Ray Serve, as a user does; return when it is accepted, before it is applied."""
        path = self._folder / "config.yaml"
        path.write_text(yaml.safe_dump({**config, "http_options": {"host": "127.0.0.1", "port": self.head.http_port}}))
        done = subprocess.run(  # noqa: S603
            [str(BINARIES / "serve"), "run", "--non-blocking", f"--address={self.address}", str(path)],
            cwd=ROOT,
            env={**self.environment, "RAY_USAGE_STATS_ENABLED": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or "Submitted deploy config successfully" not in done.stdout + done.stderr:
            raise RuntimeError(f"serve run: status {done.returncode}\n{done.stdout}{done.stderr}")

    def logs(self) -> str:
        """Return the logs of the replicas, the proxies and the controller, for debugging."""
        folder = self._folder / "session_latest" / "logs"
        paths = [*sorted((folder / "serve").glob("*.log")), *sorted(folder.glob("worker-*.err"))]
        return "\n".join(f"== {path.name}\n{path.read_text(errors='replace')}" for path in paths)


def wait_for(condition: Callable[[], object], what: str, *, within_s: float = _START_S) -> None:
    """Wait until a condition is true; `what` names it in the error.

    Raises:
        TimeoutError: the condition is still false after `within_s` seconds.
    """
    until_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > until_s:
            raise TimeoutError(f"{what} did not come about within {within_s:g} s")
        time.sleep(0.1)


def config_of_repository() -> Any:
    """Return `deploy/ray/config.yaml` as a new object that callers may change and deploy."""
    return yaml.safe_load(CONFIG.read_text("utf-8"))


def _marked(mark: str) -> set[int]:
    """Return the pids of all processes with a mark in their environment."""
    wanted = f"{_MARK}={mark}".encode()
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (path / "environ").read_bytes().split(b"\0"):
                found.add(int(path.name))
    return found


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
