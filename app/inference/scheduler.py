"""Who works when: requests are admitted or refused, wait, are decoded and computed, and may be given up at any time.

The event loop does none of the work: a few threads decode, and one for each stream of the engine infers.
"""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from app.errors import ClientGone, DeadlineExceeded, NotReady, Overloaded
from app.inference.workers import Workers
from model_store.detector import Detector
from model_store.engines import DeviceLost
from rendersight.detections import Detections
from rendersight.images import Photo

_LOOK_S = 0.1
_MARGIN = 1.25
"""The estimate of a wait times this must be below the deadline: photos differ, and so does what else the cores do."""

T = TypeVar("T")


class MovingMean:
    """A mean that forgets: of all earlier values together nine tenths remain with each new one.

    One value alone counts for no more than four times the mean: a single slow photo does not close the service.

    Attributes:
        value: 0 before the first.
    """

    _REMAINS = 0.9
    _MOST = 4.0

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, value: float) -> None:
        """Take a value in."""
        if self.value:
            value = self._REMAINS * self.value + (1 - self._REMAINS) * min(value, self._MOST * self.value)
        self.value = value


@dataclass(frozen=True)
class Found:
    """What a photo gave.

    Attributes:
        detections: boxes in px of the upright photo, best score first.
        size_wh: width and height of the upright photo, px.
        queue_s: for how long it waited, for a place, a decoder or the network.
        decode_s: for how long it was decoded.
        inference_s: for how long it was computed.
        finished: what `finish` made of it; None without one.
        finish_s: for how long it was at that.
    """

    detections: Detections
    size_wh: tuple[int, int]
    queue_s: float
    decode_s: float
    inference_s: float
    finished: bytes | None = None
    finish_s: float = 0.0


class Scheduler:
    """The threads around one detector, and the requests that wait for them.

    A request is admitted, waits for a slot, is decoded and computed, in the order of arrival. There are a few more
    slots than the engine computes images at once: so many photos are in memory as pixels, however many wait.

    Attributes:
        detector: what runs new requests.
    """

    def __init__(self, detector: Detector, *, queue_size: int, decoders: int = 2) -> None:
        """Start the threads.

        Args:
            detector: what to run.
            queue_size: how many requests may wait beside those that are computed.
            decoders: how many images are decoded at once.
        """
        self.detector = detector
        self._queue_size = queue_size
        self._decoders = Workers(decoders, "decoder")
        self._inference = Workers(detector.engine.parallel, "inference")
        self._slots = self._new_slots()
        self._jobs: dict[asyncio.Task[Found], Detector] = {}
        self._decode_s = MovingMean()
        self._inference_s = MovingMean()
        self._apart_s = MovingMean()
        self._last_s: float | None = None
        self._failure: str | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many requests have a place and wait."""
        return max(0, len(self._jobs) - self._inference.count)

    @property
    def at_once(self) -> int:
        """How many photos keep the threads busy; one client should not have more than these wait."""
        return min(self._inference.count + self._decoders.count, self._inference.count + self._queue_size)

    def trouble(self, limit_s: float) -> str | None:
        """Say what keeps the threads from working, None where nothing does.

        Args:
            limit_s: for how long there may be no progress.
        """
        if self._failure is not None:
            return self._failure
        stalled_s = self.stalled_s
        return f"no progress for {stalled_s:.0f} s, the limit is {limit_s:g} s" if stalled_s > limit_s else None

    @property
    def stalled_s(self) -> float:
        """For how long the threads have made no progress with what they have, in seconds."""
        return max(self._decoders.stalled_s(), self._inference.stalled_s())

    def uses(self, detector: Detector) -> int:
        """Return how many requests have a place with this detector."""
        return sum(used is detector for used in self._jobs.values())

    def admit(self, timeout_s: float) -> None:
        """Refuse a request that cannot be answered in time; nothing is kept for one that can.

        Where nobody is before it, it is tried, however long the last ones took: else nothing would tell that it has
        become better.

        Raises:
            Overloaded: as many wait as may, or those that wait would take too long; when to ask again is said.
            NotReady: the scheduler was closed, or its device is lost.
        """
        if self._closed:
            raise NotReady("the service is stopping")
        if self._failure is not None:
            raise NotReady(self._failure)
        wait_s = (len(self._jobs) + 1) * self._interval_s()
        retry_after_s = max(1, math.ceil(wait_s))
        again = f"try again in {retry_after_s} s"
        if len(self._jobs) >= self._queue_size + self._inference.count:
            raise Overloaded(f"{self.waiting} requests wait already; {again}", retry_after_s=retry_after_s)
        if self._jobs and _MARGIN * wait_s > timeout_s:
            detail = (
                f"{self.waiting} requests wait already, about {wait_s:.1f} s, the limit is {timeout_s:g} s; {again}"
            )
            raise Overloaded(detail, retry_after_s=retry_after_s)

    async def detect(
        self,
        detector: Detector,
        decode: Callable[[], Photo],
        *,
        timeout_s: float,
        gone: Callable[[], Coroutine[Any, Any, None]] | None = None,
        finish: Callable[[Found, Photo], bytes] | None = None,
    ) -> Found:
        """Decode one photo and find its objects.

        Whoever stops waiting takes what has not begun with him; a thread that is at work finishes, and until then its
        place stays taken.

        Args:
            detector: what to find them with: `Scheduler.detector`, as it was when the request came.
            decode: what gives the photo; it may block and raise.
            timeout_s: how long it all may take.
            gone: returns when nobody waits for the answer any more.
            finish: what is then to be made of them by a decoder's thread; it may block and raise.

        Raises:
            Overloaded: as `admit`.
            DeadlineExceeded: it took longer.
            ClientGone: `gone` ended first.
            NotReady: the scheduler was closed.
        """
        self.admit(timeout_s)
        job = asyncio.create_task(self._work(detector, decode, finish))
        self._jobs[job] = detector
        job.add_done_callback(self._leave)
        leaving = [] if gone is None else [asyncio.create_task(gone())]
        try:
            await asyncio.wait([job, *leaving], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if job.done() and not job.cancelled():
                return job.result()
        finally:
            job.cancel()
            for task in leaving:
                task.cancel()
        if any(task.done() for task in leaving):
            raise ClientGone
        if job.done():
            raise NotReady("the service is stopping")
        raise DeadlineExceeded(f"it was not done within {timeout_s:g} s")

    def swap(self, detector: Detector) -> None:
        """Run new requests with another detector; those that are on their way keep theirs."""
        self.detector = detector
        self._inference_s, self._apart_s = MovingMean(), MovingMean()
        if detector.engine.parallel != self._inference.count:
            self._inference.resize(detector.engine.parallel)
            self._slots = self._new_slots()

    async def close(self, left_s: Callable[[], float] = lambda: math.inf) -> bool:
        """Take no more requests, and return when those that were taken are done.

        Args:
            left_s: tells how much time there is left for them, in seconds.

        Returns:
            Whether they are done, rather than the time over.
        """
        self._closed = True
        while self._jobs and left_s() > 0:
            await asyncio.wait(self._jobs, timeout=min(_LOOK_S, left_s()))
        is_done = not self._jobs
        for job in self._jobs:
            job.cancel()
        for threads in (self._decoders, self._inference):
            threads.close()
        return is_done

    def _new_slots(self) -> asyncio.Semaphore:
        return asyncio.Semaphore(self._inference.count + self._decoders.count)

    def _interval_s(self) -> float:
        """Return how far apart finished photos are when the threads have no pause.

        As measured, for threads that share cores are slower than one alone; before that, as their work would allow.
        """
        return self._apart_s.value or max(
            self._decode_s.value / self._decoders.count, self._inference_s.value / max(1, self._inference.count)
        )

    def _note_end(self) -> None:
        """Take in how far this photo's end is from the one before, if the threads had no pause between."""
        now_s = time.perf_counter()
        if self._last_s is not None:
            self._apart_s.add(now_s - self._last_s)
        self._last_s = now_s if len(self._jobs) > self._inference.count + 1 else None

    async def _work(
        self, detector: Detector, decode: Callable[[], Photo], finish: Callable[[Found, Photo], bytes] | None
    ) -> Found:
        came_s = time.perf_counter()
        async with self._slots:
            photo, decode_s = await _outcome(self._decoders.submit(_timed(decode, self._decode_s)))
            infer = _timed(partial(detector.detect_photo, photo), self._inference_s)
            try:
                detections, inference_s = await _outcome(self._inference.submit(infer))
            except DeviceLost as error:
                self._failure = str(error)
                raise
            size_wh = (photo.width, photo.height)
            queue_s = time.perf_counter() - came_s - decode_s - inference_s
            found = Found(detections, size_wh, queue_s=queue_s, decode_s=decode_s, inference_s=inference_s)
            if finish is not None:
                finished, finish_s = await _outcome(self._decoders.submit(_timed(partial(finish, found, photo))))
                found = replace(found, finished=finished, finish_s=finish_s)
            self._note_end()
        return found

    def _leave(self, job: asyncio.Task[Found]) -> None:
        del self._jobs[job]
        if not job.cancelled():
            job.exception()  # of a job that was given up nobody asks it, and asyncio would complain


def _timed(work: Callable[[], T], mean: MovingMean | None = None) -> Callable[[], tuple[T, float]]:
    """Return work that tells how long it took, in seconds, also a mean."""

    def run() -> tuple[T, float]:
        began_s = time.perf_counter()
        result = work()
        took_s = time.perf_counter() - began_s
        if mean is not None:
            mean.add(took_s)
        return result, took_s

    return run


async def _outcome(future: Future[T]) -> T:
    """Wait for a thread's work; when cancelled, drop work that has not begun, and stay with work that has."""
    waited = asyncio.wrap_future(future)
    try:
        await asyncio.wait([waited])
    except asyncio.CancelledError:
        if not future.cancel():
            await asyncio.wait([waited])
            waited.exception()  # asyncio would complain that nobody asked
        raise
    return waited.result()
