"""One epoch of training: no files, no flags, no prints."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torchvision.models.detection import FasterRCNN

from training.dataset import to_network
from training.errors import TrainingError
from training.transforms import Sample


class NonFiniteLoss(TrainingError, ArithmeticError):
    """A loss or its gradient became infinite or not a number; the message names the loss terms and the images."""


@dataclass(frozen=True)
class Step:
    """What one optimizer step did: its number from 0, the learning rate, the loss terms and the gradient's norm."""

    number: int
    learning_rate: float
    losses: dict[str, float]
    gradient_norm: float


@dataclass(frozen=True)
class Schedule:
    """Learning rate as a function of the step, so that nothing of it must be saved.

    Attributes:
        kind: `cosine` or `step`; see `TrainConfig.schedule`.
        peak: the highest learning rate.
        steps_per_epoch: optimizer steps in an epoch.
        epochs: of the whole training.
        warmup_steps: of the linear rise from a thousandth of the peak; at most one epoch less a step.
        step_epochs: for `step`, epochs between two falls.
        step_gamma: for `step`, the factor of a fall.
    """

    kind: str
    peak: float
    steps_per_epoch: int
    epochs: int
    warmup_steps: int
    step_epochs: int
    step_gamma: float

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of an optimizer step, counted from 0 over all epochs."""
        warmup = min(self.warmup_steps, self.steps_per_epoch - 1)
        rise = 1.0 if step >= warmup else 0.001 + (1 - 0.001) * step / warmup
        if self.kind == "cosine":
            total = self.steps_per_epoch * self.epochs
            return self.peak * rise * 0.5 * (1 + math.cos(math.pi * step / total))
        fall: float = self.step_gamma ** (step // self.steps_per_epoch // self.step_epochs)
        return self.peak * rise * fall


class WeightAverage:
    """An exponential moving average of a network's weights; buffers are copied as they are.

    Attributes:
        state: name -> averaged tensor, a state dict.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after an optimizer step; early steps count more, so that the start is soon forgotten."""
        decay = min(self.decay, (1 + step) / (10 + step))
        parameters = dict(network.named_parameters())
        for name, tensor in network.state_dict().items():
            if name in parameters:
                self.state[name].lerp_(tensor, 1 - decay)
            else:
                self.state[name].copy_(tensor)


def train_one_epoch(
    network: FasterRCNN,
    batches: Iterable[Sequence[Sample]],
    optimizer: Optimizer,
    schedule: Schedule,
    *,
    first_step: int,
    clip_norm: float,
    average: WeightAverage | None,
    image_names: Sequence[str],
) -> Iterator[Step]:
    """Train on the batches of an epoch, or of what is left of it, yielding after each optimizer step.

    Args:
        network: in training mode, on its device.
        batches: lists of samples.
        optimizer: over the network's parameters.
        schedule: sets the learning rate of each step.
        first_step: number of the first step over all epochs.
        clip_norm: gradients are scaled down to this norm; 0 leaves them.
        average: updated after each step, if any.
        image_names: name of each image by its index, for messages.

    Raises:
        NonFiniteLoss: before the step that would spoil the weights.
    """
    device = next(network.parameters()).device
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for number, batch in enumerate(batches, first_step):
        learning_rate = schedule.learning_rate(number)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        terms: dict[str, Tensor] = network(*to_network(batch, device))
        losses = {name: float(term.detach()) for name, term in terms.items()}
        if not math.isfinite(sum(losses.values())):
            raise NonFiniteLoss(f"the loss of step {number} is not finite: {_describe(losses, batch, image_names)}")
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        norm = float(nn.utils.clip_grad_norm_(trainable, clip_norm or math.inf))
        if not math.isfinite(norm):
            raise NonFiniteLoss(f"the gradient of step {number} is not finite: {_describe(losses, batch, image_names)}")
        optimizer.step()
        if average is not None:
            average.update(network, number)
        yield Step(number, learning_rate, losses, norm)


def _describe(losses: Mapping[str, float], batch: Sequence[Sample], image_names: Sequence[str]) -> str:
    values = ", ".join(f"{name} {value:g}" for name, value in losses.items())
    return f"{values}; images: {', '.join(image_names[sample.index] for sample in batch)}"
