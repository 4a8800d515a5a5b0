"""A parser -> the script that makes a shell complete its command line.

The script is made once and complete in itself: a shell that asked the program at each key press would wait for Python.
"""

import argparse
from pathlib import Path
from typing import Any

import shtab


def script_of(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the script.

    Args:
        parser: with all its verbs; arguments of the type `Path` complete to files. It is changed by that.
        shell: `bash`, `zsh` or `fish`.
    """
    _complete_paths(parser)
    script: str = shtab.complete(parser, shell=shell)
    return script if script.endswith("\n") else f"{script}\n"


def _complete_paths(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:  # argparse tells of them in no other way, and shtab reads them too
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                _complete_paths(verb)
        elif action.type is Path:
            described: Any = action
            described.complete = shtab.FILE
