"""Clients that send requests without a pause and repeat failed ones, with a record of all attempts."""

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

_PATIENCE_S = 90.0
_BROKEN_S = 0.5


@dataclass(frozen=True)
class Attempt:
    """One attempt of one request.

    Attributes:
        request: number of the request.
        photo: number of the photo sent.
        began_s: `time.monotonic` at sending.
        answer: None if the connection broke.
    """

    request: int
    photo: int
    began_s: float
    answer: httpx.Response | None

    @property
    def succeeded(self) -> bool:
        return self.answer is not None and self.answer.status_code == 200


@dataclass
class Attempts:
    """The attempts of all clients so far."""

    attempts: list[Attempt] = field(default_factory=list)

    @property
    def failed(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if not attempt.succeeded]

    def unanswered(self) -> set[int]:
        """Return the requests without a successful attempt."""
        return {item.request for item in self.attempts} - {item.request for item in self.attempts if item.succeeded}


@contextmanager
def asking(url: str, photos: Sequence[bytes], *, clients: int, pause_s: float = 0) -> Iterator[Attempts]:
    """Send requests in the background. At the end, wait until each request succeeds or its client gives up."""
    asked, numbers, over = Attempts(), itertools.count(), threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=_PATIENCE_S) as client:
            while not over.is_set():
                _patiently(client, url, photos, next(numbers), asked)
                time.sleep(pause_s)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield asked
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _patiently(client: httpx.Client, url: str, photos: Sequence[bytes], request: int, asked: Attempts) -> None:
    photo = request % len(photos)
    until_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until_s:
        began_s = time.monotonic()
        try:
            answer = client.post(f"{url}/detect", content=photos[photo])
        except httpx.TransportError:
            answer = None
        attempt = Attempt(request, photo, began_s, answer)
        asked.attempts.append(attempt)
        if attempt.succeeded:
            return
        time.sleep(_BROKEN_S if answer is None else float(answer.headers.get("Retry-After", _BROKEN_S)))
