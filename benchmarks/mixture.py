"""Requests of every kind that a service must bear, and how to send one."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.load import form

MAX_BYTES = 2_000_000
"""What the service is to take at most; `oversized` sends more."""

UPLOAD_TIMEOUT_S = 3.0
"""How long it is to wait for a body at most; half of `slow` take longer."""

_ANSWER_S = 60.0


@dataclass(frozen=True)
class Ask:
    """One request.

    Attributes:
        body: of it.
        headers: beside those that every one has.
        query: behind the path.
        over_s: its body is sent in pieces over this time.
        leave_s: the client closes the connection so long after it has sent all; None waits for the answer.
        announced: the Content-Length, where it is another one.
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
        share: of all requests.
        make: makes one.
        accepted: the statuses that are right, beside 503 and 504; 0 is no answer.
    """

    share: float
    make: Callable[[random.Random], Ask]
    accepted: Sequence[int]


def kinds(pictures: Sequence[bytes]) -> dict[str, Kind]:
    """Return the kinds of requests by name."""

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
    """Read to the end of the connection, whichever way it ends: what has come counts."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(65536):
            received += piece
    return received


async def send(port: int, ask: Ask) -> int:
    """Send a request over a connection of its own and return its status: 0 without an answer."""
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
            with contextlib.suppress(ConnectionError):  # it has answered already
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
