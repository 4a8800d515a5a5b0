"""History of a run, read from its folder: metrics by epoch, best epoch and training time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from training.records.run_folder import (
    HOLD_OUT_LIST,
    METRICS,
    TRAIN_LIST,
    RunError,
    RunRecord,
    read_metrics,
    read_names,
)


@dataclass(frozen=True)
class History:
    """Record, split and metrics of a run with at least one finished epoch.

    Attributes:
        record: the run's record, written at its start.
        train: names of the training images.
        hold_out: names of the hold-out images.
        epochs: metrics of each finished epoch.
    """

    record: RunRecord
    train: tuple[str, ...]
    hold_out: tuple[str, ...]
    epochs: tuple[dict[str, Any], ...]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a run folder.

        Raises:
            RunError: the folder holds no run, no epoch has ended, or a file is broken.
        """
        record = RunRecord.read(folder)
        train, hold_out = (tuple(read_names(folder / name)) for name in (TRAIN_LIST, HOLD_OUT_LIST))
        try:
            history = cls(record, train, hold_out, tuple(read_metrics(folder)))
            if not history.epochs:
                raise RunError(f"{folder} has no finished epoch yet")
            # raise here if a line lacks a value that readers need
            _ = history.training_s, [history.best[name] for name in ("epoch", "threshold", "per_class_ap")]
        except (ValueError, TypeError, KeyError) as error:
            if isinstance(error, RunError):
                raise
            raise RunError(f"{folder / METRICS} is broken: {error}") from error
        return history

    @property
    def best(self) -> Mapping[str, Any]:
        """Metrics of the epoch whose weights are kept; see `best_epoch`."""
        return best_epoch(self.epochs)

    @property
    def training_s(self) -> float:
        """Training time of all epochs, s, without reading the dataset and measuring the hold-out images."""
        return sum(len(self.train) / rate for epoch in self.epochs if (rate := float(epoch["images_per_s"])) > 0)

    @property
    def images_per_s(self) -> float:
        """Training images per second, over all epochs."""
        return len(self.train) * len(self.epochs) / max(self.training_s, 1e-9)


def best_epoch(epochs: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the metrics of the epoch saved as `best.pt`: the first one with the highest AP.

    If no object is held out, there is no AP, and the latest epoch is returned.
    """
    measured = [epoch for epoch in epochs if epoch["AP"] is not None and epoch["AP"] >= 0]  # -1 in older runs
    return max(measured, key=lambda epoch: float(epoch["AP"])) if measured else epochs[-1]
