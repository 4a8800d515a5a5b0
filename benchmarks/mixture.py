"""The kinds of requests that a service must withstand, and a client that sends them."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.load import form

MAX_BYTES = 2_000_000
"""Upload limit of the service; `oversized` sends more."""

UPLOAD_TIMEOUT_S = 3.0
"""The service's time limit for a body; half of the `slow` requests take longer."""

_ANSWER_S = 60.0


@dataclass(frozen=True)
class Ask:
    """One request.

    Attributes:
        body: body of the request.
        headers: headers in addition to the common ones.
        query: query string after the path.
        over_s: time over which the body is sent in pieces.
        leave_s: time from sending the last byte until the client disconnects; None waits for the answer.
        announced: Content-Length, if it differs from the body's length.
    """

    body: bytes
    headers: Mapping[str, str]
    query: str = ""
    over_s: float = 0.0
    leave_s: float | None = None
    announced: int | None = None


@dataclass(frozen=True)
class Kind:
    """A kind of request.

    Attributes:
        share: fraction of all requests.
        make: builds one request.
        accepted: correct statuses, in addition to 503 and 504; 0 is no answer.
    """

    share: float
    make: Callable[[random.Random], Ask]
    accepted: Sequence[int]


def kinds(pictures: Sequence[bytes]) -> dict[str, Kind]:
    """Return name -> kind of request."""

    def good(chance: random.Random) -> Ask:
        return Ask(
            *form(chance.choice(pictures)), query=chance.choice(["", "?score_threshold=0.3", "?max_detections=1"])
        )

    def broken(chance: random.Random) -> Ask:
        photo = chance.choice(pictures)
        cut = photo[: chance.randrange(1, len(photo))]
        flipped = bytearray(photo)
        for _ in range(40):
            flipped[chance.randrange(len(flipped))] = chance.randrange(256)
        return Ask(
            chance.choice([cut, bytes(flipped), b"no image", chance.randbytes(2000)]), {"Content-Type": "image/jpeg"}
        )

    def wrong(chance: random.Random) -> Ask:
        body, headers = form(chance.choice(pictures))
        return chance.choice(
            [
                Ask(body, headers, query="?treshold=0.5"),
                Ask(body, headers, query="?labels=seven"),
                Ask(b"", headers),
                Ask(body[:-30], headers),
                Ask(b"{}", {"Content-Type": "application/json"}),
                Ask(body, {**headers, "X-Request-Timeout": "soon"}),
            ]
        )

    def slow(chance: random.Random) -> Ask:
        return Ask(*form(chance.choice(pictures)), over_s=chance.uniform(0.5, 2 * UPLOAD_TIMEOUT_S))

    def cancelled(chance: random.Random) -> Ask:
        return Ask(*form(chance.choice(pictures)), leave_s=chance.uniform(0, 0.5))

    def oversized(chance: random.Random) -> Ask:
        body, headers = form(bytes(MAX_BYTES))
        return chance.choice([Ask(body, headers), Ask(body[:1000], headers, announced=10 * MAX_BYTES)])

    def hasty(chance: random.Random) -> Ask:
        body, headers = form(chance.choice(pictures))
        return Ask(body, {**headers, "X-Request-Timeout": str(chance.uniform(0.1, 1))})

    return {
        "good": Kind(0.72, good, (200,)),
        "broken": Kind(0.08, broken, (200, 415, 422, 413)),
        "wrong": Kind(0.05, wrong, (400, 415, 422)),
        "slow": Kind(0.04, slow, (200, 408)),
        "cancelled": Kind(0.05, cancelled, (0, 200)),
        "oversized": Kind(0.02, oversized, (413,)),
        "hasty": Kind(0.04, hasty, (200,)),
    }


async def _answer(reader: asyncio.StreamReader) -> bytes:
    """Return all bytes received until the connection ends, normally or not."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(65536):
            received += piece
    return received


async def send(port: int, ask: Ask) -> int:
    """Send a request over a new connection and return its status, or 0 without an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        length = len(ask.body) if ask.announced is None else ask.announced
        headers = {"Host": "127.0.0.1", "Connection": "close", "Content-Length": str(length), **ask.headers}
        head = f"POST /detect{ask.query} HTTP/1.1\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in headers.items()
        )
        writer.write(head.encode() + b"\r\n")
        answering = asyncio.create_task(_answer(reader))
        pieces = 20 if ask.over_s else 1
        size = -(-len(ask.body) // pieces)
        for number in range(pieces):
            if answering.done():
                break
            writer.write(ask.body[number * size : (number + 1) * size])
            with contextlib.suppress(ConnectionError):  # the service has already answered
                await writer.drain()
            await asyncio.sleep(ask.over_s / pieces)
        if ask.leave_s is not None:
            await asyncio.wait({answering}, timeout=ask.leave_s)
            if not answering.done():
                answering.cancel()
                writer.transport.abort()
                return 0
        answer = await asyncio.wait_for(answering, _ANSWER_S)
        return int(answer[9:12] or 0)
    except (ConnectionError, TimeoutError):
        return 0
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
