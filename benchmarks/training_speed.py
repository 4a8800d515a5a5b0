"""Seconds per training image, ours against the 2021 notebook's loop: `python -m benchmarks.training_speed [DATASET]`.

Both train the same `fasterrcnn_resnet50_fpn` (min_size 512, seeded weights) on the same images in batches of two, in
turns, in one process. The notebook's loop is fp32 in the default memory format; ours is `train_one_epoch` with the
defaults of `TrainConfig`.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch.optim import SGD
from torchvision.models.detection import FasterRCNN

from benchmarks import seeded
from model_store.architectures import freeze_stages
from training.config import resolve
from training.data.dataset import DetectionDataset, LabelledImages, read_dataset
from training.data.transforms import Sample, augmentation
from training.learning.loop import Schedule, train_one_epoch
from training.learning.network import apply_speed_ups, make_optimizer
from training.learning.sampling import SeededSampling

CONFIG = resolve("notebook-2021", {"min_size": 512, "max_size": 512})
DEFAULT_DATASET = Path(__file__).parent.parent / "examples"


def make_network(class_count: int) -> FasterRCNN:
    """Return the seeded network in training mode, with the notebook's stages frozen."""
    network = seeded.network(class_count, CONFIG.network_options())
    freeze_stages(network, CONFIG.architecture, CONFIG.frozen_stages)
    return network.train()


def notebook_steps(data: LabelledImages) -> Callable[[Sequence[Sample]], None]:
    """Return the notebook's training step: plain torch with default settings."""
    network = make_network(len(data.class_names))
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = SGD(trainable, lr=CONFIG.learning_rate, momentum=0.9, weight_decay=0.0005)

    def step(batch: Sequence[Sample]) -> None:
        pixels = [sample.image.float() / 255 for sample in batch]
        targets = [{"boxes": sample.boxes_xyxy, "labels": sample.labels} for sample in batch]
        loss = sum(network(pixels, targets).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def our_steps(data: LabelledImages) -> Callable[[Sequence[Sample]], None]:
    """Return the training step of this project's loop."""
    network = make_network(len(data.class_names))
    optimizer = make_optimizer(network, CONFIG)
    apply_speed_ups(network, CONFIG, torch.device("cpu"), say=print)
    sampling = SeededSampling(network, CONFIG.seed)
    schedule = Schedule("step", CONFIG.learning_rate, 1000, 10, 1000, 3, 0.1)
    names = [image.name for image in data.images]

    def step(batch: Sequence[Sample]) -> None:
        list(
            train_one_epoch(
                network,
                [batch],
                optimizer,
                schedule,
                sampling=sampling,
                first_step=0,
                clip_norm=0.0,
                average=None,
                image_names=names,
            )
        )

    return step


def batches(data: LabelledImages) -> Iterator[list[Sample]]:
    """Yield batches of two, cycling through the data forever."""
    dataset = DetectionDataset(data, augment=augmentation(CONFIG))
    while True:
        for first in range(0, len(dataset) - 1, 2):
            yield [dataset[first], dataset[first + 1]]


def main() -> None:
    """Time both alternately and print seconds per image and their ratio."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_speed", description=__doc__)
    parser.add_argument("dataset", type=Path, nargs="?", default=DEFAULT_DATASET)
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    data = read_dataset(options.dataset)
    steps = {"notebook": notebook_steps(data), "ours": our_steps(data)}
    source = batches(data)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(options.rounds + 1):
        batch = next(source)
        for name, step in steps.items():
            began = time.perf_counter()
            step(batch)
            if number:  # the first round warms up
                seconds[name].append((time.perf_counter() - began) / len(batch))
    for name, values in seconds.items():
        print(f"{name:<9} {statistics.median(values):6.3f} s/image, from {min(values):.3f} to {max(values):.3f}")
    ratios = [ours / theirs for ours, theirs in zip(seconds["ours"], seconds["notebook"], strict=True)]
    print(f"ours / notebook: median {statistics.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")


if __name__ == "__main__":
    main()
