"""FIFO worker threads with a heartbeat for the watchdog."""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


def at_work() -> bool:
    """Return whether a thread of any `WorkerPool` is still alive."""
    return any(isinstance(thread, _Worker) for thread in threading.enumerate())


class _Worker(threading.Thread):
    pass


class WorkerPool:
    """A pool of daemon threads. They end with the process even while they work.

    `concurrent.futures` is no substitute: a hung thread of it keeps the process alive, and it measures no stall.
    """

    def __init__(self, count: int, name: str) -> None:
        """Start the threads.

        Args:
            count: number of threads.
            name: name of each thread, as shown in a stack dump.
        """
        self._name = name
        self._work: deque[tuple[Future[Any], Callable[[], Any], float]] = deque()
        self._changed = threading.Condition()
        self._began_s: dict[threading.Thread, float] = {}
        self._moved_s = 0.0
        self._threads: list[threading.Thread] = []
        self._count = 0
        self._closed = False
        self.resize(count)

    @property
    def count(self) -> int:
        """Number of threads that take work."""
        return self._count

    def resize(self, count: int) -> None:
        """Change the number of threads. A surplus thread ends after its current work."""
        with self._changed:
            self._count = count
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            for _ in range(count - len(self._threads)):
                thread = _Worker(target=self._run, name=self._name, daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify_all()

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Queue work for a thread and return its future.

        Raises:
            RuntimeError: `close` was called.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError(f"the threads {self._name!r} are closed")
            self._work.append((future, work, time.monotonic()))
            self._changed.notify()
        return future

    def stalled_s(self) -> float:
        """Return for how many seconds, at most, a thread has been at its work or no thread has taken queued work."""
        now_s = time.monotonic()
        with self._changed:
            since_s = list(self._began_s.values())
            if self._work:
                since_s.append(max(self._moved_s, self._work[0][2]))
        return now_s - min(since_s, default=now_s)

    def close(self) -> None:
        """Refuse new work. The threads end once the queued work is done."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def join(self, timeout_s: float) -> bool:
        """Wait for the threads to end after `close`. The call blocks.

        Returns:
            Whether all threads ended within `timeout_s`.
        """
        until_s = time.monotonic() + timeout_s
        for thread in list(self._threads):
            thread.join(max(0.0, until_s - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        me = threading.current_thread()
        while (taken := self._take(me)) is not None:
            future, work = taken
            try:
                result = work()
            except Exception as error:
                future.set_exception(error)
            except BaseException as error:  # a SystemExit would end the event loop that awaits the future
                future.set_exception(RuntimeError(f"the work ended with {error!r}"))
            else:
                future.set_result(result)
                del result  # an idle thread must not keep a photo
            del future, work, taken

    def _take(self, me: threading.Thread) -> tuple[Future[Any], Callable[[], Any]] | None:
        """Wait for work that is not cancelled and return it; return None if this thread is to end."""
        with self._changed:
            self._began_s.pop(me, None)
            self._moved_s = time.monotonic()
            while True:
                if self._threads.index(me) >= self._count:
                    self._threads.remove(me)
                    self._changed.notify()  # pass the wake-up on: it may be for any thread
                    return None
                while self._work:
                    future, work, _ = self._work.popleft()
                    if future.set_running_or_notify_cancel():
                        self._began_s[me] = self._moved_s = time.monotonic()
                        return future, work
                if self._closed:
                    return None
                self._changed.wait()
