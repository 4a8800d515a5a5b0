"""A load generator with low overhead: blocking sockets on threads, which parse only the status line."""

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from typing import TypeVar

_TIMEOUT_S = 120.0
_BOUNDARY = "rendersight-benchmark"

Item = TypeVar("Item")


@dataclass(frozen=True)
class Reply:
    """The answer to one request.

    Attributes:
        latency_s: time from the request's due time to the last byte of the answer.
        status: HTTP status; 0 if the connection broke.
        photo: index of the photo sent.
        body: body of the answer.
    """

    latency_s: float
    status: int
    photo: int
    body: bytes


@dataclass(frozen=True)
class Load:
    """The answers to a load.

    Attributes:
        answers: answers in order of arrival.
        seconds: time from the first request to the last answer.
    """

    answers: tuple[Reply, ...]
    seconds: float

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.answers) / self.seconds

    @property
    def failures(self) -> int:
        """Number of answers with a status other than 200."""
        return sum(answer.status != http.client.OK for answer in self.answers)

    @property
    def by_status(self) -> dict[int, int]:
        """Return status -> number of answers."""
        return dict(sorted(Counter(answer.status for answer in self.answers).items()))

    def percentile(self, share: float, status: int | None = None) -> float:
        """Return the latency percentile at `share` (0..1), s, of all answers or of those with one status."""
        ordered = sorted(answer.latency_s for answer in self.answers if status in (None, answer.status))
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def form(photo: bytes) -> tuple[bytes, dict[str, str]]:
    """Return the body and headers of a multipart form with one file field `image`."""
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="photo.jpg"\r\n'
    body = f"{head}Content-Type: image/jpeg\r\n\r\n".encode() + photo + f"\r\n--{_BOUNDARY}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}


def saturate(port: int, photos: Sequence[bytes], *, concurrency: int, count: int) -> Load:
    """Send `count` requests, keeping `concurrency` of them open at any time."""
    numbers = iter(range(count))
    due: Iterator[float | None] = (None for _ in numbers)
    return _run(port, photos, due, concurrency)


def capacity(port: int, photos: Sequence[bytes]) -> float:
    """Warm a service up and return the largest number of requests that it answers per second.

    Raises:
        RuntimeError: the service does not answer all requests.
    """
    saturate(port, photos, concurrency=8, count=60)
    load = saturate(port, photos, concurrency=8, count=300)
    if load.failures:
        raise RuntimeError(f"{load.failures} of {len(load.answers)} requests failed; run it on an idle machine")
    return load.rate


def paced(
    port: int, photos: Sequence[bytes], *, rate: float, count: int, seed: int | None, concurrency: int = 64
) -> Load:
    """Send `count` requests at their due times, even if earlier ones are unanswered.

    Args:
        port: port of the service on this machine.
        photos: photos, sent one after the other and repeated.
        rate: requests per second.
        count: number of requests.
        seed: seed of a Poisson process; None spaces the requests evenly.
        concurrency: largest number of open requests.
    """
    chance = random.Random(seed)  # noqa: S311
    now = time.perf_counter() + 0.1
    times = []
    for _ in range(count):
        times.append(now)
        now += 1 / rate if seed is None else chance.expovariate(rate)
    return _run(port, photos, iter(times), concurrency)


def throughput(work: Callable[[Item], object], items: Sequence[Item], *, threads: int, seconds: float) -> float:
    """Return the items per second that threads process without a pause, repeating the items for `seconds`."""
    taking = threading.Lock()
    endless = cycle(items)
    began_s = time.perf_counter()

    def one(_number: int) -> int:
        done = 0
        while time.perf_counter() < began_s + seconds:
            with taking:
                item = next(endless)
            work(item)
            done += 1
        return done

    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(one, range(threads)))
    return done / (time.perf_counter() - began_s)


def _run(port: int, photos: Sequence[bytes], due: Iterator[float | None], concurrency: int) -> Load:
    bodies = [form(photo) for photo in photos]
    lock = threading.Lock()
    answers: list[Reply] = []
    taken = 0

    def work() -> None:
        nonlocal taken
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
        while True:
            with lock:
                try:
                    at = next(due)
                except StopIteration:
                    break
                photo = taken % len(bodies)
                taken += 1
            if at is not None:
                time.sleep(max(0.0, at - time.perf_counter()))
            began = time.perf_counter() if at is None else at
            status, content = _ask(connection, *bodies[photo])
            answer = Reply(time.perf_counter() - began, status, photo, content)
            with lock:
                answers.append(answer)
        connection.close()

    began = time.perf_counter()
    with ThreadPoolExecutor(concurrency) as threads:
        list(threads.map(lambda _: work(), range(concurrency)))
    return Load(tuple(answers), time.perf_counter() - began)


def _ask(connection: http.client.HTTPConnection, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
    for was_open in (connection.sock is not None, False):
        try:
            connection.request("POST", "/detect", body, dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            if not was_open:  # the service may close an idle connection
                break
    return 0, b""
