"""Command line of training: parser, choice of the verb, messages and exit statuses."""

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path

from model_store.errors import ModelError
from rendersight import images
from rendersight.annotations import AnnotationError
from training.commands import DISTRIBUTED_VERBS, VERBS
from training.console import Stopped
from training.errors import NotDistributed, PeerFailed, TrainingError
from training.torchrun import Process, this_process

PROGRAM = "python -m training"

_FAILED = 1
_USAGE = 2
_INTERRUPTED = 130
_BAD_INPUT = (AnnotationError, ModelError, TrainingError)
_SAID_BY_FIRST = (PeerFailed, NotDistributed, Stopped, ConnectionError, str)  # raised in every process of a command
_OURS = ("training", "model_store", "rendersight")


def main(arguments: Sequence[str] | None = None, *, program: str = PROGRAM) -> int:
    """Run one verb.

    Args:
        arguments: command-line arguments, the verb first; None takes those of this process.
        program: program name, printed at the start of messages.

    Returns:
        The exit status: 0, 1 if the system refuses a file operation, 2 for bad input, 130 when stopped.
    """
    images.configure_pillow()
    process = this_process()
    try:
        options = _parse(arguments, program, process)
        if process.size > 1 and options.verb_name not in DISTRIBUTED_VERBS:
            raise NotDistributed(
                f"{options.verb_name} runs in one process; torchrun starts {' and '.join(DISTRIBUTED_VERBS)}"
            )
        options.verb(options)
    except _BAD_INPUT as error:
        return _end(program, error, _USAGE, process)
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package in _OURS:
            raise
        hint = "pip install 'rendersight[train]', or make .venv/dev.stamp"
        return _end(program, ImportError(f"the package {package} is not installed: {hint}"), _USAGE, process)
    except OSError as error:  # no permission, no space left
        return _end(program, error, _FAILED, process)
    except Stopped as stop:
        return _end(program, stop, _INTERRUPTED, process)
    except KeyboardInterrupt:
        return _end(program, "stopped", _INTERRUPTED, process)
    return 0


def _parse(arguments: Sequence[str] | None, program: str, process: Process) -> argparse.Namespace:
    parser = build_parser(program)
    if process.local_rank == 0:  # once per machine: the arguments may differ between machines
        return parser.parse_args(arguments)
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        return parser.parse_args(arguments)


def _end(program: str, why: object, status: int, process: Process) -> int:
    speaks = process.local_rank == 0 if isinstance(why, NotDistributed) else process.is_first
    if speaks or not isinstance(why, _SAID_BY_FIRST):
        name = program if process.is_first else f"{program}, {process}"
        print(f"{name}: {why}", file=sys.stderr)
    return status


def build_parser(program: str = PROGRAM, verbs: Iterable[str] = VERBS) -> argparse.ArgumentParser:
    """Return a parser for these verbs. A test checks the commands in docs/ against the parser for all verbs."""
    parser = argparse.ArgumentParser(prog=program, description="Train detectors, measure them and make releases.")
    added = parser.add_subparsers(metavar="VERB", required=True)
    for name in verbs:
        add_flags(added.add_parser(name, help=VERBS[name]), name)
    return parser


def add_flags(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add a verb's flags to a parser. Set the option `verb` to the function to run and `verb_name` to the name."""
    module = import_module(f"training.commands.{verb}")
    module.add_flags(parser)
    parser.set_defaults(verb=module.run, verb_name=verb)
