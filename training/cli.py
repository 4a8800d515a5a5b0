"""The command line `python -m training`, run once or by torchrun in several processes."""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path

from rendersight.command_line import BAD_INPUT, FAILED, INTERRUPTED, Program, exit_status
from training.commands import DISTRIBUTED_VERBS, VERBS
from training.errors import NotDistributed, PeerFailed, Stopped, TrainingError
from training.torchrun import Process, this_process

PROGRAM = Program(
    "python -m training",
    "Train detectors, measure them, and publish them as releases.",
    package="training.commands",
    verbs=VERBS,
)

_REPORTED_BY_FIRST = (PeerFailed, NotDistributed, Stopped, KeyboardInterrupt, ConnectionError)
"""Errors that every process of a command raises and one of them reports."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        arguments: command-line arguments, the verb first; None takes those of this process.

    Returns:
        The exit status: 0; 1 if the system refuses a file operation; 2 for bad input; 130 if the user stops the verb;
        141 if the reader of the output has closed it.
    """
    given = sys.argv[1:] if arguments is None else arguments
    process = this_process()

    def say(message: str, error: BaseException) -> None:
        reports = process.local_rank == 0 if isinstance(error, NotDistributed) else process.is_first
        if reports or not isinstance(error, _REPORTED_BY_FIRST):
            name = PROGRAM.name if process.is_first else f"{PROGRAM.name}, {process}"
            sys.stderr.write(f"{name}: {message}\n")

    return exit_status(
        lambda: _run(_parse(given, process), process),
        say=say,
        status_of=_status_of,
        install="make .venv/dev.stamp, or pip install -r requirements/dev.txt",
    )


def _parse(arguments: Sequence[str], process: Process) -> argparse.Namespace:
    """Parse the arguments. Help and usage errors appear once per machine: machines may get different arguments."""
    with ExitStack() as stack:
        if process.local_rank > 0:
            nowhere = stack.enter_context(Path(os.devnull).open("w"))
            stack.enter_context(redirect_stdout(nowhere))
            stack.enter_context(redirect_stderr(nowhere))
        return PROGRAM.parse(arguments)


def _run(options: argparse.Namespace, process: Process) -> int:
    from rendersight import images

    if process.size > 1 and options.verb not in DISTRIBUTED_VERBS:
        raise NotDistributed(f"{options.verb} runs in one process; torchrun starts {' and '.join(DISTRIBUTED_VERBS)}")
    images.configure_pillow()
    return PROGRAM.run(options)


def _status_of(error: Exception) -> int | None:
    from model_store.errors import ModelError
    from rendersight.annotations import AnnotationError

    if isinstance(error, Stopped):
        return INTERRUPTED
    if isinstance(error, (AnnotationError, ModelError, TrainingError)):
        return BAD_INPUT
    return FAILED if isinstance(error, OSError) else None  # no permission, no space left
