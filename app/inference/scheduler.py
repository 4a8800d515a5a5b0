"""The scheduler: admits or refuses requests, queues them, and runs decoding and inference on worker threads.

The event loop does none of this work. A few threads decode, and one thread per stream of the engine infers. A request
can be cancelled at any time.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from app.errors import DeadlineExceeded, NotReady, ServiceOverloaded
from app.inference.workers import WorkerPool
from model_store.detector import Detector
from model_store.engines import DeviceLost
from rendersight.detections import Detections
from rendersight.images import Photo
from rendersight.tiles import TileChoice, cut, merge, plan

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


@dataclass(eq=False)
class _Admitted:
    """A request in the scheduler.

    Attributes:
        detector: the detector that it uses.
        views: number of images that its detector has not answered yet, its photo and its tiles; at least 1 to the end.
    """

    detector: Detector
    views: int


class Scheduler:
    """The worker threads around one detector, and the requests that wait for them.

    A request is admitted, waits for a slot, then is decoded and computed, in the order of arrival. There is one slot
    per inference thread and per decoder. The slots limit how many decoded photos are in memory, however many wait.

    A photo that is looked at in tiles counts as one request for each of its views: its tiles and the whole photo. Its
    views are spread over the inference threads, and take turns with the photos of other requests.

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
        self._jobs: dict[asyncio.Task[Any], _Admitted] = {}
        self._decode_s = MovingMean()
        self._inference_s = MovingMean()
        self._apart_s = MovingMean()
        self._last_s: float | None = None
        self._failure: str | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """Number of admitted requests that wait; a photo in tiles counts once for each view."""
        return max(0, self._load - self._inference.count)

    @property
    def at_once(self) -> int:
        """Number of views that keep the threads busy. A batch should not submit more than this at once."""
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
        return sum(job.detector is detector for job in self._jobs.values())

    def admit(self, timeout_s: float, *, views: int = 1) -> None:
        """Raise an error if a request cannot be answered in time. It reserves nothing for a request that can.

        If no other request is in the scheduler, the request is admitted however long the last ones took. Otherwise
        the estimate would never recover.

        Args:
            timeout_s: time limit for the request.
            views: number of its views, for each of which the queue needs room.

        Raises:
            ServiceOverloaded: the queue is full, or the wait is too long; the error says when to retry.
            NotReady: the scheduler was closed, or its device is lost.
        """
        if self._closed:
            raise NotReady("the service is stopping")
        if self._failure is not None:
            raise NotReady(self._failure)
        wait_s = (self._load + views) * self._interval_s()
        retry_after_s = max(1, math.ceil(wait_s))
        again = f"try again in {retry_after_s} s"
        if self._jobs and self._load + views > self._queue_size + self._inference.count:
            tiles = "" if views == 1 else f"the photo's {views} views do not fit into the queue; "
            raise ServiceOverloaded(f"{self.waiting} requests are waiting; {tiles}{again}", retry_after_s=retry_after_s)
        if self._jobs and _MARGIN * wait_s > timeout_s:
            wait = f"the wait is about {wait_s:.1f} s, the limit is {timeout_s:g} s"
            raise ServiceOverloaded(
                f"{self.waiting} requests are waiting; {wait}; {again}", retry_after_s=retry_after_s
            )

    async def detect(
        self,
        detector: Detector,
        decode: Callable[[], Photo],
        encode: Callable[[Detections, Photo, int], T],
        *,
        timeout_s: float,
        encode_blocks: bool = False,
        tiles: TileChoice = "off",
        views: int = 1,
    ) -> tuple[T, dict[str, float]]:
        """Decode one photo, find its objects, and encode the answer.

        If the caller is cancelled or the time is over, work that has not started is cancelled. A thread that is at
        work finishes, and keeps its slot until then.

        Args:
            detector: the detector to use: `Scheduler.detector` at the time of the request.
            decode: returns the photo, on a decoder thread; it may block and raise. A photo that gets tiles must not be
                reduced.
            encode: makes the answer from the detections (boxes in px of the upright photo, best score first), the
                photo and its number of tiles; it may raise.
            timeout_s: time limit for all steps together.
            encode_blocks: whether `encode` runs on a decoder thread, too. With tiles it does in any case.
            tiles: the tiles in which to look for objects, besides the whole photo; see `rendersight.tiles.plan`.
            views: number of views to expect, the tiles and the whole photo.

        Returns:
            What `encode` returns, and the seconds of each stage: queue (waiting for a slot, a decoder and the
            network), decode, inference (while the network saw at least one view) and encode.

        Raises:
            ServiceOverloaded: as in `admit`.
            DeadlineExceeded: the steps took longer than `timeout_s`.
            NotReady: the scheduler was closed, or its device is lost.
        """
        self.admit(timeout_s, views=views)
        admitted = _Admitted(detector, views)
        job = asyncio.create_task(self._work(admitted, decode, encode, tiles=tiles, encode_blocks=encode_blocks))
        self._jobs[job] = admitted
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

    @property
    def _load(self) -> int:
        return sum(job.views for job in self._jobs.values())

    def _new_slots(self) -> asyncio.Semaphore:
        return asyncio.Semaphore(self._inference.count + self._decoders.count)

    def _interval_s(self) -> float:
        """Return the time between two finished views while the threads are always busy, in seconds.

        The value is measured, because threads that share cores are slower than one alone. Before the first measurement
        it is estimated from the decode and inference times.
        """
        return self._apart_s.value or max(
            self._decode_s.value / self._decoders.count, self._inference_s.value / max(1, self._inference.count)
        )

    def _note_end(self) -> None:
        """Add the time since the previous view's end to the mean, if the threads were busy all the time."""
        now_s = time.perf_counter()
        if self._last_s is not None:
            self._apart_s.add(now_s - self._last_s)
        self._last_s = now_s if self._load > self._inference.count + 1 else None

    async def _work(
        self,
        admitted: _Admitted,
        decode: Callable[[], Photo],
        encode: Callable[[Detections, Photo, int], T],
        *,
        tiles: TileChoice,
        encode_blocks: bool,
    ) -> tuple[T, dict[str, float]]:
        came_s = time.perf_counter()
        detector = admitted.detector
        async with self._slots:
            photo, decode_s = await _outcome(self._decoders.submit(_timed(decode, self._decode_s)))
            windows = plan(photo.height, photo.width, tiles, detector.info.input.resized_hw)
            views = [photo, *(Photo(pixels, *pixels.shape[:2]) for pixels in cut(photo.pixels, windows)[1:])]
            admitted.views = len(views)
            seen = await self._infer(admitted, views)
            inference_s = _busy_s([(began_s, ended_s) for _, began_s, ended_s in seen])
            queue_s = time.perf_counter() - came_s - decode_s - inference_s

            def answer() -> T:
                found = merge([found for found, _, _ in seen], windows, one_label_iou=detector.info.one_label_iou)
                return encode(found, photo, len(windows))

            encoding = _timed(answer)
            blocks = encode_blocks or len(windows) > 0
            body, encode_s = await _outcome(self._decoders.submit(encoding)) if blocks else encoding()
            self._note_end()
        return body, {"queue": queue_s, "decode": decode_s, "inference": inference_s, "encode": encode_s}

    async def _infer(self, admitted: _Admitted, views: Sequence[Photo]) -> list[tuple[Detections, float, float]]:
        """Find the objects of all views on the inference threads.

        No more views wait for a thread than keep all threads busy, so that other requests have their turns.

        Returns:
            For each view its detections, and when its computation began and ended, in seconds.
        """
        waiting = deque(enumerate(views))
        seen: dict[int, tuple[Detections, float, float]] = {}

        async def work() -> None:
            while waiting:
                number, view = waiting.popleft()
                infer = _timed(partial(admitted.detector.detect_photo, view), self._inference_s)
                try:
                    found, took_s = await _outcome(self._inference.submit(infer))
                except DeviceLost as error:
                    self._failure = str(error)
                    raise
                ended_s = time.perf_counter()
                seen[number] = found, ended_s - took_s, ended_s
                if admitted.views > 1:
                    admitted.views -= 1
                    self._note_end()

        if len(views) == 1:
            await work()
        else:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(len(views), self._inference.count + 1)):
                        group.create_task(work())
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None
        return [seen[number] for number in range(len(views))]

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


def _busy_s(spans: Sequence[tuple[float, float]]) -> float:
    """Return the time, in seconds, that is inside at least one span from a beginning to an end."""
    total_s, until_s = 0.0, -math.inf
    for began_s, ended_s in sorted(spans):
        total_s += max(0.0, ended_s - max(began_s, until_s))
        until_s = max(until_s, ended_s)
    return total_s


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
