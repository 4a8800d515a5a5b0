"""What ends a job of `deploy.ray`."""


class JobError(Exception):
    """A job cannot begin; the message, one line, names what is in the way, and what is accepted."""


class JobFailed(Exception):
    """A job cannot go on; the message, one line, says why. What it has written is whole, and the next run goes on."""
