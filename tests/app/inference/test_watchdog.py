import asyncio
import threading
import time

import pytest

from app.inference import watchdog
from app.inference.watchdog import EXIT_STATUS, Watchdog
from tests.app.wire import wait_until

LOOK_S = 0.01


class Ending:
    """What stands in for the end of the process."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.status = 0

    def __call__(self, status: int) -> None:
        self.status = status
        self.ended.set()


def test_lasting_trouble_ends_the_process(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        ending, began_s = Ending(), time.monotonic()
        Watchdog(lambda: "the worker hangs", limit_s=20, exit_s=0.2, look_s=LOOK_S, end=ending)
        assert await asyncio.to_thread(ending.ended.wait, 20)
        assert time.monotonic() - began_s >= 0.2
        assert ending.status == EXIT_STATUS

    asyncio.run(run())
    assert [record.levelname for record in caplog.records] == ["ERROR", "CRITICAL"]
    assert all("the worker hangs" in record.getMessage() for record in caplog.records)


def test_process_survives_trouble_that_passes() -> None:
    async def run() -> None:
        ending, troubles = Ending(), iter(["slow", "slow", *[None] * 100_000])
        watching = Watchdog(lambda: next(troubles), limit_s=20, exit_s=0.1, look_s=LOOK_S, end=ending)
        assert not await asyncio.to_thread(ending.ended.wait, 0.4)
        watching.stop()

    asyncio.run(run())


def test_hanging_event_loop_is_trouble(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        ending = Ending()
        watching = Watchdog(lambda: None, limit_s=0.1, exit_s=0, look_s=LOOK_S, end=ending)
        time.sleep(0.5)
        watching.stop()
        assert ending.ended.is_set()

    asyncio.run(run())
    assert "the event loop has not responded" in caplog.text


def test_hanging_log_does_not_delay_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog._log, "log", lambda *_: time.sleep(20))
    monkeypatch.setattr(watchdog, "_SAY_S", 0.1)

    async def run() -> None:
        ending = Ending()
        Watchdog(lambda: "the worker hangs", limit_s=20, exit_s=0.1, look_s=LOOK_S, end=ending)
        assert await asyncio.to_thread(ending.ended.wait, 10)

    asyncio.run(run())


def test_pause_of_the_process_is_no_trouble() -> None:
    """A process that was stopped for a while finds all its clocks ahead."""

    async def run() -> None:
        ending, troubles = Ending(), iter(["no progress for 100 s", *[None] * 100_000])
        watching = Watchdog(lambda: next(troubles), limit_s=20, exit_s=0, look_s=LOOK_S, end=ending)
        assert not await asyncio.to_thread(ending.ended.wait, 0.3)
        watching.stop()

    asyncio.run(run())


def test_closed_event_loop_ends_the_watch() -> None:
    async def begin() -> None:
        Watchdog(lambda: None, limit_s=20, exit_s=0, look_s=LOOK_S, end=Ending())

    asyncio.run(begin())
    wait_until(lambda: all(thread.name != "watchdog" for thread in threading.enumerate()), timeout_s=5)
