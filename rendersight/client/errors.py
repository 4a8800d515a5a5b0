"""The errors of the client's calls."""

from collections.abc import Sequence
from dataclasses import dataclass


class RendersightError(Exception):
    """The root of the client's errors; the message is one line with the reason.

    RendersightError
    ├── WrongSetting          an unusable address, key or other argument of the client
    ├── UnusableImage         a missing file, or an array that is not an image; nothing was sent
    ├── ServiceUnreachable    no connection
    │   └── ConnectionLost    the connection ended before the answer did
    ├── TimedOut              no answer within the call's `timeout_s`
    ├── UnexpectedAnswer      an answer that this service does not give
    └── ServiceProblem        the service answered with an error
        ├── InputRefused      400, 408, 413, 415, 422: the image or a parameter is not accepted
        ├── KeyRefused        401, 403: the API key is missing, unknown, or lacks the permission
        └── Unavailable       429, 502, 503, 504: a later attempt may succeed
            └── Overloaded    503: too many requests are waiting
    """


class WrongSetting(RendersightError, ValueError):
    """An unusable argument of the client; the message names it and the accepted values."""


class UnusableImage(RendersightError, ValueError):
    """An image argument that cannot be sent; the message describes it and the accepted kinds."""


class ServiceUnreachable(RendersightError):
    """A failure to connect to the service."""


class ConnectionLost(ServiceUnreachable):
    """A connection that closed before the whole answer arrived."""


class TimedOut(RendersightError):
    """A call without an answer within its `timeout_s`."""


class UnexpectedAnswer(RendersightError):
    """An answer that this service does not give: from another program or a proxy, or a redirection."""


@dataclass(frozen=True)
class InvalidInput:
    """One query parameter, form field or header that the service refused.

    Attributes:
        location: `query`, `form` or `header`.
        name: name of the parameter, field or header.
        value: the value as sent; None if it is missing or not text.
        accepted: description of the accepted values.
    """

    location: str
    name: str
    value: str | None
    accepted: str


class ServiceProblem(RendersightError):
    """An error answered by the service, as RFC 9457 describes it.

    Attributes:
        status: HTTP status.
        title: kind of problem in words.
        detail: what was wrong with this request.
        type: kind of problem as a URN; `about:blank` if the status says it all.
        request_id: ID of the request in the service's log; None if the service gave none.
        errors: each parameter, field or header at fault.
        retry_after_s: seconds to wait before a retry; None if the service gave none.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        type: str = "about:blank",  # noqa: A002 - the name from RFC 9457
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
    """An image or parameter that the service does not accept; a retry does not help."""


class KeyRefused(ServiceProblem):
    """An API key that is missing, unknown, or lacks the permission."""


class Unavailable(ServiceProblem):
    """A service, or a proxy before it, that cannot answer now; a later attempt may succeed."""


class Overloaded(Unavailable):
    """A service with too many waiting requests."""
