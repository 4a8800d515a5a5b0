"""The verb `completion`: prints the script that completes `rendersight` in a shell.

The script is self-contained: a shell that ran the program at each key press would wait for Python to start.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import shtab

from rendersight.cli import PROGRAM

SHELLS = ("bash", "zsh", "fish")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments to the parser."""
    parser.description = (
        "Print a script that completes the verbs, flags and files of rendersight in a shell. For bash, add this line "
        "to ~/.bashrc: source <(rendersight completion bash). For zsh, write the script to a file _rendersight in a "
        "folder of $fpath. For fish, write it to ~/.config/fish/completions/rendersight.fish."
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell")


def run(options: argparse.Namespace) -> None:
    """Print the script."""
    parser = PROGRAM.parser(PROGRAM.verbs)
    _complete_paths(parser)
    sys.stdout.write(shtab.complete(parser, shell=options.shell).rstrip("\n") + "\n")


def _complete_paths(parser: argparse.ArgumentParser) -> None:
    """Let arguments of type `Path` complete to files."""
    for action in parser._actions:  # argparse has no public access to them; shtab reads them too
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                _complete_paths(verb)
        elif action.type is Path:
            described: Any = action
            described.complete = shtab.FILE
