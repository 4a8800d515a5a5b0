"""Several processes that train one network together: what they tell each other, by torch.distributed.

Every process computes the same state; process 0 alone reads and writes the run's folder and speaks. What all must know
goes through the CPU (Gloo), gradients through the device's own backend (NCCL on CUDA).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from model_store.devices import choose_device
from model_store.errors import DeviceNotAvailable, ModelError
from rendersight.annotations import AnnotationError
from training.errors import Elsewhere, TrainingError
from training.torchrun import Place

T = TypeVar("T")
U = TypeVar("U")

PATIENCE = timedelta(minutes=30)  # process 0 evaluates and draws while the others wait
_EXPECTED = (AnnotationError, ModelError, TrainingError, OSError)


class PeersLost(ConnectionError):
    """Another process of this training has ended; this one cannot go on without."""


class Differs(TrainingError, ValueError):
    """Two processes of one training were given different things; the message names the processes."""


class World:
    """All processes of one training as one of them sees them; every method but the properties is called by all."""

    def __init__(self, place: Place | None = None) -> None:
        """Stand for a process that is alone, or for one of the group that `joined` has made."""
        self.place = place or Place()

    @property
    def is_first(self) -> bool:
        """Tell whether this process is the one that speaks and writes."""
        return self.place.is_first

    @property
    def size(self) -> int:
        """Return how many processes there are."""
        return self.place.size

    def gather(self, value: T) -> list[T]:
        """Return what each process gave, in the order of the processes."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def first(self, action: Callable[[], T]) -> T:
        """Let process 0 alone do something; all get what it returns, or end with what it raises."""
        if self.size == 1:
            return action()
        failure: Exception | None = None
        shared: list[Any] = [None, None]
        if self.is_first:
            try:
                shared[0] = action()
            except _EXPECTED as error:
                failure, shared[1] = error, str(error)
        dist.broadcast_object_list(shared, src=0)
        if failure is not None:
            raise failure
        if shared[1] is not None:
            raise Elsewhere(shared[1])
        result: T = shared[0]
        return result

    def together(self, action: Callable[[], T]) -> T:
        """Let every process do something that may fail; if it fails in one, all end, and process 0 tells why."""
        failure: Exception | None = None
        result: Any = None
        try:
            result = action()
        except _EXPECTED as error:
            failure = error
        failures = self.gather(None if failure is None else f"{self.place}: {failure}")
        if failure is not None:
            raise self.once(failure)
        if told := next((text for text in failures if text is not None), None):
            raise self.once(Differs(told))
        agreed: T = result
        return agreed

    def once(self, error: Exception) -> Exception:
        """Return an error that all processes have as what to raise, so that process 0 alone tells it."""
        return error if self.is_first else Elsewhere(str(error))

    def check_same(self, what: str, value: object) -> None:
        """Make sure that all processes have the same of something.

        Raises:
            Differs: not so.
        """
        found = self.gather((value, str(self.place)))
        for other, place in found:
            if other != found[0][0]:
                raise self.once(Differs(f"{place} and {found[0][1]} do not have the same {what}"))

    def any(self, flag: bool) -> bool:
        """Tell whether it is true in any process."""
        return self.total([float(flag)])[0] > 0 if self.size > 1 else flag

    def total(self, values: Sequence[float]) -> list[float]:
        """Return the sum of each value over the processes, in float64."""
        if self.size == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(sums)
        added: list[float] = sums.tolist()
        return added

    def share_cores(self) -> None:
        """Let this process compute with its share of the machine's cores alone."""
        torch.set_num_threads(self.place.threads())

    def wait(self) -> None:
        """Wait until all are here."""
        self.any(flag=False)

    def of_first(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors that process 0 has by these names, which all have in the same shapes."""
        if self.size == 1:
            return tensors
        copies = {
            name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
        }
        for copy in copies.values():
            dist.broadcast(copy, src=0)
        return copies

    def share(self, items: Sequence[T], work: Callable[[Sequence[T]], Sequence[U]]) -> list[U]:
        """Let each process work on its share of some items, each of them once; all get all results, in their order."""
        if self.size == 1:
            return list(work(items))
        results: list[Any] = [None] * len(items)
        for rank, part in enumerate(self.gather(list(work(items[self.place.rank :: self.size])))):
            results[rank :: self.size] = part
        return results

    def wrap(self, network: nn.Module, device: torch.device) -> nn.Module:
        """Return what to call in place of a network so that its gradients become the mean over the processes.

        The weights of process 0 are copied to all. Batch norm that learns takes its statistics from the images of all
        processes on CUDA; on a CPU, for which torch has no such layer, each from its own, and process 0's are kept.
        """
        if self.size == 1:
            return network
        learns = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
        if learns and device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        wrapped = DistributedDataParallel(network, device_ids=[device] if device.type == "cuda" else None)
        wrapped.broadcast_buffers = learns  # at each step; its argument's name depends on the version
        return wrapped


@contextmanager
def joined(place: Place, *, device: str) -> Iterator[World]:
    """Meet the other processes that torchrun has started, until the end of the block.

    Args:
        place: which one this is.
        device: as asked for: with `cpu` there is no need for CUDA.

    Raises:
        PeersLost: another one has died.
    """
    if place.size == 1:
        yield World(place)
        return
    has_cuda = device != "cpu" and torch.cuda.is_available()
    if has_cuda and place.local_rank < torch.cuda.device_count():
        torch.cuda.set_device(place.local_rank)
    dist.init_process_group("cpu:gloo,cuda:nccl" if has_cuda else "gloo", timeout=PATIENCE)
    try:
        yield World(place)
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        why = re.sub(r"^\[\S+\] ", "", str(error)).partition(". ")[0]  # Gloo begins with its source's line
        raise PeersLost(f"another process has ended; {place} cannot go on without: {why}") from error
    dist.destroy_process_group()


def device_of(world: World, asked: str) -> str:
    """Return the device of each process: the CPU, or the GPU of its number on its machine.

    Raises:
        DeviceNotAvailable: fewer GPUs than processes on a machine, or one GPU named for all.
        Differs: some have a GPU and others none.
    """
    place = world.place
    if place.size == 1:
        return choose_device(asked)

    def choose() -> str:
        if asked.startswith("cuda:"):
            raise DeviceNotAvailable(f"device {asked!r} is one GPU for {place.local_size} processes; accepted: cuda")
        device = choose_device(asked)
        if device == "cpu":
            return device
        count = torch.cuda.device_count()
        if count < place.local_size:
            raise DeviceNotAvailable(
                f"device {asked!r}: this machine has {count} CUDA devices for {place.local_size} processes; "
                f"accepted: --nproc-per-node up to {count}, or --device cpu"
            )
        return f"cuda:{place.local_rank}"

    device = world.together(choose)
    world.check_same("kind of device", device.partition(":")[0])
    return device
