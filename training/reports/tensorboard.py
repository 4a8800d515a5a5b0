"""A run's curves for TensorBoard; nothing is written or reported if it is not installed."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from training.measuring.evaluation import FIGURES, POINT

FOLDER = "tensorboard"

_TRAINING = ("learning_rate", "images_per_s")


def write_scalars(run: Path, epoch: Mapping[str, Any]) -> None:
    """Add one epoch of the run's metrics to the curves. It replaces this epoch and all later ones.

    Each epoch has its own file, so that a killed run can repeat its last epoch.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - optional dependency
    except ImportError:
        return
    writer: Any = SummaryWriter(run / FOLDER, purge_step=epoch["epoch"])
    with writer:
        for tag, value in scalars(epoch):
            writer.add_scalar(tag, value, epoch["epoch"])


def scalars(epoch: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the tags and values of an epoch, without figures that could not be measured."""
    for name, value in epoch.items():
        if name.startswith("loss"):
            yield f"loss/{name.removeprefix('loss_')}", value
        elif name in _TRAINING:
            yield f"training/{name}", value
        elif name in (*FIGURES, *POINT) and value is not None:
            yield f"hold-out/{name}", value
