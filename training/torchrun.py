"""What torchrun tells the processes that it starts, from their environment; needs no torch."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from platform import node
from typing import Self

from model_store.cpu import usable_cores

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


@dataclass(frozen=True)
class Place:
    """Which of the processes of one command this is; without torchrun the only one.

    Attributes:
        rank: 0 to size - 1; the first one alone speaks and writes.
        size: processes on all machines.
        local_rank: 0 to local_size - 1.
        local_size: processes on this machine.
        launcher: names the torchrun that started this process, and starts it anew when one has died; None without.
        restarts_hang: it would start all anew on several machines, in a store where they wait for those who died.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    launcher: str | None = None
    restarts_hang: bool = False

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Read the variables that torchrun sets; where one is missing it was not torchrun."""
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
        """Tell whether this process is the one that speaks and writes."""
        return self.rank == 0

    def threads(self) -> int:
        """Return how many threads this process may compute with: its share of the cores."""
        return max(1, usable_cores() // self.local_size)

    def __str__(self) -> str:
        return f"process {self.rank} on {node()}"


def place_here() -> Place:
    """Return which process this is."""
    return Place.of(os.environ)


def _launcher() -> str:
    """Name the process that started this one, so that no later one has the same name."""
    parent = os.getppid()
    try:  # field 22 of proc_pid_stat(5), the start in clock ticks; the second field may hold spaces and brackets
        began = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:  # no Linux
        began = "?"
    return f"{node()} {parent} {began}"
