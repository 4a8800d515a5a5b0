"""The actors of a job: how many, where, and what they answer."""

import logging
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.data import ActorPoolStrategy, DataContext
from ray.data.exceptions import ExecutionTimeoutError
from ray.exceptions import RayError, RayTaskError

from deploy.ray.errors import JobError, JobFailed
from deploy.ray.pool import Machine, Pool

_CALLS = 2
"""Parts that an actor has at once: the next one's photos are read while the last ones of this are computed."""

_QUEUED = 2 * _CALLS
_CONNECT_S = 5.0

_SETTINGS_TYPE = 4
_SETTINGS = b"\0\0\0\4\0\0\0\0\0"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _SETTINGS
"""What begins an HTTP/2 connection, RFC 9113, section 3.4; gRPC answers with a frame of SETTINGS."""


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Be connected to a cluster, or to one of this machine alone that ends with this.

    Args:
        address: of the head, `auto` for the cluster that this machine is part of, `local` for one of its own; None
            takes RAY_ADDRESS, else the cluster that this machine is part of, else one of its own.

    Raises:
        JobError: there is none.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what Ray's core would print between our lines
    address = address or os.environ.get("RAY_ADDRESS") or None
    try:
        _check(address)
        with _muted():
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray's own prints a stack
    except (RayError, OSError, ValueError, RuntimeError) as error:
        raise JobError(f"no cluster at {address or 'this machine'}: {_first_line(error)}") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _muted() -> Iterator[None]:
    """Send the process's standard error nowhere: Ray's core tells there that it was told to be silent."""
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
    """See that what listens at an address of the form HOST:PORT speaks gRPC: Ray itself goes on asking for ever."""
    if address in (None, "auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in address or not port.isdigit():
        raise ValueError("accepted: HOST:PORT, auto, local")
    with socket.create_connection((host, int(port)), _CONNECT_S) as connection:
        if os.environ.get("RAY_USE_TLS", "0") != "0":  # the handshake is Ray's
            return
        connection.sendall(_PREFACE)
        answer = connection.recv(len(_SETTINGS))
    if len(answer) < len(_SETTINGS) or answer[3] != _SETTINGS_TYPE:
        raise ValueError("no head of Ray listens there; its port is 6379, unless it was told another")


def machines() -> list[Machine]:
    """Return what the machines of the cluster offer now."""
    found = (node["Resources"] for node in ray.nodes() if node["Alive"])
    return [Machine(int(offered.get("CPU", 0)), offered.get("GPU", 0.0)) for offered in found]


def run(
    parts: Sequence[Sequence[str]], actor: type, arguments: tuple[Any, ...], named: dict[str, Any], pool: Pool
) -> Iterator[dict[str, Any]]:
    """Give parts to actors, wherever there is room for them, and yield what each gave as it is done.

    Args:
        parts: of paths.
        actor: takes a table with the column `path` and returns one with a row.
        arguments: of its constructor.
        named: its keyword arguments.
        pool: the actors.

    Raises:
        JobFailed: an actor says so (a value in the column `failed`), or none has done anything for half an hour.
    """
    _quieten()
    tables = [pa.table({"path": pa.array(part, pa.string())}) for part in parts]
    done = ray.data.from_arrow(tables).map_batches(
        actor,
        fn_constructor_args=arguments,
        fn_constructor_kwargs=named,
        batch_size=max(map(len, parts)),  # one call for each part: all have so many but the last
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
    """Have Ray Data write into its log files alone, and hand on what an actor raised."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.raise_original_map_exception = True
    for handler in logging.getLogger("ray.data").handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.CRITICAL)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
