"""Progress bars and messages on a terminal, shared by all verbs."""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from tqdm import tqdm

Bar = Callable[..., Any]
"""Wrapper of an iterable in a progress bar, as tqdm is."""

progress_bar = partial(tqdm, leave=False, dynamic_ncols=True, disable=None)
"""Progress bar on a terminal; nothing elsewhere."""


def bar_of(what: str) -> Any:
    """Return a progress bar with a label for what it counts."""
    return partial(progress_bar, desc=what)


def say(line: str) -> None:
    """Write a line to standard error, above a progress bar."""
    tqdm.write(line, file=sys.stderr)


def show(line: str) -> None:
    """Write a line of the result to standard output, above a progress bar."""
    tqdm.write(line, file=sys.stdout)
