"""How many actors or tasks fill a cluster, and what each of them has."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from deploy.ray.errors import JobError


@dataclass(frozen=True)
class Machine:
    """What a machine offers."""

    cores: int
    gpus: float = 0

    def room(self, cores: int, gpus: float) -> int:
        """Return how many actors of so much it takes."""
        return min(self.cores // cores, math.floor(self.gpus / gpus) if gpus else self.cores)


@dataclass(frozen=True)
class Pool:
    """Actors, or tasks that run at a time.

    Attributes:
        count: how many.
        cores: of each.
        gpus: of each; a share of one is possible.
    """

    count: int
    cores: int
    gpus: float = 0


def pool_of(machines: Sequence[Machine], *, actors: int | None, cores: int | None, gpus: float) -> Pool:
    """Return the actors that fill some machines.

    Args:
        machines: those without a core are left out, and where GPUs are asked for, those without.
        actors: how many; None takes as many as there is room for.
        cores: of each; None takes all of a machine, on the one that has the fewest, or its share for each GPU.
        gpus: of each.

    Raises:
        JobError: there is no machine with so much.
    """
    useful = [machine for machine in machines if machine.cores and machine.gpus >= gpus]
    if cores is None:
        shares = (machine.cores // math.floor(machine.gpus / gpus) if gpus else machine.cores for machine in useful)
        cores = max(1, min(shares, default=1))
    room = sum(machine.room(cores, gpus) for machine in useful)
    if not room:
        asked = f"{cores} cores" + (f" and {gpus:g} GPUs" if gpus else "")
        there = ", ".join(f"{machine.cores} cores and {machine.gpus:g} GPUs" for machine in machines)
        raise JobError(f"no machine of the cluster has {asked} for an actor; there: {there or 'none'}")
    return Pool(actors or room, cores, gpus)
