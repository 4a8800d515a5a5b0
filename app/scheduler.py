"""Who works when: a few threads decode, one for each stream of the engine infers, the event loop does neither."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from app.errors import NotReady
from model_store.detector import Detector
from rendersight.detections import Detections
from rendersight.images import Photo

_DECODERS = 2

P = ParamSpec("P")
T = TypeVar("T")


class Scheduler:
    """The worker threads around one detector.

    Attributes:
        detector: what it runs; as many threads call `detect` as its engine serves at once, one image at a time each,
            in order of arrival.
    """

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self._decoders = ThreadPoolExecutor(_DECODERS, thread_name_prefix="decoder")
        self._inference = ThreadPoolExecutor(detector.engine.parallel, thread_name_prefix="inference")
        self._closed = False

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
        return await self._run(self._inference, partial(self.detector.detect_photo, photo))

    def close(self) -> None:
        """Take no more work, and return when all that was taken is done; it blocks."""
        self._closed = True
        self._decoders.shutdown()
        self._inference.shutdown()

    async def _run(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        if self._closed:
            raise NotReady("the service is stopping")
        return await asyncio.get_running_loop().run_in_executor(threads, work)
