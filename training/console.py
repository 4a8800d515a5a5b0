"""Messages and progress. Of several processes, only the first one writes to the terminal."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from datetime import timedelta
from functools import partial
from threading import Event, Thread
from typing import Any, TypeVar

from rendersight import console
from rendersight.console import Bar, show
from training.time_left import SecondsPerItem
from training.torchrun import this_process

__all__ = [
    "Bar",
    "bar_of",
    "clock",
    "progress_bar",
    "say",
    "show",
]

T = TypeVar("T")

LINE_EVERY_S = 10.0
"""Seconds between two lines of progress, where there is no terminal for a bar."""


def say(line: str) -> None:
    """Write a line to standard error, above any progress bar."""
    if this_process().is_first:
        console.say(line)


def progress_bar(items: Iterable[T], **options: Any) -> Iterable[T]:
    """Wrap items in a progress bar, or print a line every ten seconds if standard error is no terminal."""
    if not this_process().is_first:
        return items
    shown: Iterable[T] = console.progress_bar(items, **options) if sys.stderr.isatty() else _lines(items, **options)
    return shown


def _lines(
    items: Iterable[T], *, desc: str = "progress", total: int | None = None, initial: int = 0, **_: Any
) -> Iterator[T]:
    """Yield the items, and print how far they are every ten seconds. A thread prints: one item may take minutes."""
    count = len(items) if total is None and isinstance(items, Sized) else total
    began, done, speed, ended = time.monotonic(), initial, SecondsPerItem(), Event()

    def tell() -> None:
        while not ended.wait(LINE_EVERY_S):
            each = speed.each_s
            text = f"{desc}: {done}" + (f" of {count}" if count else "")
            left = f", about {clock(each * (count - done))} left" if each is not None and count else ""
            say(f"{text} after {clock(time.monotonic() - began)}{left}")

    Thread(target=tell, name="progress", daemon=True).start()
    try:
        before = began
        for item in items:
            yield item
            done += 1
            now = time.monotonic()
            if done > initial + 1:  # the first item waits for processes to start
                speed.add(now - before)
            before = now
    finally:
        ended.set()


def bar_of(what: str) -> Bar:
    """Return a progress bar with a fixed description."""
    return partial(progress_bar, desc=what)


def clock(seconds: float) -> str:
    """Format a duration as h:mm:ss, with any days in front."""
    return str(timedelta(seconds=round(seconds)))
