"""Who works when: a few threads decode, one for each stream of the engine infers, the event loop does neither."""

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import ParamSpec, TypeVar

from app.errors import NotReady, Overloaded
from model_store.detector import Detector
from rendersight.detections import Detections
from rendersight.images import Photo

_DECODERS = 2
_MEMORY = 0.9
"""What the mean of earlier times counts beside the latest one, in the moving mean of how long an image takes."""

P = ParamSpec("P")
T = TypeVar("T")


class Scheduler:
    """The worker threads around one detector.

    Attributes:
        detector: what it runs; as many threads call `detect` as its engine serves at once, one image at a time each,
            in order of arrival.
    """

    def __init__(self, detector: Detector, *, queue_size: int) -> None:
        """Start the threads.

        Args:
            detector: what to run.
            queue_size: how many requests may wait beside those that are computed.
        """
        self.detector = detector
        self._queue_size = queue_size
        self._places = 0
        self._mean_s = 0.0
        self._decoders = ThreadPoolExecutor(_DECODERS, thread_name_prefix="decoder")
        self._inference = ThreadPoolExecutor(detector.engine.parallel, thread_name_prefix="inference")
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many requests have a place and wait."""
        return max(0, self._places - self.detector.engine.parallel)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a request's place, from its whole body to its answer.

        Raises:
            Overloaded: there is none; when to ask again follows from how long an image takes and how many wait.
        """
        parallel = self.detector.engine.parallel
        if self._places >= self._queue_size + parallel:
            seconds = max(1, math.ceil(self._places * self._mean_s / parallel))
            raise Overloaded(f"{self.waiting} requests wait already; try again in {seconds} s", retry_after_s=seconds)
        self._places += 1
        try:
            yield
        finally:
            self._places -= 1

    async def decode(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking work on a decoder thread and return its result.

        Raises:
            NotReady: the scheduler was closed.
        """
        return await self._run(self._decoders, partial(work, *args, **kwargs))

    async def detect(self, photo: Photo) -> Detections:
        """Find the objects in one photo; boxes are in px of the upright image itself, best score first.

        Raises:
            NotReady: the scheduler was closed.
        """
        return await self._run(self._inference, partial(self._detect, photo))

    def close(self) -> None:
        """Take no more work, and return when all that was taken is done; it blocks."""
        self._closed = True
        self._decoders.shutdown()
        self._inference.shutdown()

    def _detect(self, photo: Photo) -> Detections:
        began = time.perf_counter()
        try:
            return self.detector.detect_photo(photo)
        finally:
            latest = time.perf_counter() - began
            self._mean_s = _MEMORY * self._mean_s + (1 - _MEMORY) * latest if self._mean_s else latest

    async def _run(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        if self._closed:
            raise NotReady("the service is stopping")
        return await asyncio.get_running_loop().run_in_executor(threads, work)
