"""A load generator that costs little itself: blocking sockets on threads, nothing parsed but the status line."""

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_TIMEOUT_S = 120.0
_BOUNDARY = "rendersight-benchmark"


@dataclass(frozen=True)
class Answer:
    """One request's answer.

    Attributes:
        latency_s: from when the request was due to its answer's last byte.
        status: of HTTP; 0 where the connection broke.
        photo: number of the photo that was sent.
        body: of the answer.
    """

    latency_s: float
    status: int
    photo: int
    body: bytes


@dataclass(frozen=True)
class Load:
    """What came of a load.

    Attributes:
        answers: in the order in which they came.
        seconds: from the first request to the last answer.
    """

    answers: tuple[Answer, ...]
    seconds: float

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.answers) / self.seconds

    @property
    def failures(self) -> int:
        """How many answers were not 200."""
        return sum(answer.status != http.client.OK for answer in self.answers)

    @property
    def by_status(self) -> dict[int, int]:
        """Status -> how many answers had it."""
        return dict(sorted(Counter(answer.status for answer in self.answers).items()))

    def percentile(self, share: float, status: int | None = None) -> float:
        """Return the latency, s, that this share (0..1) of the answers, or of those of one status, do not exceed."""
        ordered = sorted(answer.latency_s for answer in self.answers if status in (None, answer.status))
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def form(photo: bytes) -> tuple[bytes, dict[str, str]]:
    """Return the body and headers of a form with one file `image`."""
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="photo.jpg"\r\n'
    body = f"{head}Content-Type: image/jpeg\r\n\r\n".encode() + photo + f"\r\n--{_BOUNDARY}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}


def saturate(port: int, photos: Sequence[bytes], *, concurrency: int, count: int) -> Load:
    """Send `count` requests, `concurrency` of them at any time."""
    numbers = iter(range(count))
    due: Iterator[float | None] = (None for _ in numbers)
    return _run(port, photos, due, concurrency)


def paced(
    port: int, photos: Sequence[bytes], *, rate: float, count: int, seed: int | None, concurrency: int = 64
) -> Load:
    """Send `count` requests when they are due, whether or not earlier ones were answered.

    Args:
        port: of the service on this machine.
        photos: taken in turns.
        rate: requests per second.
        count: of requests.
        seed: of a Poisson process; None spaces the requests evenly.
        concurrency: the most open requests.
    """
    chance = random.Random(seed)  # noqa: S311
    now = time.perf_counter() + 0.1
    times = []
    for _ in range(count):
        times.append(now)
        now += 1 / rate if seed is None else chance.expovariate(rate)
    return _run(port, photos, iter(times), concurrency)


def _run(port: int, photos: Sequence[bytes], due: Iterator[float | None], concurrency: int) -> Load:
    bodies = [form(photo) for photo in photos]
    lock = threading.Lock()
    answers: list[Answer] = []
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
            answer = Answer(time.perf_counter() - began, status, photo, content)
            with lock:
                answers.append(answer)
        connection.close()

    began = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Load(tuple(answers), time.perf_counter() - began)


def _ask(connection: http.client.HTTPConnection, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
    for was_open in (connection.sock is not None, False):
        try:
            connection.request("POST", "/detect", body, dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            if not was_open:  # else the service may rightly have closed it: it was idle
                break
    return 0, b""
