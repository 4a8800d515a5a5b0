import asyncio
import threading
import time

import pytest

from app import watchdog
from app.watchdog import EXIT_STATUS, Watchdog


class Ending:
    """What stands in for the end of the process."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.status = 0

    def __call__(self, status: int) -> None:
        self.status = status
        self.ended.set()


def test_trouble_that_stays_ends_the_process(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        ending, began_s = Ending(), time.monotonic()
        Watchdog(lambda: "the worker hangs", limit_s=20, exit_s=0.6, end=ending)
        assert await asyncio.to_thread(ending.ended.wait, 20)
        assert time.monotonic() - began_s >= 0.6
        assert ending.status == EXIT_STATUS

    asyncio.run(run())
    assert [record.levelname for record in caplog.records] == ["ERROR", "CRITICAL"]
    assert all("the worker hangs" in record.getMessage() for record in caplog.records)


def test_trouble_that_passes_does_not() -> None:
    async def run() -> None:
        ending, troubles = Ending(), iter(["slow", "slow", *[None] * 1000])
        watching = Watchdog(lambda: next(troubles), limit_s=20, exit_s=0.6, end=ending)
        assert not await asyncio.to_thread(ending.ended.wait, 1.5)
        watching.stop()

    asyncio.run(run())


def test_an_event_loop_that_hangs_is_trouble(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        ending = Ending()
        watching = Watchdog(lambda: None, limit_s=0.5, exit_s=0, end=ending)
        time.sleep(1.5)
        watching.stop()
        assert ending.ended.is_set()

    asyncio.run(run())
    assert "the event loop is silent" in caplog.text


def test_a_log_that_hangs_does_not_keep_it_from_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog._log, "log", lambda *_: time.sleep(20))

    async def run() -> None:
        ending = Ending()
        Watchdog(lambda: "the worker hangs", limit_s=20, exit_s=0.1, end=ending)
        assert await asyncio.to_thread(ending.ended.wait, 10)

    asyncio.run(run())


def test_a_pause_alone_is_not_the_end() -> None:
    """A process that was stopped for a while finds all its clocks ahead."""

    async def run() -> None:
        ending, troubles = Ending(), iter(["no progress for 100 s", *[None] * 1000])
        watching = Watchdog(lambda: next(troubles), limit_s=20, exit_s=0, end=ending)
        assert not await asyncio.to_thread(ending.ended.wait, 1)
        watching.stop()

    asyncio.run(run())
