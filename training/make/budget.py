"""The size of a plan for a time budget, from a short measurement of this machine."""

import math
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from training.config import ConfigError
from training.errors import Stopped
from training.learning import run
from training.learning.run import RunContext
from training.make.plan import MakePlan
from training.records.run_folder import read_metrics
from training.synthetic.composites.parts import PartCounts, render_parts
from training.synthetic.dataset import render_dataset

RENDER_SHARE = 0.4
"""Largest share of the budget for rendering. More pictures teach little if the passes over them are missing."""
_TRIED = 6
_BATCHES = 12
_UNITS = {"d": 86400, "h": 3600, "m": 60}


def seconds_of(text: str) -> int:
    """Return the seconds of a duration such as `90m`, `1h30m` or `2d`.

    Raises:
        ConfigError: the text is no such duration.
    """
    if not re.fullmatch(r"(\d+d)?(\d+h)?(\d+m)?", text) or not text:
        raise ConfigError(
            f"--time {text!r} is no duration; accepted: days, hours and minutes, such as 90m, 1h30m or 2d"
        )
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([dhm])", text))


@dataclass(frozen=True)
class Pace:
    """Seconds that this machine takes for a cut-out, a scene and a training window."""

    part_s: float
    scene_s: float
    window_s: float


def measure_pace(plan: MakePlan, context: RunContext) -> Pace:
    """Render and train a little in a temporary folder, and return how long it took.

    Raises:
        BrokenDataset: a picture cannot be rendered.
        Stopped: a stop was requested.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        common: dict[str, Any] = {"workers": plan.blender, "stop_asked": context.stop_asked}
        part_s, clock = 0.0, _Clock()
        if plan.parts is not None:
            render_parts(
                plan.objects, PartCounts(_TRIED, clutter=0, backdrops=0), folder / "parts", progress=clock, **common
            )
            part_s = clock.each_s()
            _stop_if_asked(context)
        clock = _Clock()
        render_dataset(plan.recipe, range(_TRIED), folder / "scenes", progress=clock, **common)
        _stop_if_asked(context)
        batch = plan.config.batch_size
        config = plan.config.model_copy(
            update={"epochs": 1, "hold_out": 2, "composites": _BATCHES * batch if plan.parts else 0, "weights": "none"}
        )
        quiet = replace(context, say=lambda _line: None)
        parts = folder / "parts" if plan.parts else None
        run.start(
            folder / "scenes",
            folder / "run",
            config,
            class_names=plan.class_names,
            context=quiet,
            composites_from=parts,
        )
        return Pace(part_s, clock.each_s(), 1 / read_metrics(folder / "run")[0]["images_per_s"])


def fit(plan: MakePlan, pace: Pace, budget_s: float) -> MakePlan:
    """Return the plan with the counts and epochs that fit a budget.

    The plan's own counts stay if rendering them takes at most `RENDER_SHARE` of the budget; otherwise all of them
    shrink alike. Training gets the time that is left, and at least one epoch.
    """
    counts = plan.parts or PartCounts(0, 0, 0)
    render_s = pace.scene_s * plan.count + pace.part_s * (counts.objects + counts.clutter + counts.backdrops)
    share = min(1.0, RENDER_SHARE * budget_s / render_s)
    views = plan.recipe.views  # those of a settled scene are held out together
    fewest = views * math.ceil(plan.config.hold_out / views) + 1 if plan.config.hold_out >= 1 else views + 1
    parts = None
    if plan.parts is not None:
        objects = max(len(plan.objects), int(share * counts.objects))
        parts = PartCounts(objects, max(1, int(share * counts.clutter)), max(1, int(share * counts.backdrops)))
    count = max(fewest, int(share * plan.count))
    epoch_s = pace.window_s * (count + plan.config.composites)
    epochs = max(1, int((budget_s - share * render_s) / epoch_s))
    return replace(plan, count=count, parts=parts, config=plan.config.model_copy(update={"epochs": epochs}))


def grow(plan: MakePlan, recorded: Mapping[str, Any]) -> MakePlan:
    """Return the plan with the numbers of its work folder, and with more epochs if its budget is larger.

    Args:
        plan: a plan with a time budget.
        recorded: what `read_recorded` gives for its work folder.
    """
    epochs, before_s = int(recorded["epochs"]), recorded.get("time_s")
    if plan.time_s is not None and before_s is not None and plan.time_s > before_s:
        trained = read_metrics(plan.run)
        if trained:  # else `read_progress` refuses to grow
            windows = int(recorded["count"]) + plan.config.composites
            epochs += max(1, int((plan.time_s - before_s) * float(trained[-1]["images_per_s"]) / windows))
    parts = PartCounts(**recorded["cutouts"]) if recorded.get("cutouts") else None
    config = plan.config.model_copy(update={"epochs": epochs})
    return replace(plan, count=int(recorded["count"]), parts=parts, config=config)


class _Clock:
    """A stand-in for a progress bar that notes when each item was done."""

    def __init__(self) -> None:
        self._times_s: list[float] = []

    def __call__(self, items: Iterable[Any], **_: Any) -> Iterator[Any]:
        for item in items:
            self._times_s.append(time.monotonic())
            yield item

    def each_s(self) -> float:
        """Return the mean time between two items, s; 0 without two. The first waits for processes to start."""
        times_s = self._times_s
        return (times_s[-1] - times_s[0]) / (len(times_s) - 1) if len(times_s) > 1 else 0.0


def _stop_if_asked(context: RunContext) -> None:
    if context.stop_asked():
        raise Stopped("stopped before the first picture; repeat the command")
