"""The console script `rendersight`: passes each verb to its package, which is imported only then.

The module implements no verb of training or of the service. For the help it holds a one-line summary of each.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from rendersight import __version__

PROGRAM = "rendersight"
SHELLS = ("bash", "zsh", "fish")

_USAGE = 2
_INTERRUPTED = 130
_OURS = ("rendersight", "model_store", "app", "training")

AddFlags = Callable[[argparse.ArgumentParser], None]
Run = Callable[[Sequence[str]], int]


@dataclass(frozen=True)
class Verb:
    """One verb of the command line.

    Attributes:
        about: one-line summary.
        add_flags: adds the verb's flags to a parser and imports what they need.
        run: takes the arguments after the verb and returns the exit status.
        extra: extra of the package that installs what the verb needs.
    """

    about: str
    add_flags: AddFlags
    run: Run
    extra: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        arguments: command-line arguments, the verb first; None takes those of the process.

    Returns:
        The verb's exit status; 2 if the verb does not exist or is not installed, 130 after Ctrl-C.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments:
        overview().print_help(sys.stderr)
        return _USAGE
    name, *rest = arguments
    verb = verbs().get(name)
    if verb is None:
        overview().parse_args(arguments)  # handles --help and --version, or exits with an error message
        return _USAGE
    try:
        return verb.run(rest)
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package in _OURS:
            raise
        hint = f"pip install 'rendersight[{verb.extra}]'" if verb.extra else "pip install rendersight"
        sys.stderr.write(f"{PROGRAM}: the package {package} is not installed: {hint}\n")
        return _USAGE
    except KeyboardInterrupt:
        sys.stderr.write(f"{PROGRAM}: stopped\n")
        return _INTERRUPTED


def groups() -> Mapping[str, Mapping[str, Verb]]:
    """Return all verbs under their help headings, in the order of the help."""
    from training.commands import VERBS

    return {
        "with a running service": {
            "detect": Verb("find objects in photos", _flags_of_detect, _detect),
        },
        "the service": {
            "serve": Verb("serve a model at POST /detect", _flags_of_serve, _serve, "serve"),
            "keys": Verb("make an API key for the service", _flags_of_keys, _keys, "serve"),
        },
        "datasets, training, releases": {
            name: Verb(about, partial(_flags_of_training, name), partial(_train, name), "train")
            for name, about in VERBS.items()
        },
        "the shell": {
            "completion": Verb(f"print what makes {', '.join(SHELLS)} complete this", _flags_of_completion, _complete)
        },
    }


def verbs() -> Mapping[str, Verb]:
    """Return all verbs by name."""
    return {name: verb for group in groups().values() for name, verb in group.items()}


def overview() -> argparse.ArgumentParser:
    """Return the parser used without a known verb. Its help lists the verbs and imports none of them."""
    width = max(map(len, verbs()))
    listed = "\n\n".join(
        "\n".join((f"{title}:", *(f"  {name:<{width}}  {verb.about}" for name, verb in group.items())))
        for title, group in groups().items()
    )
    parser = argparse.ArgumentParser(
        PROGRAM,
        usage=f"{PROGRAM} VERB ...",
        description=f"Turn a 3D model or labelled photos into a detector behind REST.\n\n{listed}",
        epilog=f"`{PROGRAM} VERB --help` tells what a verb takes.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    parser.add_argument("verb", metavar="VERB", choices=list(verbs()), help=argparse.SUPPRESS)
    return parser


def whole_parser() -> argparse.ArgumentParser:
    """Return one parser with all verbs and their flags. Verbs whose packages are not installed have no flags."""
    parser = argparse.ArgumentParser(PROGRAM)
    added = parser.add_subparsers(metavar="VERB")
    for name, verb in verbs().items():
        filled = added.add_parser(name, help=verb.about)
        try:
            verb.add_flags(filled)
        except ModuleNotFoundError as error:
            if str(error.name).partition(".")[0] in _OURS:
                raise
    return parser


def _flags_of_detect(parser: argparse.ArgumentParser) -> None:
    from rendersight.detect import add_flags

    add_flags(parser)


def _detect(arguments: Sequence[str]) -> int:
    from rendersight.detect import run

    parser = argparse.ArgumentParser(f"{PROGRAM} detect")
    _flags_of_detect(parser)
    return run(parser.parse_args(arguments))


def _flags_of_serve(parser: argparse.ArgumentParser) -> None:
    from app.__main__ import add_flags

    add_flags(parser)


def _serve(arguments: Sequence[str]) -> int:
    from app.__main__ import run

    run(arguments, program=f"{PROGRAM} serve")


def _flags_of_keys(parser: argparse.ArgumentParser) -> None:
    from app.keys import add_flags

    add_flags(parser)


def _keys(arguments: Sequence[str]) -> int:
    from app.keys import main as make_key

    return make_key(arguments, program=f"{PROGRAM} keys")


def _flags_of_training(name: str, parser: argparse.ArgumentParser) -> None:
    from training.cli import add_flags

    add_flags(parser, name)


def _train(name: str, arguments: Sequence[str]) -> int:
    from training.cli import main as train

    return train([name, *arguments], program=PROGRAM)


def _flags_of_completion(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        f"Print a script that makes a shell complete {PROGRAM}'s verbs, flags and files. For bash, put into ~/.bashrc: "
        f"source <({PROGRAM} completion bash). For zsh, write it to a file _{PROGRAM} in a folder of $fpath; for fish, "
        f"to ~/.config/fish/completions/{PROGRAM}.fish."
    )
    parser.add_argument("shell", choices=SHELLS, help="whose script to print")


def _complete(arguments: Sequence[str]) -> int:
    from rendersight.completion import script_of

    parser = argparse.ArgumentParser(f"{PROGRAM} completion")
    _flags_of_completion(parser)
    sys.stdout.write(script_of(whole_parser(), parser.parse_args(arguments).shell))
    return 0
