"""Serve a model: `python -m app`. All settings are environment variables; `python -m app --help` lists them."""

import argparse
import logging
import os
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from typing import NoReturn

from rendersight.command_line import BAD_INPUT, exit_status

PROGRAM = "python -m app"


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C. Requests in flight finish first.

    Args:
        arguments: command-line arguments; None means the process's own.

    Returns:
        The exit status: 0 after a clean stop, 130 after Ctrl-C during the start, 2 if the start failed, with one line
        on stderr.
    """
    return exit_status(
        lambda: _serve(arguments),
        say=lambda message, _: sys.stderr.write(f"rendersight: {' '.join(message.split())}\n"),
        status_of=_status_of,
        install="make .venv/serve.stamp, or pip install -r requirements/serve.txt",
    )


def _serve(arguments: Sequence[str] | None) -> int:
    """Read the settings and serve. Imports come late, so that help and a wrong setting do not wait for the server."""
    from app.settings import read_settings

    argparse.ArgumentParser(
        PROGRAM,
        description="Serve a model at POST /detect. Settings are environment variables:",
        epilog=_settings_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(arguments)
    settings = read_settings()

    from app.inference import malloc
    from app.observability.logging import configure_logging

    configure_logging(settings.log_format)
    malloc.keep_few_heaps()  # before a library starts threads
    _do_without_temporary_folder()

    from app.server import serve_model

    serve_model(settings)
    return 0


def _do_without_temporary_folder() -> None:
    """Let torch be imported where no temporary folder can be written; it then makes no folder for compiled code.

    The service does not use that folder.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.sep)


def _settings_help() -> str:
    from app.settings import Settings, accepted, variable

    lines = []
    for name, field in Settings.model_fields.items():
        default = "unset" if field.default in (None, ()) else field.default
        text = f"{field.description} Accepted: {accepted(field)}. Default: {default}."
        lines += [f"  {variable(name)}", textwrap.fill(text, 100, initial_indent="      ", subsequent_indent="      ")]
    return "\n".join(lines)


def _status_of(error: Exception) -> int | None:
    from app.http.keys import InvalidKeysFile
    from app.settings import InvalidSetting
    from model_store.errors import ModelError

    return BAD_INPUT if isinstance(error, (InvalidSetting, InvalidKeysFile, ModelError, OSError)) else None


def run() -> NoReturn:
    """Serve as `main` does, then end the process even if its threads are still at work."""
    status = main()
    from app.inference.workers import at_work

    if at_work():  # a network hangs or a model is being loaded: native code crashes when the interpreter ends
        logging.shutdown()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    run()
