"""Rank and group size of this process, read from the environment that torchrun sets. Needs no torch."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from platform import node
from typing import Self

from model_store.cpu import usable_cores

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


@dataclass(frozen=True)
class Process:
    """Position of this process among all processes of a command. Without torchrun it is the only one.

    Attributes:
        rank: 0 to size - 1; only the process of rank 0 prints and writes.
        size: number of processes on all machines.
        local_rank: 0 to local_size - 1.
        local_size: number of processes on this machine.
        launcher: identifies the torchrun that started this process and that restarts it after a failure; None without
            torchrun.
        restarts_hang: whether a restart by torchrun would hang. It does if there are several machines and the restarted
            processes share torchrun's own store: there they wait for the dead processes.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    launcher: str | None = None
    restarts_hang: bool = False

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Read the variables that torchrun sets. If one is missing, assume a single process."""
        if not all(environment.get(name, "").isdecimal() for name in _VARIABLES):
            return cls()
        rank, size, local_rank, local_size = (int(environment[name]) for name in _VARIABLES)
        if "TORCHELASTIC_RUN_ID" not in environment:
            return cls(rank, size, local_rank, local_size)
        restarts = environment.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0"
        in_its_store = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        hang = local_size < size and restarts and in_its_store
        return cls(rank, size, local_rank, local_size, _launcher(), hang)

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that prints and writes."""
        return self.rank == 0

    def threads(self) -> int:
        """Return the number of compute threads for this process: its share of the usable cores."""
        return max(1, usable_cores() // self.local_size)

    def __str__(self) -> str:
        return f"process {self.rank} on {node()}"


def this_process() -> Process:
    """Return the position of this process."""
    return Process.of(os.environ)


def _launcher() -> str:
    """Return an identifier of the parent process that no later process repeats."""
    parent = os.getppid()
    try:  # field 22 of proc_pid_stat(5): start time in clock ticks; field 2 may hold spaces and brackets
        began = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:  # not Linux
        began = "?"
    return f"{node()} {parent} {began}"
