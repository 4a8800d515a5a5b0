"""One epoch of training: no files, no flags, no prints."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torchvision.models.detection import FasterRCNN

from training.data.dataset import to_network
from training.data.transforms import Sample
from training.errors import TrainingError
from training.learning.distributed import World
from training.learning.sampling import SeededSampling


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


# What a process computes, and counts for nothing, where a batch has fewer images than there are processes: all of them
# have to take part in the sum of the gradients.
_BLANK = Sample(torch.zeros(3, 32, 32, dtype=torch.uint8), torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 0)


def train_one_epoch(
    network: FasterRCNN,
    batches: Iterable[Sequence[Sample]],
    optimizer: Optimizer,
    schedule: Schedule,
    *,
    sampling: SeededSampling,
    first_step: int,
    clip_norm: float,
    average: WeightAverage | None,
    image_names: Sequence[str],
    world: World | None = None,
    shared: nn.Module | None = None,
) -> Iterator[Step]:
    """Train on the batches of an epoch, or of what is left of it, yielding after each optimizer step.

    Args:
        network: in training mode, on its device.
        batches: lists of samples; with several processes this one's part of each, perhaps none.
        optimizer: over the network's parameters.
        schedule: sets the learning rate of each step.
        sampling: of the network's anchors and proposals.
        first_step: number of the first step over all epochs.
        clip_norm: gradients are scaled down to this norm; 0 leaves them.
        average: updated after each step, if any.
        image_names: name of each image by its index, for messages.
        world: the processes that train together; None for this one alone.
        shared: the network as `World.wrap` returned it; None for this process alone.

    Raises:
        NonFiniteLoss: before the step that would spoil the weights; in all processes.
    """
    world, call = world or World(), shared or network
    device = next(network.parameters()).device
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for number, batch in enumerate(batches, first_step):
        learning_rate = schedule.learning_rate(number)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        computed = batch or [_BLANK]
        sampling.begin(number, [sample.index for sample in computed])
        terms: dict[str, Tensor] = call(*to_network(computed, device))
        loss, losses = _over_whole_batch(terms, sampling.drawn() if batch else {}, world)
        if not math.isfinite(sum(losses.values())):
            raise _not_finite(f"loss of step {number}", losses, batch, image_names, world)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = float(nn.utils.clip_grad_norm_(trainable, clip_norm or math.inf))
        if not math.isfinite(norm):
            raise _not_finite(f"gradient of step {number}", losses, batch, image_names, world)
        optimizer.step()
        if average is not None:
            average.update(network, number)
        yield Step(number, learning_rate, losses, norm)


def _over_whole_batch(
    terms: Mapping[str, Tensor], drawn: Mapping[str, int], world: World
) -> tuple[Tensor, dict[str, float]]:
    """Return the loss to differentiate in this process, and the loss terms of the batch of all processes.

    torchvision divides each term by what was drawn of the images of one process. Weighted by this process's share of
    all draws, times the number of processes, the mean of the gradients over the processes is that of the whole batch.
    """
    if world.size == 1:
        return torch.stack(list(terms.values())).sum(), {name: float(term.detach()) for name, term in terms.items()}
    own = [float(drawn.get(name, 0)) for name in terms]
    sums = world.total([*own, *(count * float(term.detach()) for count, term in zip(own, terms.values(), strict=True))])
    everyone, weighted = sums[: len(own)], sums[len(own) :]
    weights = [count * world.size / total if total else 0.0 for count, total in zip(own, everyone, strict=True)]
    loss = torch.stack([weight * term for weight, term in zip(weights, terms.values(), strict=True)]).sum()
    losses = [total / count if count else 0.0 for total, count in zip(weighted, everyone, strict=True)]
    return loss, dict(zip(terms, losses, strict=True))


def _not_finite(
    what: str, losses: Mapping[str, float], batch: Sequence[Sample], image_names: Sequence[str], world: World
) -> Exception:
    values = ", ".join(f"{name} {value:g}" for name, value in losses.items())
    names = [name for part in world.gather([image_names[sample.index] for sample in batch]) for name in part]
    return world.once(NonFiniteLoss(f"the {what} is not finite: {values}; images: {', '.join(names)}"))
