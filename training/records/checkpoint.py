"""Save and resume a run: files that are whole or not there, whenever the process is killed."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model_store.drafts import locked
from training.errors import TrainingError

LAST = "last.pt"
BEST = "best.pt"


class BrokenCheckpoint(TrainingError, ValueError):
    """A checkpoint file is missing or is none of this program's; the message names it."""


@dataclass
class Progress:
    """Where a training stands.

    Attributes:
        epoch: the current one, from 0; equal to the number of epochs when done.
        batch: batches of it that are done.
        loss_sums: sums of the loss terms over those batches.
        seconds: spent training in this epoch so far.
        best_ap: AP of the best checkpoint; below 0 before the first evaluation.
    """

    epoch: int = 0
    batch: int = 0
    loss_sums: dict[str, float] | None = None
    seconds: float = 0.0
    best_ap: float = -1.0


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file beside `path`, force it to disk and put it in place in one step.

    Raises:
        OSError: it could not be written; what was at `path` is still there.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.touch()
        with locked(draft):
            write(draft)
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def drafts_of(path: Path) -> Iterator[Path]:
    """Return what processes are writing to put it at `path`, or were when they were killed."""
    return path.parent.glob(f".{path.name}.[0-9]*")


def save_last(
    folder: Path,
    progress: Progress,
    *,
    network: dict[str, Any],
    average: dict[str, Tensor] | None,
    optimizer: dict[str, Any],
) -> None:
    """Write all that `load_last` needs to go on as if nothing had happened."""
    content = {
        "progress": vars(progress),
        "network": network,
        "average": average,
        "optimizer": optimizer,
    }
    _write_tensors(folder / LAST, content)


def load_last(folder: Path) -> dict[str, Any]:
    """Read the last checkpoint of a run, as `save_last` took it.

    Raises:
        BrokenCheckpoint: missing or unreadable.
    """
    path = folder / LAST
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        content["progress"] = Progress(**content["progress"])
    except OSError as error:
        raise BrokenCheckpoint(f"{path}: {error.strerror}") from error
    except Exception as error:  # torch and zipfile raise many kinds for a file that is none of theirs
        raise BrokenCheckpoint(f"{path}: no checkpoint of this program ({error})") from error
    return content


def save_best(folder: Path, state_dict: dict[str, Tensor]) -> None:
    """Write the weights of the best epoch, as `torch.save(model.state_dict(), ...)` does."""
    _write_tensors(folder / BEST, state_dict)


def _write_tensors(path: Path, content: dict[str, Any]) -> None:
    def write(draft: Path) -> None:
        try:
            torch.save(content, draft)
        except RuntimeError as error:  # torch's writer keeps the system's reason to itself
            raise OSError(f"{path} could not be written, is there space left? ({error})") from error

    write_atomically(path, write)
