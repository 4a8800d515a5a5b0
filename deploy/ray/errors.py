"""The errors of `deploy.ray`'s jobs, and their messages and exit statuses on the command line."""

from collections.abc import Callable

from model_store.errors import ModelError
from rendersight.console import say

FAILED = 1

_USAGE = 2
_INTERRUPTED = 130
_OURS = ("deploy", "app", "model_store", "rendersight")


class JobError(Exception):
    """A job that cannot start. The message is one line with the fault and what is accepted."""


class JobFailed(Exception):
    """A job that cannot continue. The message is one line with the reason.

    The files written so far are complete, and the next run continues.
    """


def exit_status(program: str, job: Callable[[], int]) -> int:
    """Run a job. If it raises an expected error, print one line with the reason.

    Returns:
        The job's own exit status, or 1 if it failed, 2 for bad input, 130 if it was interrupted.
    """
    try:
        return job()
    except (JobError, ModelError) as error:
        say(f"{program}: {error}")
        return _USAGE
    except JobFailed as error:
        say(f"{program}: {error}; fix the cause, then repeat the command to continue")
        return FAILED
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package in _OURS:
            raise
        say(f"{program}: the package {package} is not installed: run `make ray-env` and use .venv-ray/bin/python")
        return _USAGE
    except KeyboardInterrupt:
        say(f"{program}: stopped; repeat the command to continue")
        return _INTERRUPTED
