import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import pytest

from app.errors import DeadlineExceeded, NotReady, ServiceOverloaded
from app.inference.scheduler import MovingMean, Scheduler
from model_store.detector import Detector
from rendersight.detections import Detections
from rendersight.images import Photo, RgbImage
from tests.app.fakes import CARD, FOUND, FixedEngine, HeldEngine

PHOTO = Photo(np.zeros((4, 6, 3), np.uint8), 4, 6)


def run(engine: FixedEngine, test: Callable[[Scheduler], Awaitable[Any]], **options: Any) -> None:
    async def started() -> None:
        scheduler = Scheduler(Detector(CARD, engine), **{"queue_size": 8, **options})
        await test(scheduler)
        if isinstance(engine, HeldEngine):
            engine.release.set()
        assert await scheduler.close(lambda: 20)
        assert scheduler.waiting == 0

    asyncio.run(started())


def only_detections(found: Detections, _photo: Photo, _tile_count: int) -> Detections:
    return found


def asked(
    scheduler: Scheduler, *, decode: Callable[[], Photo] = lambda: PHOTO, timeout_s: float = 20, **options: Any
) -> asyncio.Task[tuple[Detections, dict[str, float]]]:
    job = scheduler.detect(scheduler.detector, decode, only_detections, timeout_s=timeout_s, **options)
    return asyncio.create_task(job)


async def begun(engine: HeldEngine) -> None:
    assert await asyncio.to_thread(engine.started.wait, 20)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


def test_detects_on_one_thread_off_the_event_loop() -> None:
    engine = FixedEngine()

    async def test(scheduler: Scheduler) -> None:
        found = await asyncio.gather(*(asked(scheduler) for _ in range(8)))
        assert all(detections is FOUND for detections, _ in found)

    run(engine, test)
    assert len(engine.images) == 8
    assert len(engine.threads) == 1
    assert threading.get_ident() not in engine.threads


def test_decodes_only_a_few_photos_ahead() -> None:
    engine = HeldEngine()
    decoded: list[int] = []

    def decode() -> Photo:
        decoded.append(threading.get_ident())
        return PHOTO

    async def test(scheduler: Scheduler) -> None:
        jobs = [asked(scheduler, decode=decode) for _ in range(8)]
        await begun(engine)
        await until(lambda: len(decoded) == 1 + 3)  # one computed, three ahead
        await asyncio.sleep(0.1)
        assert len(decoded) == 1 + 3
        assert threading.get_ident() not in decoded
        engine.release.set()
        assert len(await asyncio.gather(*jobs)) == 8

    run(engine, test, decoders=3)
    assert len(decoded) == 8


def test_raises_errors_to_the_caller() -> None:
    def broken() -> Photo:
        raise ZeroDivisionError

    async def test(scheduler: Scheduler) -> None:
        with pytest.raises(ZeroDivisionError):
            await asked(scheduler, decode=broken)
        assert (await asked(scheduler))[0] is FOUND

    run(FixedEngine(), test)


@pytest.mark.parametrize("encode_blocks", [False, True])
def test_encoding_that_blocks_leaves_the_event_loop(encode_blocks: bool) -> None:
    def encode(found: Detections, photo: Photo, _tile_count: int) -> tuple[bool, int]:
        return found is FOUND and photo is PHOTO, threading.get_ident()

    async def test(scheduler: Scheduler) -> None:
        job = scheduler.detect(scheduler.detector, lambda: PHOTO, encode, timeout_s=20, encode_blocks=encode_blocks)
        (is_given_both, thread), stages_s = await job
        assert is_given_both
        assert (thread != threading.get_ident()) == encode_blocks
        assert list(stages_s) == ["queue", "decode", "inference", "encode"]

    run(FixedEngine(), test)


def test_closing_finishes_admitted_requests() -> None:
    engine = HeldEngine()

    async def test(scheduler: Scheduler) -> None:
        jobs = [asked(scheduler), asked(scheduler)]
        await begun(engine)
        closing = asyncio.create_task(scheduler.close())
        await asyncio.sleep(0.05)
        assert not closing.done()
        with pytest.raises(NotReady):
            await asked(scheduler)
        engine.release.set()
        assert [found for found, _ in await asyncio.gather(*jobs)] == [FOUND, FOUND]
        assert await closing

    run(engine, test)


def test_closing_stops_waiting_in_time() -> None:
    engine = HeldEngine()

    async def test(scheduler: Scheduler) -> None:
        jobs = [asked(scheduler), asked(scheduler)]
        await begun(engine)
        assert not await scheduler.close(lambda: 0)
        with pytest.raises(NotReady):
            await jobs[1]
        engine.release.set()
        await asyncio.gather(*jobs, return_exceptions=True)

    run(engine, test)


def test_limits_the_queue() -> None:
    engine = HeldEngine()

    async def test(scheduler: Scheduler) -> None:
        jobs = [asked(scheduler)]
        await begun(engine)
        jobs += [asked(scheduler), asked(scheduler)]
        await asyncio.sleep(0)
        assert scheduler.waiting == 2
        with pytest.raises(ServiceOverloaded, match="2 requests are waiting; try again in 1 s") as refused:
            await asked(scheduler)
        assert refused.value.retry_after_s == 1
        engine.release.set()
        await asyncio.gather(*jobs)
        assert scheduler.waiting == 0

    run(engine, test, queue_size=2)


class SlowEngine(FixedEngine):
    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        time.sleep(0.4)
        return super().detect(images)


def test_refuses_requests_that_would_miss_their_deadline() -> None:
    async def test(scheduler: Scheduler) -> None:
        await asked(scheduler)  # now it is known how long one takes
        jobs = [asked(scheduler) for _ in range(5)]
        await asyncio.sleep(0)
        began_s = time.monotonic()
        with pytest.raises(
            ServiceOverloaded, match=r"4 requests are waiting; the wait is about 2\.\d s, the limit is 2\.5 s; "
        ) as refused:
            await asked(scheduler, timeout_s=2.5)
        assert time.monotonic() - began_s < 0.3
        assert refused.value.retry_after_s == 3  # six of 0.4 s, rounded up
        assert (await asked(scheduler, timeout_s=20))[1]["queue"] >= 1.5
        await asyncio.gather(*jobs)

    run(SlowEngine(), test)


def test_missed_deadline_keeps_its_slot_until_the_thread_ends() -> None:
    engine = HeldEngine()

    async def test(scheduler: Scheduler) -> None:
        computed = asked(scheduler, timeout_s=0.2)
        await begun(engine)
        with pytest.raises(DeadlineExceeded, match=r"not finished within 0\.2 s"):
            await computed
        with pytest.raises(ServiceOverloaded):  # its thread is still at it
            await asked(scheduler)
        engine.release.set()
        await until(lambda: not scheduler._jobs)
        assert (await asked(scheduler))[0] is FOUND

    run(engine, test, queue_size=0)
    assert len(engine.images) == 2


@pytest.mark.parametrize("way", ["deadline", "cancelled"])
def test_never_computes_abandoned_requests(way: str) -> None:
    engine = HeldEngine()

    async def test(scheduler: Scheduler) -> None:
        first = asked(scheduler)
        await begun(engine)
        # more than there are slots: some wait decoded, some for a slot
        waiting = [asked(scheduler, timeout_s=0.2 if way == "deadline" else 20) for _ in range(6)]
        await until(lambda: scheduler.waiting == 6)
        await asyncio.sleep(0.05)
        if way == "cancelled":
            for job in waiting:
                job.cancel()
        errors = await asyncio.gather(*waiting, return_exceptions=True)
        expected = {"deadline": DeadlineExceeded, "cancelled": asyncio.CancelledError}
        assert {type(error) for error in errors} == {expected[way]}
        await until(lambda: scheduler.waiting == 0)
        engine.release.set()
        await first
        assert (await asked(scheduler))[0] is FOUND

    run(engine, test)
    assert len(engine.images) == 2


def test_swap_affects_only_new_requests() -> None:
    old, new = HeldEngine(), FixedEngine(Detections.of([], [], []))
    new.parallel = 3

    async def test(scheduler: Scheduler) -> None:
        before = [asked(scheduler), asked(scheduler)]
        await begun(old)
        scheduler.swap(Detector(CARD, new))
        after, _ = await asked(scheduler)
        assert len(after) == 0
        assert not before[0].done()
        old.release.set()
        assert [found for found, _ in await asyncio.gather(*before)] == [FOUND, FOUND]

    run(old, test)
    assert (len(old.images), len(new.images)) == (2, 1)


def test_no_progress_is_seen() -> None:
    engine = HeldEngine()

    async def test(scheduler: Scheduler) -> None:
        assert scheduler.stalled_s == 0
        job = asked(scheduler)
        await begun(engine)
        await asyncio.sleep(0.1)
        assert 0.1 <= scheduler.stalled_s < 5
        engine.release.set()
        await job
        await until(lambda: scheduler.stalled_s == 0)

    run(engine, test)


class OnceSlowEngine(FixedEngine):
    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        if not self.images:
            time.sleep(0.5)
        return super().detect(images)


def test_recovers_from_one_slow_photo() -> None:
    async def test(scheduler: Scheduler) -> None:
        with pytest.raises(DeadlineExceeded):
            await asked(scheduler, timeout_s=0.2)
        await until(lambda: scheduler._inference_s.value > 0.4)
        for _ in range(30):  # one alone is tried, however slow the last one was
            await until(lambda: not scheduler._jobs)
            assert (await asked(scheduler, timeout_s=0.2))[0] is FOUND
        assert len(await asyncio.gather(*(asked(scheduler, timeout_s=0.2) for _ in range(2)))) == 2

    run(OnceSlowEngine(), test)


def test_mean_forgets_and_limits_outliers() -> None:
    mean = MovingMean()
    assert mean.value == 0
    mean.add(1.0)
    mean.add(2.0)
    assert mean.value == pytest.approx(1.1)
    mean.add(1000.0)
    assert mean.value == pytest.approx(0.9 * 1.1 + 0.1 * 4.4)
    for _ in range(60):
        mean.add(0.1)
    assert mean.value == pytest.approx(0.1, rel=0.05)


LARGE = Photo(np.zeros((300, 400, 3), np.uint8), 300, 400)


def tiled(scheduler: Scheduler, **options: Any) -> asyncio.Task[tuple[Detections, dict[str, float]]]:
    """Ask for four tiles, which make five views."""
    return asked(scheduler, decode=lambda: LARGE, tiles=4, views=5, **options)


class MeetingEngine(FixedEngine):
    """Finds something only if three threads are at work together."""

    parallel = 3

    def __init__(self) -> None:
        super().__init__()
        self.met = threading.Barrier(3)

    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        self.met.wait(20)
        return super().detect(images)


def test_views_are_spread_over_the_threads() -> None:
    engine = MeetingEngine()

    async def test(scheduler: Scheduler) -> None:
        _, stages_s = await asked(scheduler, decode=lambda: LARGE, tiles=2, views=3)
        assert list(stages_s) == ["queue", "decode", "inference", "encode"]
        assert min(stages_s.values()) >= 0

    run(engine, test)
    assert len(engine.threads) == 3
    assert len(engine.images) == 3
    assert any(image.shape == (300, 400, 3) for image in engine.images)


def test_other_requests_take_turns_with_tiles() -> None:
    engine = HeldEngine()

    async def test(scheduler: Scheduler) -> None:
        large = tiled(scheduler)
        await begun(engine)
        small = asked(scheduler)
        await until(lambda: scheduler.waiting == 5)
        await asyncio.sleep(0.05)
        engine.release.set()
        await asyncio.gather(large, small)

    run(engine, test)
    shapes = [image.shape for image in engine.images]
    assert len(shapes) == 6
    assert shapes.index((4, 6, 3)) <= 3


def test_each_tile_takes_room_in_the_queue() -> None:
    engine = HeldEngine()

    async def test(scheduler: Scheduler) -> None:
        first = asked(scheduler)
        await begun(engine)
        with pytest.raises(
            ServiceOverloaded, match="0 requests are waiting; the photo's 5 views do not fit into the queue; try again"
        ):
            await tiled(scheduler)
        engine.release.set()
        await first
        engine.release.clear()
        engine.started.clear()
        large = tiled(scheduler)  # alone, a photo may have more views than the queue
        await begun(engine)
        assert scheduler.waiting == 4
        with pytest.raises(ServiceOverloaded):
            await asked(scheduler)
        engine.release.set()
        await large
        assert (await asked(scheduler))[0] is FOUND

    run(engine, test, queue_size=3)


def test_each_tile_counts_for_the_deadline() -> None:
    async def test(scheduler: Scheduler) -> None:
        await asked(scheduler)  # now it is known how long a view takes
        job = asked(scheduler)
        await asyncio.sleep(0)
        with pytest.raises(ServiceOverloaded, match=r"the wait is about 2\.\d s, the limit is 2 s"):
            await tiled(scheduler, timeout_s=2)
        assert (await asked(scheduler, timeout_s=2))[0] is FOUND
        await job

    run(SlowEngine(), test)


@pytest.mark.parametrize("way", ["deadline", "cancelled"])
def test_never_computes_tiles_of_abandoned_requests(way: str) -> None:
    engine = HeldEngine()

    async def test(scheduler: Scheduler) -> None:
        large = tiled(scheduler, timeout_s=0.2 if way == "deadline" else 20)
        await begun(engine)
        if way == "cancelled":
            large.cancel()
        with pytest.raises(DeadlineExceeded if way == "deadline" else asyncio.CancelledError):
            await large
        await asyncio.sleep(0.05)  # now the tiles that wait are cancelled
        engine.release.set()
        await until(lambda: not scheduler._jobs)

    run(engine, test)
    assert len(engine.images) == 1


class OnceBrokenEngine(FixedEngine):
    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        found = super().detect(images)
        if len(self.images) == 2:
            raise FloatingPointError("not finite")
        return found


def test_one_broken_tile_fails_its_request_and_cancels_the_others() -> None:
    engine = OnceBrokenEngine()

    async def test(scheduler: Scheduler) -> None:
        with pytest.raises(FloatingPointError, match="not finite"):
            await tiled(scheduler)
        assert len(engine.images) < 5
        assert (await asked(scheduler))[0] is FOUND

    run(engine, test)


def test_all_tiles_use_the_detector_of_their_request() -> None:
    old, new = HeldEngine(), FixedEngine()
    new.parallel = 3

    async def test(scheduler: Scheduler) -> None:
        before, served = tiled(scheduler), scheduler.detector
        await begun(old)
        scheduler.swap(Detector(CARD, new))
        after = tiled(scheduler)
        assert scheduler.uses(served) == 1
        old.release.set()
        await asyncio.gather(before, after)

    run(old, test, queue_size=20)
    assert (len(old.images), len(new.images)) == (5, 5)
