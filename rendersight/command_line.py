"""The part that all command lines of the project share: verbs, help, one-line errors and exit statuses."""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from rendersight import __version__

FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130
OUTPUT_CLOSED = 141  # 128 + SIGPIPE, as shells report it; Windows has no such signal

_OWN_PACKAGES = ("rendersight", "model_store", "app", "training", "deploy")


@dataclass(frozen=True)
class Program:
    """A command with verbs.

    Each verb is a module of `package` with two functions: `add_flags(parser)` adds the arguments, and `run(options)`
    does the work and returns the exit status, or None for 0. The module is imported only if its verb is used.

    Attributes:
        name: the command as the user types it, such as `python -m training`.
        description: one sentence for the help.
        package: name of the package that holds the modules.
        verbs: verb -> one-line summary.
    """

    name: str
    description: str
    package: str
    verbs: Mapping[str, str]

    def parser(self, verbs: Iterable[str]) -> argparse.ArgumentParser:
        """Return a parser that knows all verbs, and the arguments of the given ones."""
        parser = argparse.ArgumentParser(
            self.name, description=self.description, epilog=f"`{self.name} VERB --help` lists the arguments of a verb."
        )
        parser.add_argument("--version", action="version", version=f"{self.name} {__version__}")
        added = parser.add_subparsers(title="verbs", metavar="VERB", dest="verb", required=True)
        parsers = {name: added.add_parser(name, help=summary) for name, summary in self.verbs.items()}
        for name in verbs:
            self._module(name).add_flags(parsers[name])
        return parser

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse a verb and its arguments. Import no other verb.

        Raises:
            SystemExit: the arguments ask for help or are wrong.
        """
        if not arguments:
            self.parser([]).print_help(sys.stderr)
            raise SystemExit(BAD_INPUT)
        return self.parser([name for name in arguments[:1] if name in self.verbs]).parse_args(arguments)

    def run(self, options: argparse.Namespace) -> int:
        """Run the verb that `parse` found, and return its exit status."""
        return self._module(options.verb).run(options) or 0

    def _module(self, verb: str) -> Any:
        return import_module(f"{self.package}.{verb}")


def exit_status(
    work: Callable[[], int],
    *,
    say: Callable[[str, BaseException], object],
    status_of: Callable[[Exception], int | None],
    install: str,
) -> int:
    """Do the work of a command and return its exit status. Report an expected error as a message without a traceback.

    Args:
        work: does the work and returns the exit status.
        say: reports an error; takes the message and the error.
        status_of: returns the exit status of an error that the user can understand, or None for any other error. It is
            called only after an error, so it may import the error classes itself.
        install: command that installs the packages this command needs.

    Returns:
        The status of `work`, or of its error: 2 if a package is not installed, 130 after Ctrl-C, 141 if the reader of
        the output, such as `| head`, has closed it, else that of `status_of`.
    """
    try:
        return work()
    except KeyboardInterrupt as error:
        say("stopped", error)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # discard the rest of the output
        return OUTPUT_CLOSED
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package in _OWN_PACKAGES:
            raise
        say(f"the package {package} is not installed; run {install}", error)
        return BAD_INPUT
    except Exception as error:
        status = status_of(error)
        if status is None:
            raise
        say(str(error), error)
        return status
