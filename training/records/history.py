"""How a run went, read from its folder: which epoch was the best, how long it trained."""

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
    """A run of which an epoch or more has ended.

    Attributes:
        record: what it was to be.
        train: names of the images that it learned from.
        hold_out: names of the images that it was measured on.
        epochs: the lines of its metrics.
    """

    record: RunRecord
    train: tuple[str, ...]
    hold_out: tuple[str, ...]
    epochs: tuple[dict[str, Any], ...]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a run folder.

        Raises:
            RunError: it holds no run, no epoch has ended, or a file is broken.
        """
        record = RunRecord.read(folder)
        train, hold_out = (tuple(read_names(folder / name)) for name in (TRAIN_LIST, HOLD_OUT_LIST))
        try:
            history = cls(record, train, hold_out, tuple(read_metrics(folder)))
            if not history.epochs:
                raise RunError(f"{folder} has no epoch to tell of yet; its first one has not ended")
            # which fail where a line lacks what is told of it
            _ = history.training_s, [history.best[name] for name in ("epoch", "threshold", "per_class_ap")]
        except (ValueError, TypeError, KeyError) as error:
            if isinstance(error, RunError):
                raise
            raise RunError(f"{folder / METRICS} is broken: {error}") from error
        return history

    @property
    def best(self) -> Mapping[str, Any]:
        """The line of the epoch whose weights are kept: see `best_epoch`."""
        return best_epoch(self.epochs)

    @property
    def training_s(self) -> float:
        """Seconds spent training in all epochs; reading the dataset and measuring the hold-out are not in it."""
        return sum(len(self.train) / rate for epoch in self.epochs if (rate := float(epoch["images_per_s"])) > 0)

    @property
    def images_per_s(self) -> float:
        """Images trained on a second, over all epochs."""
        return len(self.train) * len(self.epochs) / max(self.training_s, 1e-9)


def best_epoch(epochs: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the epoch of `best.pt`: the first with the highest AP; the latest where no object is held out."""
    best = max(epochs, key=lambda epoch: float(epoch["AP"]))
    return best if float(best["AP"]) >= 0 else epochs[-1]
