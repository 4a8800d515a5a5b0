"""Stops on request: Ctrl-C and SIGTERM are answered at once, even while a long call into torch runs."""

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Event, Thread, main_thread
from types import FrameType
from typing import Any

from rendersight.command_line import INTERRUPTED
from training.console import Bar, say
from training.errors import Stopped

_GRACE_S = 1.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def stoppable(bar: Bar, stop_asked: Callable[[], bool]) -> Callable[..., Iterator[Any]]:
    """Return a progress bar that raises `Stopped` between two items if a stop was requested."""

    def wrapped(items: Iterable[Any], **options: Any) -> Iterator[Any]:
        for item in bar(items, **options):
            if stop_asked():
                raise Stopped
            yield item

    return wrapped


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Handle Ctrl-C and SIGTERM until the end of the block; yield a function that reports a requested stop.

    The first signal requests a stop after the current step. The second one raises KeyboardInterrupt in the main thread.
    If the main thread does not get to it, the process ends with status 130; all files are written atomically.

    Python runs signal handlers between two of its own instructions, and a backward pass can be one instruction for
    minutes. So a thread gets the signals too, through `signal.set_wakeup_fd`.
    """
    stop = _Stop()
    reading, writing = socket.socketpair()
    writing.setblocking(False)  # as set_wakeup_fd demands
    handlers = {number: signal.signal(number, stop.handle) for number in _SIGNALS}
    wakeup_fd = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    thread = Thread(target=stop.watch, args=(reading,), name="signals", daemon=True)
    thread.start()
    try:
        yield stop.asked.is_set
    finally:
        stop.ended.set()
        signal.set_wakeup_fd(wakeup_fd)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        writing.shutdown(socket.SHUT_RDWR)  # closing is not enough: forked readers of images hold the socket too
        thread.join()
        writing.close()
        reading.close()


class _Stop:
    """The signals so far.

    Attributes:
        asked: a stop was requested.
        ended: nothing is left to stop.
    """

    def __init__(self) -> None:
        self.asked, self.ended = Event(), Event()
        self._at_once = Event()
        self._is_raised = False

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        """Raise KeyboardInterrupt in the main thread once the second signal has arrived."""
        if self._at_once.is_set() and not self._is_raised:
            self._is_raised = True
            raise KeyboardInterrupt

    def watch(self, signals: socket.socket) -> None:
        """Answer the signals, each a byte with its number, until the socket is closed."""
        while numbers := signals.recv(16):
            for number in numbers:
                if number not in _SIGNALS:
                    continue
                if self.asked.is_set():
                    self._stop_at_once()
                    return
                self.asked.set()
                say("stopping after this step; press Ctrl-C again to stop at once")

    def _stop_at_once(self) -> None:
        self._at_once.set()
        ident = main_thread().ident
        if hasattr(signal, "pthread_kill") and ident is not None:  # not Windows
            signal.pthread_kill(ident, signal.SIGINT)  # the handler may have run before `_at_once` was set
        if self.ended.wait(_GRACE_S):
            return
        say("stopped at once")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)
