"""A stop that loses nothing, and what the other verbs do on a terminal too; of several processes the first speaks."""

import json
import signal
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from rendersight import console
from rendersight.console import Bar, show
from training.torchrun import place_here

__all__ = [
    "Bar",
    "Stopped",
    "bar_of",
    "clock",
    "print_release",
    "progress_bar",
    "say",
    "show",
    "stop_on_signals",
]

T = TypeVar("T")


def say(line: str) -> None:
    """Write a line to standard error, above a progress bar."""
    if place_here().is_first:
        console.say(line)


def progress_bar(items: Iterable[T], **options: Any) -> Iterable[T]:
    """Show a progress bar on a terminal, nothing elsewhere."""
    shown: Iterable[T] = console.progress_bar(items, **options) if place_here().is_first else items
    return shown


def bar_of(what: str) -> Bar:
    """Return a progress bar that says what it counts."""
    return partial(progress_bar, desc=what)


def print_release(ref: str, folder: Path) -> None:
    """Print a release's name, version and folder as JSON, for scripts."""
    name, _, version = ref.partition("@")
    show(json.dumps({"release": ref, "name": name, "version": int(version), "folder": str(folder)}))


def clock(seconds: float) -> str:
    """Return a duration as h:mm:ss, days before it where it has any."""
    return str(timedelta(seconds=round(seconds)))


class Stopped(Exception):
    """The work was asked to stop and has saved itself; the message tells how to go on."""


def stop_on_signals() -> Callable[[], bool]:
    """Let the first Ctrl-C or SIGTERM ask for a stop after the current step; the second one ends at once."""
    asked: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        say("stopping after this step; once more to stop at once")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
    return lambda: bool(asked)
