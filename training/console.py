"""Messages, progress bars and graceful stops. Of several processes, only the first one writes to the terminal."""

import signal
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from types import FrameType
from typing import Any, TypeVar

from rendersight import console
from rendersight.console import Bar, show
from training.torchrun import this_process

__all__ = [
    "Bar",
    "bar_of",
    "clock",
    "progress_bar",
    "say",
    "show",
    "stop_on_signals",
]

T = TypeVar("T")


def say(line: str) -> None:
    """Write a line to standard error, above any progress bar."""
    if this_process().is_first:
        console.say(line)


def progress_bar(items: Iterable[T], **options: Any) -> Iterable[T]:
    """Wrap items in a progress bar, shown only on a terminal."""
    shown: Iterable[T] = console.progress_bar(items, **options) if this_process().is_first else items
    return shown


def bar_of(what: str) -> Bar:
    """Return a progress bar with a fixed description."""
    return partial(progress_bar, desc=what)


def clock(seconds: float) -> str:
    """Format a duration as h:mm:ss, with any days in front."""
    return str(timedelta(seconds=round(seconds)))


def stop_on_signals() -> Callable[[], bool]:
    """Install signal handlers and return a function that reports whether a stop was requested.

    The first Ctrl-C or SIGTERM requests a stop after the current step. The second one raises KeyboardInterrupt.
    """
    asked: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        say("stopping after this step; press Ctrl-C again to stop at once")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
    return lambda: bool(asked)
