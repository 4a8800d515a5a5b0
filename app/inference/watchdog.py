"""The watchdog: ends a process that is stuck. Supervisors restart a process that exits, not one that is unhealthy."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable

EXIT_STATUS = 70
"""EX_SOFTWARE in sysexits.h: an internal software error."""

_SAY_S = 1.0
_log = logging.getLogger(__name__)


class Watchdog:
    """A thread that checks for trouble and ends the process if the trouble lasts."""

    def __init__(
        self,
        trouble: Callable[[], str | None],
        *,
        limit_s: float,
        exit_s: float,
        look_s: float = 0.25,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        """Start the thread. Call it on the event loop.

        Args:
            trouble: returns a description of what is wrong, or None if nothing is.
            limit_s: time for which the event loop may not respond.
            exit_s: time for which trouble may last.
            look_s: interval between two checks.
            end: ends the process with a status at once.
        """
        self._trouble = trouble
        self._limit_s = limit_s
        self._exit_s = exit_s
        self._look_s = look_s
        self._end = end
        self._loop = asyncio.get_running_loop()
        self._beat_s = time.monotonic()
        self._stopped = threading.Event()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stop the thread."""
        self._stopped.set()

    def _watch(self) -> None:
        since_s: float | None = None
        while not self._stopped.wait(self._look_s):
            try:
                self._loop.call_soon_threadsafe(self._beat)
            except RuntimeError:  # the loop is closed
                return
            if (trouble := self._silence() or self._trouble()) is None:
                since_s = None
                continue
            if since_s is None:  # the grace period starts here: a process that was paused only looks stuck at first
                since_s = time.monotonic()
                _say(logging.ERROR, f"{trouble}; the process exits in {self._exit_s:g} s unless it recovers")
            elif time.monotonic() - since_s >= self._exit_s:
                _say(logging.CRITICAL, f"{trouble}; the process exits")
                self._end(EXIT_STATUS)
                return

    def _beat(self) -> None:
        self._beat_s = time.monotonic()

    def _silence(self) -> str | None:
        silent_s = time.monotonic() - self._beat_s
        return f"the event loop has not responded for {silent_s:.0f} s" if silent_s > self._limit_s else None


def _say(level: int, text: str) -> None:
    """Log a line on its own thread and wait at most `_SAY_S`: the log itself may be what hangs."""
    saying = threading.Thread(target=_log.log, args=(level, text), daemon=True)
    saying.start()
    saying.join(_SAY_S)
