"""Connection to a Ray cluster, and the actors that run a job on it."""

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.data import ActorPoolStrategy, DataContext
from ray.data.exceptions import ExecutionTimeoutError
from ray.exceptions import RayError, RayTaskError

from deploy.ray.errors import JobError, JobFailed
from deploy.ray.resources import ActorPool, Machine

_CALLS = 2
"""Parts that an actor works on at once. It reads the photos of the next part while it computes the end of this one."""

_QUEUED = 2 * _CALLS
_CONNECT_S = 5.0


@contextmanager
def connect(address: str | None) -> Iterator[None]:
    """Connect to a Ray cluster, or start a local one that ends with the context.

    Args:
        address: HOST:PORT of the head, `auto` for the cluster that this machine belongs to, or `local` for a new
            cluster on this machine. None means RAY_ADDRESS, else this machine's cluster, else a new local one.

    Raises:
        JobError: there is no cluster at the address.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # otherwise Ray's core prints between our lines
    address = address or os.environ.get("RAY_ADDRESS") or None
    try:
        _check(address)
        with _muted():
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray's own handler prints a stack
    except (RayError, OSError, ValueError, RuntimeError) as error:
        raise JobError(f"no cluster at {address or 'this machine'}: {_first_line(error)}") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _muted() -> Iterator[None]:
    """Redirect the process's stderr to /dev/null: Ray's core writes there that its logging is turned down."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)


def _check(address: str | None) -> None:
    """Check with `ray health-check` that a head serves at HOST:PORT, because `ray.init` would retry for ever.

    If something else listens there, the check takes 45 s.

    Raises:
        ValueError: the address is malformed, or no head of Ray answers there.
        OSError: the connection fails.
    """
    if address in (None, "auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in address or not port.isdigit():
        raise ValueError("accepted: HOST:PORT, auto, local")
    socket.create_connection((host, int(port)), _CONNECT_S).close()  # a refused connection fails at once
    command = [str(Path(sys.executable).with_name("ray")), "health-check", "--address", address]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        reason = (done.stderr.strip() or "it is not healthy").splitlines()[-1]
        raise ValueError(f"{reason.removeprefix('ray.exceptions.')}; the default port of a head is 6379")


def machines() -> list[Machine]:
    """Return the cores and GPUs of each live machine of the cluster."""
    found = (node["Resources"] for node in ray.nodes() if node["Alive"])
    return [Machine(int(offered.get("CPU", 0)), offered.get("GPU", 0.0)) for offered in found]


def run(
    parts: Sequence[Sequence[str]], actor: type, arguments: tuple[Any, ...], named: dict[str, Any], pool: ActorPool
) -> Iterator[dict[str, Any]]:
    """Run an actor class on the cluster over all parts, and yield the row of each part when it is done.

    Args:
        parts: lists of paths, one list for each part.
        actor: a class; its instances take a table with the column `path` and return a table with one row.
        arguments: arguments of the actor's constructor.
        named: keyword arguments of the actor's constructor.
        pool: number and size of the actors.

    Raises:
        JobFailed: an actor reports it in the column `failed`, or no actor has made progress for half an hour.
    """
    _quieten()
    tables = [pa.table({"path": pa.array(part, pa.string())}) for part in parts]
    done = ray.data.from_arrow(tables).map_batches(
        actor,
        fn_constructor_args=arguments,
        fn_constructor_kwargs=named,
        batch_size=max(map(len, parts)),  # one call for each part: all parts but the last have this size
        batch_format="pyarrow",
        compute=ActorPoolStrategy(
            size=pool.count,
            max_tasks_in_flight_per_actor=_QUEUED,
            max_concurrent_calls_per_actor=_CALLS,
            enable_true_multi_threading=True,
        ),
        num_cpus=pool.cores,
        num_gpus=pool.gpus or None,
    )
    try:
        for row in done.iter_rows():
            if row["failed"] is not None:
                raise JobFailed(row["failed"])
            yield row
    except RayTaskError as error:  # Ray's text is a traceback
        raise JobFailed(f"{type(error.cause).__name__}: {_first_line(error.cause)}") from error
    except (RayError, ExecutionTimeoutError) as error:
        raise JobFailed(_first_line(error)) from error


def _quieten() -> None:
    """Make Ray Data log to its files only, and re-raise an actor's own exception."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.raise_original_map_exception = True
    for handler in logging.getLogger("ray.data").handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.CRITICAL)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
