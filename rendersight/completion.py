"""Generator of shell completion scripts from a parser.

The script is self-contained: a shell that ran the program at each key press would wait for Python to start.
"""

import argparse
from pathlib import Path
from typing import Any

import shtab


def script_of(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the completion script.

    Args:
        parser: has all its verbs; arguments of type `Path` complete to files. The function modifies the parser.
        shell: `bash`, `zsh` or `fish`.
    """
    _complete_paths(parser)
    script: str = shtab.complete(parser, shell=shell)
    return script if script.endswith("\n") else f"{script}\n"


def _complete_paths(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:  # argparse has no public access to them; shtab reads them too
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                _complete_paths(verb)
        elif action.type is Path:
            described: Any = action
            described.complete = shtab.FILE
