"""The errors of `deploy.ray`'s jobs, and their messages and exit statuses on the command line."""

from collections.abc import Callable

from model_store.errors import ModelError
from rendersight import command_line
from rendersight.command_line import BAD_INPUT, FAILED
from rendersight.console import say

_CONTINUE = "repeat the command to continue"


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

    def report(message: str, error: BaseException) -> None:
        advice = {KeyboardInterrupt: f"; {_CONTINUE}", JobFailed: f"; fix the cause, then {_CONTINUE}"}
        say(f"{program}: {message}{advice.get(type(error), '')}")

    def status_of(error: Exception) -> int | None:
        if isinstance(error, JobError | ModelError):
            return BAD_INPUT
        return FAILED if isinstance(error, JobFailed) else None

    install = "`make ray-env`, then use .venv-ray/bin/python"
    return command_line.exit_status(job, say=report, status_of=status_of, install=install)
