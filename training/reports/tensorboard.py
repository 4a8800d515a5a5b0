"""A run's curves for TensorBoard, where it is installed; else nothing is written and nothing is said."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from training.measuring.evaluation import FIGURES

FOLDER = "tensorboard"

_POINT = ("f1", "precision", "recall", "threshold")
_TRAINING = ("learning_rate", "images_per_s")


def write_scalars(run: Path, epoch: Mapping[str, Any]) -> None:
    """Add an epoch, a line of the run's metrics, to the curves; what was there of this and later epochs is replaced.

    Each epoch has a file of its own, so that a run which was killed can repeat its last one.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - it is an extra of the installation
    except ImportError:
        return
    writer: Any = SummaryWriter(run / FOLDER, purge_step=epoch["epoch"])
    with writer:
        for tag, value in scalars(epoch):
            writer.add_scalar(tag, value, epoch["epoch"])


def scalars(epoch: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Return the tags and values of an epoch; a figure below 0 could not be measured and is left out."""
    for name, value in epoch.items():
        if name.startswith("loss"):
            yield f"loss/{name.removeprefix('loss_')}", value
        elif name in _TRAINING:
            yield f"training/{name}", value
        elif name in (*FIGURES, *_POINT) and value >= 0:
            yield f"hold-out/{name}", value
