"""Estimates of how long `make` takes: assumed before it begins, measured while it renders."""

import time
from collections.abc import Iterable, Iterator
from typing import Any

from model_store.cpu import usable_cores
from training.console import Bar
from training.learning.run import Say
from training.make.plan import MakePlan
from training.time_left import Announcer, duration

CUTOUT_CORE_S = 1.0
"""Seconds of one core to render a cut-out or backdrop, assumed until it is measured; 0.5 to 1.6 were seen."""
RENDER_CORE_S = 3.0
"""Seconds of one core to render an image, assumed until it is measured; pawns and dice took 2.7 to 3.1."""
TRAIN_CORE_S = 0.4
"""Seconds of one core to train on an image in an epoch of the CPU preset, assumed until it is measured.

With bfloat16 it took 0.3.
"""


def summary(plan: MakePlan, device: str) -> str:
    """Return a line that states the planned work and its assumed duration."""
    config = plan.config
    pictures, parts = f"{plan.count} renders", 0
    if plan.parts is not None:
        parts = plan.parts.objects + plan.parts.clutter + plan.parts.backdrops
        pictures = f"{plan.parts.objects} cut-outs, {pictures}"
    work = f"{plan.name}: {pictures}, {config.epochs} epochs of {config.architecture} on {device}, in {plan.out}"
    render = duration((plan.count * RENDER_CORE_S + parts * CUTOUT_CORE_S) / usable_cores())
    train = "an unknown time"
    if device == "cpu" and config.architecture == "fasterrcnn_mobilenet_v2_fpn":
        windows = (plan.count + config.composites) * config.epochs
        train = duration(windows * TRAIN_CORE_S / usable_cores())
    return f"{work}; about {render} to render and {train} to train, until measured"


class EstimatingBar:
    """A progress bar that announces the remaining time."""

    def __init__(self, bar: Bar, say: Say) -> None:
        """Wrap a bar with the interface of tqdm; `say` writes a line for the user."""
        self._bar, self._say = bar, say

    def __call__(self, items: Iterable[Any], **options: Any) -> Iterable[Any]:
        """Wrap an iterable. Without `total` in `options` there is no estimate."""
        total = options.get("total")
        if total is not None:
            items = self._timed(items, total)
        wrapped: Iterable[Any] = self._bar(items, **options)
        return wrapped

    def _timed(self, items: Iterable[Any], total: int) -> Iterator[Any]:
        announcer, before = Announcer(self._say), time.monotonic()
        for number, item in enumerate(items):
            now = time.monotonic()
            if number:  # the first item waits for processes to start
                announcer.add(now - before, left=total - number - 1)
            before = now
            yield item
