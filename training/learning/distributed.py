"""Communication between the processes that train one network together, built on torch.distributed.

Every process computes the same state. Only process 0 reads and writes the run folder and prints. Shared values go
through the CPU (Gloo), gradients through the device's own backend (NCCL on CUDA).
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
from training.errors import PeerFailed, TrainingError
from training.torchrun import Process

T = TypeVar("T")
U = TypeVar("U")

PATIENCE = timedelta(minutes=30)  # the others wait while process 0 computes metrics and draws plots
_EXPECTED = (AnnotationError, ModelError, TrainingError, OSError)


class PeersLost(ConnectionError):
    """The loss of another process of this training, without which this one cannot continue."""


class InputMismatch(TrainingError, ValueError):
    """Different input in two processes of one training. The message names the processes."""


class World:
    """The group of processes of one training. Every process must call each method; properties are local."""

    def __init__(self, process: Process | None = None) -> None:
        """Represent a single process (None), or one process of the group that `joined` creates."""
        self.process = process or Process()

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that prints and writes."""
        return self.process.is_first

    @property
    def size(self) -> int:
        """Number of processes."""
        return self.process.size

    def gather(self, value: T) -> list[T]:
        """Return the value of every process, in the order of their ranks."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def first(self, action: Callable[[], T]) -> T:
        """Run an action in process 0 alone, and return its result in every process.

        Raises:
            PeerFailed: the action failed. Process 0 raises the error itself.
        """
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
            raise PeerFailed(shared[1])
        result: T = shared[0]
        return result

    def together(self, action: Callable[[], T]) -> T:
        """Run an action in every process. If it fails in one, every process raises, and process 0 reports the reason.

        Raises:
            InputMismatch: the action failed in another process; raised in process 0.
            PeerFailed: the action failed in some process; raised in all but process 0.
        """
        failure: Exception | None = None
        result: Any = None
        try:
            result = action()
        except _EXPECTED as error:
            failure = error
        failures = self.gather(None if failure is None else f"{self.process}: {failure}")
        if failure is not None:
            raise self.once(failure)
        if told := next((text for text in failures if text is not None), None):
            raise self.once(InputMismatch(told))
        agreed: T = result
        return agreed

    def once(self, error: Exception) -> Exception:
        """Return the error to raise for a failure known to all processes, so that only process 0 reports it."""
        return error if self.is_first else PeerFailed(str(error))

    def check_same(self, what: str, value: object) -> None:
        """Raise unless a value is equal in all processes.

        Args:
            what: name of the value, for the message.
            value: this process's value.

        Raises:
            InputMismatch: the values differ; raised in process 0.
            PeerFailed: the values differ; raised in all but process 0.
        """
        found = self.gather((value, str(self.process)))
        for other, process in found:
            if other != found[0][0]:
                raise self.once(InputMismatch(f"{process} and {found[0][1]} do not have the same {what}"))

    def any(self, flag: bool) -> bool:
        """Return whether the flag is true in any process."""
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
        """Limit torch's threads in this process to its share of the machine's cores."""
        torch.set_num_threads(self.process.threads())

    def wait(self) -> None:
        """Wait until every process has called this."""
        self.any(flag=False)

    def of_first(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return process 0's tensors of these names. The names and shapes must be equal in all processes."""
        if self.size == 1:
            return tensors
        copies = {
            name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
        }
        for copy in copies.values():
            dist.broadcast(copy, src=0)
        return copies

    def share(self, items: Sequence[T], work: Callable[[Sequence[T]], Sequence[U]]) -> list[U]:
        """Divide the items among the processes, and return all results in every process, in the order of the items."""
        if self.size == 1:
            return list(work(items))
        results: list[Any] = [None] * len(items)
        for rank, part in enumerate(self.gather(list(work(items[self.process.rank :: self.size])))):
            results[rank :: self.size] = part
        return results

    def wrap(self, network: nn.Module, device: torch.device) -> nn.Module:
        """Return a wrapped network whose gradients are averaged over the processes.

        The weights of process 0 are copied to all processes. On CUDA, trainable batch norms take their statistics from
        the images of all processes. torch has no such layer for the CPU: there each process uses its own images, and
        the statistics of process 0 are kept.
        """
        if self.size == 1:
            return network
        learns = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
        if learns and device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        wrapped = DistributedDataParallel(network, device_ids=[device] if device.type == "cuda" else None)
        wrapped.broadcast_buffers = learns  # set here: the name of the argument depends on torch's version
        return wrapped


@contextmanager
def joined(process: Process, *, device: str) -> Iterator[World]:
    """Join the process group of torchrun until the end of the block.

    Args:
        process: position of this process.
        device: the requested device; with `cpu` the group does not use CUDA.

    Raises:
        PeersLost: another process has died.
    """
    if process.size == 1:
        yield World(process)
        return
    has_cuda = device != "cpu" and torch.cuda.is_available()
    if has_cuda and process.local_rank < torch.cuda.device_count():
        torch.cuda.set_device(process.local_rank)
    dist.init_process_group("cpu:gloo,cuda:nccl" if has_cuda else "gloo", timeout=PATIENCE)
    try:
        yield World(process)
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        why = re.sub(r"^\[\S+\] ", "", str(error)).partition(". ")[0]  # Gloo's messages begin with [file:line]
        raise PeersLost(f"another process has ended; {process} cannot continue: {why}") from error
    dist.destroy_process_group()


def device_of(world: World, asked: str) -> str:
    """Return the device of this process: the CPU, or the GPU whose number is the local rank.

    Args:
        world: the processes that train together.
        asked: the requested device.

    Raises:
        DeviceNotAvailable: a machine has fewer GPUs than processes, or one GPU is requested for several processes.
        InputMismatch: some processes have a GPU and others do not.
    """
    process = world.process
    if process.size == 1:
        return choose_device(asked)

    def choose() -> str:
        if asked.startswith("cuda:"):
            raise DeviceNotAvailable(f"device {asked!r} is one GPU for {process.local_size} processes; accepted: cuda")
        device = choose_device(asked)
        if device == "cpu":
            return device
        count = torch.cuda.device_count()
        if count < process.local_size:
            raise DeviceNotAvailable(
                f"device {asked!r}: this machine has {count} CUDA devices for {process.local_size} processes; "
                f"accepted: --nproc-per-node up to {count}, or --device cpu"
            )
        return f"cuda:{process.local_rank}"

    device = world.together(choose)
    world.check_same("kind of device", device.partition(":")[0])
    return device
