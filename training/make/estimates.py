"""Estimates of how long `make` takes: assumed before it begins, measured after the first items of a stage."""

import time
from collections.abc import Iterable, Iterator
from typing import Any

from model_store.cpu import usable_cores
from training.console import Bar
from training.learning.run import Say
from training.make.plan import MakePlan

RENDER_CORE_S = 3.0
"""Seconds of one core to render an image, assumed until it is measured; pawns and dice took 2.7 to 3.1."""
TRAIN_CORE_S = 0.4
"""Seconds of one core to train on an image in an epoch of the CPU preset, assumed until it is measured.

With bfloat16 it took 0.3.
"""

_MEASURED_ITEMS = 16


def summary(plan: MakePlan, device: str) -> str:
    """Return a line that states the planned work and its assumed duration."""
    config = plan.config
    work = (
        f"{plan.name}: {plan.count} renders, {config.epochs} epochs of {config.architecture} on {device}, in {plan.out}"
    )
    render = duration(plan.count * RENDER_CORE_S / usable_cores())
    train = "an unknown time"
    if device == "cpu" and config.architecture == "fasterrcnn_mobilenet_v2_fpn":
        train = duration(plan.count * config.epochs * TRAIN_CORE_S / usable_cores())
    return f"{work}; about {render} to render and {train} to train, until measured"


def duration(seconds: float) -> str:
    """Format a duration as minutes, or as hours from two hours on."""
    minutes = max(1, round(seconds / 60))
    if minutes < 120:  # noqa: PLR2004
        return f"{minutes} min"
    return f"{minutes / 60:.1f} h"


class EstimatingBar:
    """A progress bar that estimates the remaining time once, after its first items."""

    def __init__(self, bar: Bar, say: Say, *, passes: int = 1) -> None:
        """Wrap a bar.

        Args:
            bar: progress bar with the interface of tqdm.
            say: writes a line for the user.
            passes: number of passes over the items.
        """
        self._bar, self._say, self._passes = bar, say, passes

    def __call__(self, items: Iterable[Any], **options: Any) -> Iterable[Any]:
        """Wrap an iterable. Without `total` in `options` there is no estimate."""
        total = options.get("total")
        if total is not None:
            items = self._timed(items, left=self._passes * total - options.get("initial", 0))
        wrapped: Iterable[Any] = self._bar(items, **options)
        return wrapped

    def _timed(self, items: Iterable[Any], *, left: int) -> Iterator[Any]:
        began = time.monotonic()
        for number, item in enumerate(items):
            if number == 0:
                began = time.monotonic()  # the first item waits for processes to start
            elif number == _MEASURED_ITEMS and self._passes:
                each = (time.monotonic() - began) / number
                self._say(f"{each:.2f} s each, {left - number} left: about {duration(each * (left - number))}")
                self._passes = 0
            yield item
