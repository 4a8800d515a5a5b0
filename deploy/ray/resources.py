"""The number and size of the actors or tasks that fill a cluster."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from deploy.ray.errors import JobError


@dataclass(frozen=True)
class Machine:
    """The cores and GPUs of one machine."""

    cores: int
    gpus: float = 0

    def room(self, cores: int, gpus: float) -> int:
        """Return how many actors with this many cores and GPUs fit on the machine."""
        return min(self.cores // cores, math.floor(self.gpus / gpus) if gpus else self.cores)


@dataclass(frozen=True)
class ActorPool:
    """The actors of a job, or the tasks that run at a time.

    Attributes:
        count: number of actors.
        cores: cores of each actor.
        gpus: GPUs of each actor; fractions are possible.
    """

    count: int
    cores: int
    gpus: float = 0


def fit_actors(machines: Sequence[Machine], *, actors: int | None, cores: int | None, gpus: float) -> ActorPool:
    """Return the pool of actors that fills the machines.

    Args:
        machines: the machines of the cluster. Machines without cores, or with fewer than `gpus` GPUs, are ignored.
        actors: number of actors; None means as many as fit.
        cores: cores of each actor. None means all cores of the smallest machine, or its share of them for each GPU.
        gpus: GPUs of each actor.

    Raises:
        JobError: no machine has room for one actor.
    """
    useful = [machine for machine in machines if machine.cores and machine.gpus >= gpus]
    if cores is None:
        shares = (machine.cores // math.floor(machine.gpus / gpus) if gpus else machine.cores for machine in useful)
        cores = max(1, min(shares, default=1))
    room = sum(machine.room(cores, gpus) for machine in useful)
    if not room:
        asked = f"{cores} cores" + (f" and {gpus:g} GPUs" if gpus else "")
        there = ", ".join(f"{machine.cores} cores and {machine.gpus:g} GPUs" for machine in machines)
        raise JobError(f"no machine of the cluster has {asked} for an actor; available: {there or 'none'}")
    return ActorPool(actors or room, cores, gpus)
