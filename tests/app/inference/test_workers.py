import threading
import time
from concurrent.futures import wait

import pytest

from app.inference.workers import WorkerPool, at_work


def test_runs_work_in_order() -> None:
    threads = WorkerPool(1, "tested")
    done: list[int] = []
    futures = [threads.submit(lambda number=number: done.append(number)) for number in range(20)]  # type: ignore[misc]
    wait(futures, 20)
    assert done == list(range(20))
    threads.close()
    assert threads.join(20)


def test_thread_survives_an_error() -> None:
    threads = WorkerPool(1, "tested")

    def exits() -> None:
        raise SystemExit(3)

    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 // 0).result(20)
    with pytest.raises(RuntimeError, match=r"the work ended with SystemExit\(3\)"):
        threads.submit(exits).result(20)
    assert threads.submit(lambda: 5).result(20) == 5
    threads.close()
    assert threads.join(20)


def test_skips_cancelled_work() -> None:
    threads = WorkerPool(1, "tested")
    held = threading.Event()
    first, second = threads.submit(lambda: held.wait(20)), threads.submit(pytest.fail)
    third = threads.submit(lambda: "done")
    assert second.cancel()
    held.set()
    assert first.result(20)
    assert third.result(20) == "done"
    threads.close()
    assert threads.join(20)


def test_sees_hanging_threads_and_stuck_work() -> None:
    threads = WorkerPool(2, "tested")
    held = threading.Event()
    began_s = time.monotonic()
    hanging = threads.submit(lambda: held.wait(20))
    while time.monotonic() - began_s < 0.2:
        threads.submit(lambda: None).result(20)  # the other one goes on
    assert threads.stalled_s() >= 0.15
    held.set()
    hanging.result(20)
    nobody = WorkerPool(0, "tested")
    nobody.submit(lambda: None)
    time.sleep(0.05)
    assert nobody.stalled_s() >= 0.05
    threads.close()
    assert threads.join(20)
    assert threads.stalled_s() == 0  # nobody is at work any more


def test_resizes_the_pool() -> None:
    threads = WorkerPool(1, "tested-resize")
    for count in (3, 1, 2):
        threads.resize(count)
        assert threads.count == count
        barrier = threading.Barrier(count)
        wait([threads.submit(lambda barrier=barrier: barrier.wait(20)) for _ in range(count)], 20)  # type: ignore[misc]
        deadline_s = time.monotonic() + 20
        while sum(thread.name == "tested-resize" for thread in threading.enumerate()) != count:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
    threads.close()
    assert threads.join(20)


def test_closing_says_whether_the_work_is_done() -> None:
    threads = WorkerPool(1, "tested")
    held = threading.Event()
    work = threads.submit(lambda: held.wait(20))
    threads.close()
    assert not threads.join(0.05)
    assert at_work()
    with pytest.raises(RuntimeError, match="closed"):
        threads.submit(lambda: None)
    held.set()
    assert work.result(20)
    threads.close()
    assert threads.join(20)
