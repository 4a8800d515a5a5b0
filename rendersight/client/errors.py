"""What a client's calls raise."""

from collections.abc import Sequence
from dataclasses import dataclass


class RendersightError(Exception):
    """A call that has no result; the message is one line and says why.

    RendersightError
    ├── WrongSetting          an address, a key or another argument of the client that cannot be used
    ├── UnusableImage         no such file, or an array that is no image; nothing was sent
    ├── ServiceUnreachable    no connection
    │   └── ConnectionLost    the connection ended before the answer did
    ├── TimedOut              no answer within the call's `timeout_s`
    ├── UnexpectedAnswer      an answer that this service does not give
    └── ServiceProblem        the service answered with an error
        ├── InputRefused      400, 408, 413, 415, 422: the image or a parameter cannot be taken
        ├── KeyRefused        401, 403: no API key, an unknown one, or one that is not for this
        └── Unavailable       429, 502, 503, 504: later it may be possible
            └── Overloaded    503: too many requests wait
    """


class WrongSetting(RendersightError, ValueError):
    """An argument of the client cannot be used; the message names it and what is accepted."""


class UnusableImage(RendersightError, ValueError):
    """What was given is no image that can be sent; the message says what it is and what is accepted."""


class ServiceUnreachable(RendersightError):
    """There is no connection to the service."""


class ConnectionLost(ServiceUnreachable):
    """The connection ended before the answer did."""


class TimedOut(RendersightError):
    """There was no answer within the call's `timeout_s`."""


class UnexpectedAnswer(RendersightError):
    """Something answered that this service does not: another program, a proxy, a redirection."""


@dataclass(frozen=True)
class InvalidInput:
    """One query parameter, form field or header that the service did not take.

    Attributes:
        location: `query`, `form` or `header`.
        name: of the parameter, field or header.
        value: as sent; None where it is missing or not text.
        accepted: what would be taken, in words.
    """

    location: str
    name: str
    value: str | None
    accepted: str


class ServiceProblem(RendersightError):
    """The service answered with an error, as RFC 9457 describes it.

    Attributes:
        status: of HTTP.
        title: the kind of problem in words.
        detail: what was wrong with this request.
        type: the kind as a URN; `about:blank` where the status says it all.
        request_id: what the service's log has it under; None where it did not say.
        errors: each parameter, field or header at fault.
        retry_after_s: when to ask again, in seconds; None where the service did not say.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        type: str = "about:blank",  # noqa: A002 - the name that RFC 9457 gives it
        request_id: str | None = None,
        errors: Sequence[InvalidInput] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{status} {title}: {detail}" if detail else f"{status} {title}")
        self.status = status
        self.title = title
        self.detail = detail
        self.type = type
        self.request_id = request_id
        self.errors = tuple(errors)
        self.retry_after_s = retry_after_s


class InputRefused(ServiceProblem):
    """The image or a parameter cannot be taken; asking again does not help."""


class KeyRefused(ServiceProblem):
    """There is no API key, or it is not known, or it is not for this."""


class Unavailable(ServiceProblem):
    """The service, or something before it, cannot answer now; later it may."""


class Overloaded(Unavailable):
    """Too many requests wait."""
