import asyncio
import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest

from app.errors import NotReady, Overloaded
from app.scheduler import Scheduler
from model_store.detector import Detector
from rendersight.detections import Detections
from rendersight.images import Photo, RgbImage
from tests.app.fakes import CARD, FOUND, FixedEngine, HeldEngine

PHOTO = Photo(np.zeros((4, 4, 3), np.uint8), 4, 4)


def test_one_thread_detects_and_it_is_not_the_event_loops() -> None:
    engine = FixedEngine()

    async def run() -> None:
        scheduler = Scheduler(Detector(CARD, engine), queue_size=8)
        found = await asyncio.gather(*(scheduler.detect(PHOTO) for _ in range(8)))
        assert all(item is FOUND for item in found)
        await asyncio.to_thread(scheduler.close)

    asyncio.run(run())
    assert len(engine.images) == 8
    assert len(engine.threads) == 1
    assert threading.get_ident() not in engine.threads


def test_decoding_goes_on_while_a_detection_runs() -> None:
    async def run() -> None:
        engine = HeldEngine()
        scheduler = Scheduler(Detector(CARD, engine), queue_size=8)
        detection = asyncio.create_task(scheduler.detect(PHOTO))
        assert await asyncio.to_thread(engine.started.wait, 10)
        thread = await scheduler.decode(threading.get_ident)
        assert thread != threading.get_ident()
        assert not engine.finished.is_set()
        engine.release.set()
        assert await detection is FOUND
        scheduler.close()

    asyncio.run(run())


def test_work_raises_where_it_is_awaited() -> None:
    async def run() -> None:
        scheduler = Scheduler(Detector(CARD, FixedEngine()), queue_size=8)
        with pytest.raises(ZeroDivisionError):
            await scheduler.decode(divmod, 1, 0)
        scheduler.close()

    asyncio.run(run())


def test_closing_finishes_what_was_taken_and_takes_no_more() -> None:
    async def run() -> None:
        engine = HeldEngine()
        scheduler = Scheduler(Detector(CARD, engine), queue_size=8)
        detection = asyncio.create_task(scheduler.detect(PHOTO))
        assert await asyncio.to_thread(engine.started.wait, 10)
        closing = asyncio.create_task(asyncio.to_thread(scheduler.close))
        await asyncio.sleep(0.05)
        assert not closing.done()
        with pytest.raises(NotReady):
            await scheduler.detect(PHOTO)
        engine.release.set()
        assert await detection is FOUND
        await closing

    asyncio.run(run())


def test_places_are_as_many_as_may_wait_and_those_that_are_computed() -> None:
    async def run() -> None:
        engine = HeldEngine()
        scheduler = Scheduler(Detector(CARD, engine), queue_size=2)
        engine.release.set()
        with scheduler.place(), scheduler.place():
            assert scheduler.waiting == 1
            with scheduler.place():
                with pytest.raises(Overloaded, match="2 requests wait already; try again in 1 s") as refused:
                    scheduler.place().__enter__()
                assert refused.value.retry_after_s == 1
            with scheduler.place():
                assert scheduler.waiting == 2
        assert scheduler.waiting == 0
        scheduler.close()

    asyncio.run(run())


def test_when_to_ask_again_follows_from_how_long_images_took() -> None:
    class SlowEngine(FixedEngine):
        def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
            time.sleep(0.6)
            return super().detect(images)

    async def run() -> None:
        scheduler = Scheduler(Detector(CARD, SlowEngine()), queue_size=2)
        await scheduler.detect(PHOTO)
        with scheduler.place(), scheduler.place(), scheduler.place(), pytest.raises(Overloaded) as refused:
            scheduler.place().__enter__()
        assert refused.value.retry_after_s == 2  # three of 0.6 s
        scheduler.close()

    asyncio.run(run())
