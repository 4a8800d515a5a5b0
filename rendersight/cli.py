"""The console script `rendersight`, also `python -m rendersight`."""

import sys
from collections.abc import Sequence

from rendersight.command_line import BAD_INPUT, FAILED, Program, exit_status

PROGRAM = Program(
    "rendersight",
    "Use a running Rendersight service from the shell.",
    package="rendersight.commands",
    verbs={
        "detect": "find objects in photos",
        "completion": "print the script that completes this command in bash, zsh or fish",
    },
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        arguments: command-line arguments, the verb first; None takes those of the process.

    Returns:
        The exit status: 0; 1 if the service cannot be asked; 2 for bad input; 130 after Ctrl-C; 141 if the reader of
        the output has closed it.
    """
    given = sys.argv[1:] if arguments is None else arguments
    return exit_status(
        lambda: PROGRAM.run(PROGRAM.parse(given)),
        say=lambda message, _: sys.stderr.write(f"{PROGRAM.name}: {message}\n"),
        status_of=_status_of,
        install="pip install rendersight",
    )


def _status_of(error: Exception) -> int | None:
    from rendersight.annotations import AnnotationError
    from rendersight.client import InputRefused, KeyRefused, RendersightError, WrongSetting

    if isinstance(error, (AnnotationError, WrongSetting, KeyRefused, InputRefused)):
        return BAD_INPUT
    return FAILED if isinstance(error, (RendersightError, OSError)) else None
