"""Training loop of one epoch, with its learning rate schedule and weight average. Does no input or output."""

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
    """A loss or gradient that is infinite or NaN. The message names the loss terms and the images."""


@dataclass(frozen=True)
class Step:
    """Result of one optimizer step.

    Attributes:
        number: number of the step over all epochs, from 0.
        learning_rate: learning rate of the step.
        losses: name -> loss term, over the batch of all processes.
        gradient_norm: norm of the gradient before clipping.
    """

    number: int
    learning_rate: float
    losses: dict[str, float]
    gradient_norm: float


@dataclass(frozen=True)
class Schedule:
    """Learning rate as a pure function of the step, so a checkpoint holds no schedule state.

    Attributes:
        kind: `cosine` or `step`; see `TrainConfig.schedule`.
        peak: the highest learning rate.
        steps_per_epoch: optimizer steps per epoch.
        epochs: number of epochs of the whole training.
        warmup_steps: steps of the linear rise from a thousandth of the peak; at most one epoch minus one step.
        step_epochs: epochs between two reductions, if `kind` is `step`.
        step_gamma: factor of a reduction, if `kind` is `step`.
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
    """Exponential moving average of a network's weights. Buffers are copied without averaging.

    Attributes:
        decay: share of the average that each step keeps; early steps keep less.
        state: state dict, name -> averaged tensor.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Add the weights after an optimizer step. Early steps weigh more, so the initial weights soon fade out."""
        decay = min(self.decay, (1 + step) / (10 + step))
        parameters = dict(network.named_parameters())
        for name, tensor in network.state_dict().items():
            if name in parameters:
                self.state[name].lerp_(tensor, 1 - decay)
            else:
                self.state[name].copy_(tensor)


# Input of a process that gets no image because the batch has fewer images than there are processes. Its loss gets the
# weight 0, but every process must take part in the sum of the gradients.
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
    """Train on the given batches of one epoch and yield after each optimizer step.

    Args:
        network: the network, in training mode and on its device.
        batches: lists of samples. With several processes, each list is this process's part and may be empty.
        optimizer: optimizer of the network's parameters.
        schedule: learning rate of each step.
        sampling: sampling of the network's anchors and proposals.
        first_step: number of the first step, counted over all epochs.
        clip_norm: largest gradient norm; larger gradients are scaled down. 0 disables clipping.
        average: weight average to update after each step; None keeps no average.
        image_names: name of each image by its index, for messages.
        world: the processes that train together; None means this process alone.
        shared: the network as `World.wrap` returned it; None means this process alone.

    Raises:
        NonFiniteLoss: a loss or gradient is not finite. Every process raises it before the weights change.
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
    """Return the loss to differentiate in this process, and the loss terms over the batch of all processes.

    torchvision divides each term by the number of anchors or proposals drawn in this process. The weight of a term is
    this process's share of all draws, times the number of processes. With it, the mean of the gradients over the
    processes is the gradient of the whole batch.
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
