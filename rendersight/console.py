"""What every verb does on a terminal: progress bars and messages."""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from tqdm import tqdm

Bar = Callable[..., Any]
"""Wraps an iterable in a progress bar, as tqdm does."""

progress_bar = partial(tqdm, leave=False, dynamic_ncols=True, disable=None)
"""A progress bar on a terminal, nothing elsewhere."""


def bar_of(what: str) -> Any:
    """Return a progress bar that says what it counts."""
    return partial(progress_bar, desc=what)


def say(line: str) -> None:
    """Write a line to standard error, above a progress bar."""
    tqdm.write(line, file=sys.stderr)


def show(line: str) -> None:
    """Write a line of the result to standard output, above a progress bar."""
    tqdm.write(line, file=sys.stdout)
