"""The scheduler: admits or refuses requests, queues them, and runs decoding and inference on worker threads.

The event loop does none of this work. A few threads decode, and one thread per stream of the engine infers. A request
can be cancelled at any time.
"""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

from app.errors import DeadlineExceeded, NotReady, ServiceOverloaded
from app.inference.workers import WorkerPool
from model_store.detector import Detector
from model_store.engines import DeviceLost
from rendersight.detections import Detections
from rendersight.images import Photo

_LOOK_S = 0.1
_MARGIN = 1.25
"""Safety factor on the estimated wait, which is compared with the deadline: photos and the load of the cores vary."""

T = TypeVar("T")


class MovingMean:
    """Exponential moving mean: a new value has the weight 0.1, all earlier ones together 0.9.

    A value counts as at most four times the mean, so that a single slow photo does not close the service.

    Attributes:
        value: the mean; 0 before the first value.
    """

    _REMAINS = 0.9
    _MOST = 4.0

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, value: float) -> None:
        """Include a value in the mean."""
        if self.value:
            value = self._REMAINS * self.value + (1 - self._REMAINS) * min(value, self._MOST * self.value)
        self.value = value


class Scheduler:
    """The worker threads around one detector, and the requests that wait for them.

    A request is admitted, waits for a slot, then is decoded and computed, in the order of arrival. There is one slot
    per inference thread and per decoder. The slots limit how many decoded photos are in memory, however many wait.

    Attributes:
        detector: the detector that runs new requests.
    """

    def __init__(self, detector: Detector, *, queue_size: int, decoders: int = 2) -> None:
        """Start the threads.

        Args:
            detector: the detector to run.
            queue_size: maximum number of waiting requests, besides those that are computed.
            decoders: number of images decoded at once.
        """
        self.detector = detector
        self._queue_size = queue_size
        self._decoders = WorkerPool(decoders, "decoder")
        self._inference = WorkerPool(detector.engine.parallel, "inference")
        self._slots = self._new_slots()
        self._jobs: dict[asyncio.Task[Any], Detector] = {}
        self._decode_s = MovingMean()
        self._inference_s = MovingMean()
        self._apart_s = MovingMean()
        self._last_s: float | None = None
        self._failure: str | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """Number of admitted requests that wait."""
        return max(0, len(self._jobs) - self._inference.count)

    @property
    def at_once(self) -> int:
        """Number of photos that keep the threads busy. A batch should not submit more than this at once."""
        return min(self._inference.count + self._decoders.count, self._inference.count + self._queue_size)

    def trouble(self, limit_s: float) -> str | None:
        """Return a description of what keeps the threads from working, or None if nothing does.

        Args:
            limit_s: time without progress that is still accepted.
        """
        if self._failure is not None:
            return self._failure
        stalled_s = self.stalled_s
        return f"no progress for {stalled_s:.0f} s, the limit is {limit_s:g} s" if stalled_s > limit_s else None

    @property
    def stalled_s(self) -> float:
        """Time since the threads last made progress, in seconds; 0 if they have no work."""
        return max(self._decoders.stalled_s(), self._inference.stalled_s())

    def uses(self, detector: Detector) -> int:
        """Return the number of admitted requests that use this detector."""
        return sum(used is detector for used in self._jobs.values())

    def admit(self, timeout_s: float) -> None:
        """Raise an error if a request cannot be answered in time. It reserves nothing for a request that can.

        If no other request is in the scheduler, the request is admitted however long the last ones took. Otherwise
        the estimate would never recover.

        Raises:
            ServiceOverloaded: the queue is full, or the wait is too long; the error says when to retry.
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
            raise ServiceOverloaded(f"{self.waiting} requests are waiting; {again}", retry_after_s=retry_after_s)
        if self._jobs and _MARGIN * wait_s > timeout_s:
            wait = f"the wait is about {wait_s:.1f} s, the limit is {timeout_s:g} s"
            raise ServiceOverloaded(
                f"{self.waiting} requests are waiting; {wait}; {again}", retry_after_s=retry_after_s
            )

    async def detect(
        self,
        detector: Detector,
        decode: Callable[[], Photo],
        encode: Callable[[Detections, Photo], T],
        *,
        timeout_s: float,
        encode_blocks: bool = False,
    ) -> tuple[T, dict[str, float]]:
        """Decode one photo, find its objects, and encode the answer.

        If the caller is cancelled or the time is over, work that has not started is cancelled. A thread that is at
        work finishes, and keeps its slot until then.

        Args:
            detector: the detector to use: `Scheduler.detector` at the time of the request.
            decode: returns the photo, on a decoder thread; it may block and raise.
            encode: makes the answer from the detections (boxes in px of the upright photo, best score first) and the
                photo; it may raise.
            timeout_s: time limit for all steps together.
            encode_blocks: whether `encode` runs on a decoder thread, too.

        Returns:
            What `encode` returns, and the seconds of each stage: queue (waiting for a slot, a decoder and the
            network), decode, inference and encode.

        Raises:
            ServiceOverloaded: as in `admit`.
            DeadlineExceeded: the steps took longer than `timeout_s`.
            NotReady: the scheduler was closed, or its device is lost.
        """
        self.admit(timeout_s)
        job = asyncio.create_task(self._work(detector, decode, encode, encode_blocks=encode_blocks))
        self._jobs[job] = detector
        job.add_done_callback(self._leave)
        try:
            await asyncio.wait([job], timeout=timeout_s)
        finally:
            is_done = job.done()
            job.cancel()
        if not is_done:
            raise DeadlineExceeded(f"not finished within {timeout_s:g} s")
        if job.cancelled():
            raise NotReady("the service is stopping")
        return job.result()

    def swap(self, detector: Detector) -> None:
        """Run new requests with another detector. Requests already admitted keep theirs."""
        self.detector = detector
        self._inference_s, self._apart_s = MovingMean(), MovingMean()
        if detector.engine.parallel != self._inference.count:
            self._inference.resize(detector.engine.parallel)
            self._slots = self._new_slots()

    async def close(self, left_s: Callable[[], float] = lambda: math.inf) -> bool:
        """Refuse new requests, wait for the admitted ones, then stop the threads.

        Args:
            left_s: returns the remaining time, in seconds. Requests left at its end are cancelled.

        Returns:
            Whether all admitted requests finished in time.
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
        """Return the time between two finished photos while the threads are always busy, in seconds.

        The value is measured, because threads that share cores are slower than one alone. Before the first measurement
        it is estimated from the decode and inference times.
        """
        return self._apart_s.value or max(
            self._decode_s.value / self._decoders.count, self._inference_s.value / max(1, self._inference.count)
        )

    def _note_end(self) -> None:
        """Add the time since the previous photo's end to the mean, if the threads were busy all the time."""
        now_s = time.perf_counter()
        if self._last_s is not None:
            self._apart_s.add(now_s - self._last_s)
        self._last_s = now_s if len(self._jobs) > self._inference.count + 1 else None

    async def _work(
        self,
        detector: Detector,
        decode: Callable[[], Photo],
        encode: Callable[[Detections, Photo], T],
        *,
        encode_blocks: bool,
    ) -> tuple[T, dict[str, float]]:
        came_s = time.perf_counter()
        async with self._slots:
            photo, decode_s = await _outcome(self._decoders.submit(_timed(decode, self._decode_s)))
            infer = _timed(partial(detector.detect_photo, photo), self._inference_s)
            try:
                found, inference_s = await _outcome(self._inference.submit(infer))
            except DeviceLost as error:
                self._failure = str(error)
                raise
            queue_s = time.perf_counter() - came_s - decode_s - inference_s
            encoding = _timed(partial(encode, found, photo))
            answer, encode_s = await _outcome(self._decoders.submit(encoding)) if encode_blocks else encoding()
            self._note_end()
        return answer, {"queue": queue_s, "decode": decode_s, "inference": inference_s, "encode": encode_s}

    def _leave(self, job: asyncio.Task[Any]) -> None:
        del self._jobs[job]
        if not job.cancelled():
            job.exception()  # reads the error, because asyncio warns about one that is never read


def _timed(work: Callable[[], T], mean: MovingMean | None = None) -> Callable[[], tuple[T, float]]:
    """Return `work` wrapped so that it returns its result and its time in seconds, and adds the time to `mean`."""

    def run() -> tuple[T, float]:
        began_s = time.perf_counter()
        result = work()
        took_s = time.perf_counter() - began_s
        if mean is not None:
            mean.add(took_s)
        return result, took_s

    return run


async def _outcome(future: Future[T]) -> T:
    """Wait for a thread's work. When cancelled, drop work that has not started, and wait for work that has."""
    waited = asyncio.wrap_future(future)
    try:
        await asyncio.wait([waited])
    except asyncio.CancelledError:
        if not future.cancel():
            await asyncio.wait([waited])
            waited.exception()  # asyncio warns about an error that is never read
        raise
    return waited.result()
