"""A load generator that costs little itself: blocking sockets on threads, nothing parsed but the status."""

import http.client
import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_TIMEOUT_S = 120.0
_BOUNDARY = "rendersight-benchmark"


@dataclass(frozen=True)
class Load:
    """What came of a load.

    Attributes:
        latencies_s: of each answered request, from when it was due to its last byte.
        seconds: from the first request to the last answer.
        failures: answers that were not 200.
    """

    latencies_s: tuple[float, ...]
    seconds: float
    failures: int

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latencies_s) / self.seconds

    def percentile(self, share: float) -> float:
        """Return the latency, seconds, that this share of the requests (0..1) did not exceed."""
        ordered = sorted(self.latencies_s)
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
    latencies: list[float] = []
    failures: list[int] = []
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
                body, headers = bodies[taken % len(bodies)]
                taken += 1
            if at is not None:
                time.sleep(max(0.0, at - time.perf_counter()))
            began = time.perf_counter() if at is None else at
            connection.request("POST", "/detect", body, headers)
            answer = connection.getresponse()
            answer.read()
            with lock:
                latencies.append(time.perf_counter() - began)
                if answer.status != http.client.OK:
                    failures.append(answer.status)
        connection.close()

    began = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Load(tuple(latencies), time.perf_counter() - began, len(failures))
