"""What every verb does on a terminal: progress bars, messages, and a stop that loses nothing."""

import signal
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

from tqdm import tqdm

Bar = Callable[..., Any]
"""Wraps an iterable in a progress bar, as tqdm does."""

progress_bar = partial(tqdm, leave=False, dynamic_ncols=True, disable=None)
"""A progress bar on a terminal, nothing elsewhere."""


class Stopped(Exception):
    """The work was asked to stop and has saved itself; the message tells how to go on."""


def bar_of(what: str) -> Any:
    """Return a progress bar that says what it counts."""
    return partial(progress_bar, desc=what)


def say(line: str) -> None:
    """Write a line to standard error, above a progress bar."""
    tqdm.write(line, file=sys.stderr)


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
