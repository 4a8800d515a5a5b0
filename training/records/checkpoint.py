"""Checkpoints of a run, written atomically: a killed process leaves no partial file in place."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rendersight import atomic
from training.errors import TrainingError

LAST = "last.pt"
BEST = "best.pt"


class BrokenCheckpoint(TrainingError, ValueError):
    """A checkpoint file that is missing or was not written by this program. The message names the file."""


@dataclass
class Progress:
    """Progress of a training run.

    Attributes:
        epoch: the current epoch, from 0; equal to the number of epochs when done.
        batch: number of finished batches of this epoch.
        loss_sums: name -> sum of the loss term over those batches; None before the first.
        seconds: training time of this epoch so far, s.
        best_ap: AP of the best checkpoint; below 0 before the first evaluation.
    """

    epoch: int = 0
    batch: int = 0
    loss_sums: dict[str, float] | None = None
    seconds: float = 0.0
    best_ap: float = -1.0


def save_last(
    folder: Path,
    progress: Progress,
    *,
    network: dict[str, Any],
    average: dict[str, Tensor] | None,
    optimizer: dict[str, Any],
) -> None:
    """Write the complete training state, so that a run can be resumed without any change in its result."""
    content = {
        "progress": vars(progress),
        "network": network,
        "average": average,
        "optimizer": optimizer,
    }
    _write_tensors(folder / LAST, content)


def load_last(folder: Path) -> dict[str, Any]:
    """Read the last checkpoint of a run.

    Returns:
        The arguments of `save_last` by name: `progress`, `network`, `average` and `optimizer`.

    Raises:
        BrokenCheckpoint: the file is missing or unreadable.
    """
    path = folder / LAST
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        content["progress"] = Progress(**content["progress"])
    except OSError as error:
        raise BrokenCheckpoint(f"{path}: {error.strerror}") from error
    except Exception as error:  # torch and zipfile raise many types for a foreign file
        raise BrokenCheckpoint(f"{path}: not a checkpoint of this program ({error})") from error
    return content


def save_best(folder: Path, state_dict: dict[str, Tensor]) -> None:
    """Write the weights of the best epoch as a plain state dict."""
    _write_tensors(folder / BEST, state_dict)


def _write_tensors(path: Path, content: dict[str, Any]) -> None:
    """Write tensors through memory: torch's own file writer may abort the process if the disk is full."""
    buffer = io.BytesIO()
    torch.save(content, buffer)

    def write(draft: Path) -> None:
        try:
            draft.write_bytes(buffer.getbuffer())
        except OSError as error:
            raise OSError(f"{path} could not be written; check the free space ({error.strerror})") from error

    atomic.write_file(path, write)
