"""Requests that wait for the engine, computed one by one, as in the service, or in batches."""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from app.inference.scheduler import Scheduler
from model_store.detector import Detector
from model_store.engines import Engine
from rendersight import images
from rendersight.detections import Detections
from rendersight.images import RgbImage

_TIMEOUT_S = 600.0
_WARM_UP_S = 1.0


class BatchingEngine:
    """An engine that computes all waiting images as one batch.

    The scheduler runs it like any other engine: each of its `parallel` threads passes in one image.

    Attributes:
        parallel: twice the largest batch, so that the next batch waits while one is computed.
        sizes: sizes of the batches computed so far.
    """

    def __init__(self, engine: Engine, most: int) -> None:
        """Wrap an engine; a batch has at most `most` images."""
        self.name, self.device, self.parallel = engine.name, engine.device, 2 * most
        self.sizes: list[int] = []
        self._engine, self._most = engine, most
        self._waiting: deque[tuple[RgbImage, Future[Detections]]] = deque()
        self._thread = ThreadPoolExecutor(1)

    @property
    def waiting(self) -> int:
        """Number of images that wait for the next batch."""
        return len(self._waiting)

    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        """Return the detections once the batches with these images are computed."""
        futures: list[Future[Detections]] = [Future() for _ in images]
        self._waiting.extend(zip(images, futures, strict=True))
        self._thread.submit(self._compute)
        return [future.result() for future in futures]

    def detect_on_every_lane(self, image: RgbImage) -> list[Detections]:
        """Return the detections of one image; there is only one lane."""
        return self.detect([image])

    def close(self) -> None:
        """Stop the batching thread."""
        self._thread.shutdown()

    def _compute(self) -> None:
        while taken := [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]:
            self.sizes.append(len(taken))
            try:
                found = self._engine.detect([image for image, _ in taken])
            except BaseException as error:
                for _, future in taken:
                    future.set_exception(error)
            else:
                for (_, future), one in zip(taken, found, strict=True):
                    future.set_result(one)


async def saturate(
    detector: Detector, files: Sequence[bytes], *, concurrency: int, decoders: int, seconds: float
) -> tuple[list[float], float]:
    """Send requests through the service's scheduler, from JPEG to detections, after a warm-up of one second.

    Args:
        detector: the detector that the scheduler runs.
        files: photos, sent one after the other and repeated.
        concurrency: open requests at any time; a new request follows each finished one.
        decoders: number of decoding threads.
        seconds: duration of sending.

    Returns:
        The latency of each request, ms, and the seconds until the last one was answered.
    """
    scheduler = Scheduler(detector, queue_size=concurrency, decoders=decoders)
    photos = itertools.cycle(files)

    async def latency_ms() -> float:
        began_s = time.perf_counter()
        decode = partial(images.decode_photo, next(photos), need=detector.info.input.resized_hw)
        await scheduler.detect(detector, decode, lambda found, _photo, _tile_count: found, timeout_s=_TIMEOUT_S)
        return 1000 * (time.perf_counter() - began_s)

    async def client(until_s: float) -> list[float]:
        taken_ms = [await latency_ms()]
        while time.perf_counter() < until_s:
            taken_ms.append(await latency_ms())
        return taken_ms

    async def clients(lasting_s: float) -> tuple[list[float], float]:
        began_s = time.perf_counter()
        taken = await asyncio.gather(*(client(began_s + lasting_s) for _ in range(concurrency)))
        return list(itertools.chain.from_iterable(taken)), time.perf_counter() - began_s

    try:
        await clients(min(_WARM_UP_S, seconds))
        return await clients(seconds)
    finally:
        await scheduler.close()
