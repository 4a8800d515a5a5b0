"""Clients that ask without pause and repeat what fails, and what they saw."""

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
    """One try of one request.

    Attributes:
        request: its number.
        photo: the number of the photo that was sent.
        began_s: `time.monotonic` when it was sent.
        answer: None where the connection broke.
    """

    request: int
    photo: int
    began_s: float
    answer: httpx.Response | None

    @property
    def succeeded(self) -> bool:
        return self.answer is not None and self.answer.status_code == 200


@dataclass
class Asked:
    """What the clients have seen until now."""

    attempts: list[Attempt] = field(default_factory=list)

    @property
    def failed(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if not attempt.succeeded]

    def unanswered(self) -> set[int]:
        """Requests that no try has succeeded with."""
        return {item.request for item in self.attempts} - {item.request for item in self.attempts if item.succeeded}


@contextmanager
def asking(url: str, photos: Sequence[bytes], *, clients: int, pause_s: float = 0) -> Iterator[Asked]:
    """Ask in the background; at the end, return once every request was answered or its client's patience was over."""
    asked, numbers, over = Asked(), itertools.count(), threading.Event()

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


def _patiently(client: httpx.Client, url: str, photos: Sequence[bytes], request: int, asked: Asked) -> None:
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
