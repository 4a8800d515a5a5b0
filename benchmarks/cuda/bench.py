"""The models and variants run on the device, and the timing of a run."""

import argparse
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torchvision.models.detection import FasterRCNN

from benchmarks import seeded
from benchmarks.cuda.parity import EXACT, REDUCED, Limits, eager
from model_store import store
from model_store.engines.torch import TorchEngine
from model_store.model_info import ModelInfo
from model_store.network import load_network
from rendersight import images
from rendersight.detections import Detections
from rendersight.images import RgbImage

SEEDED = "seeded-resnet50"
"""Model name of the network of `benchmarks.seeded`, as a bare state dict."""

WARM_UPS = 2
"""Untimed runs before the timed ones."""

_LEAST_RUNS = 3
_LONGEST_MS = 5000.0


@dataclass(frozen=True)
class Variant:
    """One way to compute on the device.

    Attributes:
        precision: precision of the engine.
        tf32: whether cuDNN may round the inputs of fp32 convolutions to TF32, torch's default.
        limits: limits of its parity.
    """

    precision: str
    tf32: bool = True
    limits: Limits = REDUCED


VARIANTS = {
    "fp32": Variant("fp32"),
    "fp32-ieee": Variant("fp32", tf32=False, limits=EXACT),
    "fp16": Variant("fp16"),
    "bf16": Variant("bf16"),
}
ON_CPU = ("fp32-ieee", "bf16")  # a CPU has no TF32 and no fast fp16


@dataclass(frozen=True)
class Model:
    """A network to run; `ref` is the argument of `open_detector`."""

    name: str
    ref: str
    info: ModelInfo
    network: FasterRCNN


@dataclass(frozen=True)
class Bench:
    """Inputs that all tables share.

    Attributes:
        device: `cpu` or `cuda:N`.
        models: networks to run.
        variants: names in `VARIANTS`.
        files: photos as JPEG.
        options: arguments of the command.
    """

    device: str
    models: Sequence[Model]
    variants: Sequence[str]
    files: Sequence[bytes]
    options: argparse.Namespace
    _references: dict[str, list[Detections]] = field(default_factory=dict)

    @property
    def is_cuda(self) -> bool:
        """Whether the device is a GPU."""
        return self.device != "cpu"

    def pictures(self, count: int) -> list[RgbImage]:
        """Return `count` photos, repeating them if there are fewer."""
        return [images.decode(file) for file in itertools.islice(itertools.cycle(self.files), count)]

    def reference(self, model: Model) -> list[Detections]:
        """Return the detections of eager fp32 on the CPU for each photo."""
        if model.name not in self._references:
            self._references[model.name] = [eager(model.network, image) for image in self.pictures(len(self.files))]
        return self._references[model.name]

    @contextmanager
    def engine(self, model: Model, variant: str) -> Iterator[TorchEngine]:
        """Build an engine; it is the only one on the device until the context ends."""
        with tf32(allowed=VARIANTS[variant].tf32):
            yield TorchEngine(model.network, self.device, VARIANTS[variant].precision)

    def synchronize(self) -> None:
        """Wait until the device has finished all work."""
        if self.is_cuda:
            torch.cuda.synchronize(self.device)

    def timed(self, run: Callable[[], object]) -> list[float]:
        """Return the milliseconds of several runs after the warm-up; slow runs are repeated fewer times."""
        taken: list[float] = []
        for number in range(WARM_UPS + self.options.repeats):
            self.synchronize()
            began_s = time.perf_counter()
            run()
            self.synchronize()
            if number >= WARM_UPS:
                taken.append(1000 * (time.perf_counter() - began_s))
            if len(taken) >= _LEAST_RUNS and sum(taken) > _LONGEST_MS:
                break
        return taken


@contextmanager
def tf32(*, allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32 in cuDNN's fp32 convolutions."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def load(name: str, scratch: Path, *, min_size: int | None) -> Model:
    """Load a release or a state dict's file, or make the seeded network.

    Args:
        name: argument of `open_detector`, or `SEEDED`.
        scratch: folder for the file of the seeded network.
        min_size: length in px of the shorter side of a resized photo; None uses the network's own.
    """
    ref = name
    if name == SEEDED:
        ref = str(scratch / f"{SEEDED}.pt")
        torch.save(seeded.network().state_dict(), ref)
    loaded = load_network(ref, store_root=store.DEFAULT_ROOT)
    info, network = loaded.info, loaded.network.eval()
    if min_size is not None:
        network.transform.min_size = (min_size,)
        info = replace(info, input=info.input.model_copy(update={"min_size": min_size}))
    return Model(name if name == SEEDED else f"{info.name}@{info.version}", ref, info, network)
