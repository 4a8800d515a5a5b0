"""The command line of training: which verb runs, and how it ends."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module

from model_store.errors import ModelError
from rendersight.annotations import AnnotationError
from training.console import Stopped
from training.errors import TrainingError
from training.verbs import VERBS

PROGRAM = "python -m training"

_FAILED = 1
_USAGE = 2
_INTERRUPTED = 130
_BAD_INPUT = (AnnotationError, ModelError, TrainingError)
_OURS = ("training", "model_store", "rendersight")


def main(arguments: Sequence[str] | None = None, *, program: str = PROGRAM) -> int:
    """Run one verb.

    Args:
        arguments: of the command line, the verb first; None takes the process's own.
        program: what stands before the verb in messages.

    Returns:
        The exit status: 0, 1 where a file cannot be used, 2 for bad input, 130 when stopped.
    """
    try:
        options = build_parser(program).parse_args(arguments)
        options.verb(options)
    except _BAD_INPUT as error:
        return _end(program, error, _USAGE)
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package in _OURS:
            raise
        hint = "pip install 'rendersight[train]', or make .venv/dev.stamp"
        return _end(program, f"the package {package} is not installed: {hint}", _USAGE)
    except OSError as error:  # no permission, no space left
        return _end(program, error, _FAILED)
    except Stopped as stop:
        return _end(program, stop, _INTERRUPTED)
    except KeyboardInterrupt:
        return _end(program, "stopped", _INTERRUPTED)
    return 0


def _end(program: str, why: object, status: int) -> int:
    print(f"{program}: {why}", file=sys.stderr)
    return status


def build_parser(program: str = PROGRAM, verbs: Iterable[str] = VERBS) -> argparse.ArgumentParser:
    """Return the parser of these verbs; the docs' commands are checked against that of all."""
    parser = argparse.ArgumentParser(prog=program, description="Train detectors, measure them and make releases.")
    added = parser.add_subparsers(metavar="VERB", required=True)
    for name in verbs:
        add_flags(added.add_parser(name, help=VERBS[name]), name)
    return parser


def add_flags(parser: argparse.ArgumentParser, verb: str) -> None:
    """Give a parser the flags of a verb, and what it runs as the value of `verb`."""
    module = import_module(f"training.verbs.{verb}")
    module.add_flags(parser)
    parser.set_defaults(verb=module.run)
