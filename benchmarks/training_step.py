"""Where the time of a training step of `make` goes: `python -m benchmarks.training_step [CUTOUTS]`.

Steps of the preset make-cpu on composites, for each number of frozen backbone stages in turn; then the composites that
one core draws in a second. CUTOUTS is a folder of `python -m training cutouts`; without it, plain discs are pasted.
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from model_store import architectures
from model_store.store import DEFAULT_ROOT
from training.config import TrainConfig, resolve
from training.data.dataset import to_network
from training.data.transforms import Sample
from training.learning.ignoring import ignore_regions
from training.learning.mixture import camera_of, open_compositor, sample_of
from training.learning.network import apply_speed_ups, make_optimizer, size_for_training
from training.learning.weights import load_initial_weights
from training.synthetic.composites.compositor import CompositeOptions, Compositor
from training.synthetic.composites.cutouts import Cutout, read_cutouts
from training.synthetic.composites.parts import OBJECTS

FORWARD = ("transform", "backbone", "rpn", "roi_heads")
PARTS = (*FORWARD, "backward", "optimizer")
FROZEN = (0, 1, 2, 3)
_RADIUS_PX = 59


def discs() -> Compositor:
    """Return composites of discs of two classes before drawn grounds."""
    y, x = np.mgrid[-60:60, -60:60]
    alpha = np.where(np.hypot(x, y) < _RADIUS_PX, 255, 0)
    cutouts = []
    for name, rgb in (("a", (200, 40, 30)), ("b", (30, 80, 200))):
        rgba = np.dstack([*(np.full((120, 120), value) for value in rgb), alpha]).astype(np.uint8)
        cutouts.append(Cutout(rgba, name, "", 1.0, 120.0))
    return Compositor(cutouts, [], CompositeOptions())


def composites_of(folder: Path | None, config: TrainConfig) -> tuple[Compositor, tuple[str, ...]]:
    """Return a source of composites and its classes."""
    if folder is None:
        return discs(), ("a", "b")
    names = tuple(sorted({item.label for item in read_cutouts(folder / OBJECTS)}))
    return open_compositor(folder, names, config), names


class Stopwatch:
    """Adds up the seconds of each part of a step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def watch(self, network: nn.Module) -> None:
        """Time the forward pass of each part of a network."""
        for name in FORWARD:
            part, began = getattr(network, name), [0.0]
            part.register_forward_pre_hook(lambda *_, began=began: began.__setitem__(0, time.perf_counter()))
            part.register_forward_hook(lambda *_, began=began, name=name: self.add(name, began[0]))

    def add(self, name: str, began: float) -> None:
        """Add the time since `began` to a part."""
        self.seconds[name] += time.perf_counter() - began


def stepper(config: TrainConfig, class_names: Sequence[str]) -> Callable[[Sequence[Sample]], dict[str, float]]:
    """Return a function that trains on a batch and returns the seconds of each part."""
    network = architectures.build(
        config.architecture, class_count=len(class_names), options=config.network_options()
    ).train()
    load_initial_weights(
        network,
        config.weights,
        architecture=config.architecture,
        class_names=class_names,
        store_root=DEFAULT_ROOT,
    )
    architectures.freeze_stages(network, config.architecture, config.frozen_stages)
    size_for_training(network, config)
    ignore_regions(network)
    apply_speed_ups(network, config, torch.device("cpu"), say=print)
    optimizer, watch = make_optimizer(network, config), Stopwatch()
    watch.watch(network)

    def step(batch: Sequence[Sample]) -> dict[str, float]:
        watch.seconds.clear()
        loss = torch.stack(list(network(*to_network(batch, torch.device("cpu"))).values())).sum()
        began = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        watch.add("backward", began)
        began = time.perf_counter()
        optimizer.step()
        watch.add("optimizer", began)
        return dict(watch.seconds)

    return step


def composites_a_second(compositor: Compositor, class_names: Sequence[str], config: TrainConfig, count: int) -> float:
    """Return the composites, with what a camera does to them, that this thread draws in a second."""
    camera = camera_of(config)
    began = time.perf_counter()
    for seed in range(count):
        camera(sample_of(compositor.draw(seed), class_names, index=0))
    return count / (time.perf_counter() - began)


def main() -> None:
    """Time the steps alternately and print ms a step."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_step", description=__doc__)
    parser.add_argument("cutouts", type=Path, nargs="?", help="folder of `python -m training cutouts`")
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    config = resolve("make-cpu", {})
    compositor, names = composites_of(options.cutouts, config)
    cv2.setNumThreads(1)
    steppers = {count: stepper(config.model_copy(update={"frozen_stages": count}), names) for count in FROZEN}
    seconds: dict[int, list[dict[str, float]]] = {count: [] for count in FROZEN}
    for number in range(options.rounds + 1):
        batch = [
            sample_of(compositor.draw(number * config.batch_size + i), names, index=i) for i in range(config.batch_size)
        ]
        for count, step in steppers.items():
            found = step(batch)
            if number:  # the first round warms up
                seconds[count].append(found)
    _print(seconds, config)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rate = composites_a_second(compositor, names, config, 40)
    print(f"composites: {rate:.1f} a second on one core; the step above used {threads} threads")


def _print(seconds: dict[int, list[dict[str, Any]]], config: TrainConfig) -> None:
    print(f"ms of a step of {config.batch_size} windows of {config.crop_px} px, medians")
    print("frozen stages  " + "  ".join(f"{name:>9}" for name in (*PARTS, "sum")) + "  windows/s")
    for count, rounds in seconds.items():
        medians = [1000 * statistics.median(found[name] for found in rounds) for name in PARTS]
        rate = config.batch_size / (sum(medians) / 1000)
        print(f"{count:13}  " + "  ".join(f"{ms:9.0f}" for ms in (*medians, sum(medians))) + f"  {rate:9.1f}")


if __name__ == "__main__":
    main()
