"""What ends a job of `deploy.ray`, and how that looks on the command line."""

from collections.abc import Callable

from model_store.errors import ModelError
from rendersight.console import say

FAILED = 1

_USAGE = 2
_INTERRUPTED = 130
_OURS = ("deploy", "app", "model_store", "rendersight")


class JobError(Exception):
    """A job cannot begin; the message, one line, names what is in the way, and what is accepted."""


class JobFailed(Exception):
    """A job cannot go on; the message, one line, says why. What it has written is whole, and the next run goes on."""


def exit_status(program: str, job: Callable[[], int]) -> int:
    """Run a job and say in a line why it ends, unless it returns.

    Returns:
        What it returns; 1 where it could not go on, 2 for bad input, 130 when stopped.
    """
    try:
        return job()
    except (JobError, ModelError) as error:
        say(f"{program}: {error}")
        return _USAGE
    except JobFailed as error:
        say(f"{program}: {error}; once that is mended, the same command goes on")
        return FAILED
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package in _OURS:
            raise
        say(f"{program}: the package {package} is not installed: make ray-env, and .venv-ray/bin/python")
        return _USAGE
    except KeyboardInterrupt:
        say(f"{program}: stopped; repeat the command to go on")
        return _INTERRUPTED
