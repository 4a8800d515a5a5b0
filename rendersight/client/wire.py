"""Translation between the client's calls and httpx; the only module that knows httpx's exceptions."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from rendersight.client.answers import Answer
from rendersight.client.calls import Call
from rendersight.client.errors import ConnectionLost, ServiceUnreachable, TimedOut, UnexpectedAnswer, WrongSetting

DEFAULT_URL = "http://127.0.0.1:8000"

_CONNECT_S = 5.0
_LEAST_S = 0.1  # the service refuses a shorter X-Request-Timeout


def settings(base_url: str, api_key: str | None) -> dict[str, Any]:
    """Return the constructor arguments for httpx's client, sync or async.

    Raises:
        WrongSetting: the address or the key is invalid; the message does not repeat the key.
    """
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, TypeError) as error:
        raise _wrong_url(base_url) from error
    if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
        raise _wrong_url(base_url)
    headers = {"Accept": "*/*", "User-Agent": "rendersight"}
    if api_key is not None:
        if not (api_key.isascii() and api_key.isprintable()) or not api_key or " " in api_key:
            raise WrongSetting("api_key is not accepted; accepted: printable ASCII without spaces")
        headers["Authorization"] = f"Bearer {api_key}"
    return {"base_url": url, "headers": headers}


def _wrong_url(base_url: object) -> WrongSetting:
    return WrongSetting(f"base_url={base_url!r} is not accepted; accepted: such as {DEFAULT_URL}")


def request_of(call: Call[Any], left_s: float) -> dict[str, Any]:
    """Return the arguments of httpx's `build_request`, with the remaining time in X-Request-Timeout."""
    files = None
    if call.upload is not None:
        files = {"image": (call.upload.filename, call.upload.data, "application/octet-stream")}
    return {
        "method": call.method,
        "url": call.path,
        "params": list(call.query),
        "files": files,
        "headers": {"X-Request-Timeout": f"{max(left_s, _LEAST_S):.3f}"},
        "timeout": httpx.Timeout(max(left_s, 0.001), connect=min(_CONNECT_S, max(left_s, 0.001))),
    }


def answer_of(response: httpx.Response, body: bytes) -> Answer:
    """Copy a response whose body has been read."""
    headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}
    return Answer(str(response.url), response.status_code, headers, body)


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Translate httpx's exceptions into the client's.

    Raises:
        ServiceUnreachable: no connection.
        ConnectionLost: the connection ended too early.
        TimedOut: httpx reached its time limit.
        UnexpectedAnswer: the encoding of the answer is broken.
    """
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise ServiceUnreachable(f"no connection to {url}: it takes too long") from error
    except httpx.TimeoutException as error:
        raise timed_out(url) from error
    except httpx.ConnectError as error:
        raise ServiceUnreachable(f"no connection to {url}: {error}") from error
    except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
        raise ConnectionLost(f"the connection to {url} was lost: {error or type(error).__name__}") from error
    except httpx.DecodingError as error:
        raise UnexpectedAnswer(f"the answer of {url} does not decode: {error}") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:  # such as a proxy, or a header that cannot be sent
        raise ServiceUnreachable(f"{url} cannot be asked: {error or type(error).__name__}") from error


def timed_out(url: str) -> TimedOut:
    """Return the error of a call that has used up its time."""
    return TimedOut(f"{url} gave no answer in time")
