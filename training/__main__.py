"""The command line of training: `python -m training VERB --help`."""

import sys


def _run() -> int:
    try:
        from training.commands import main  # noqa: PLC0415 - what it needs may be missing
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"python -m training: the package {error.name} is not installed: pip install 'rendersight[train]', "
            "or make .venv/dev.stamp\n"
        )
        return 2
    return main()


if __name__ == "__main__":
    sys.exit(_run())
