"""The retry policy of a call: when to try again and how long to wait, within one deadline."""

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from rendersight.client.errors import RendersightError, ServiceUnreachable, TimedOut, Unavailable, WrongSetting

TIMEOUT_S = 60.0
MAX_TIMEOUT_S = 86_400.0
"""One day. The service refuses an infinite X-Request-Timeout, and a socket refuses more than 24 days."""

RETRIES = 4

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 8.0
_SPREAD = 0.25
"""Random extra wait after Retry-After, at most this fraction of it, so that refused clients do not return together."""
_POLL_S = 0.25

NOT_NOW = (ServiceUnreachable, TimedOut, Unavailable)
"""Errors of a call to a service that is starting, stopping or at its limit."""


@dataclass(frozen=True)
class Timing:
    """Sources of time and randomness.

    Attributes:
        clock: monotonic clock, in seconds.
        chance: returns a random number in [0, 1).
    """

    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random


class Attempts:
    """The attempts of one call.

    A retry is always safe, because asking for detections changes nothing.
    """

    def __init__(self, *, retries: int, timeout_s: float, timing: Timing) -> None:
        """Start the deadline.

        Args:
            retries: maximum number of attempts after the first.
            timeout_s: time limit for all attempts and the pauses between them.
            timing: sources of time and randomness.

        Raises:
            WrongSetting: a number is out of range.
        """
        self._retries, self._timing = retries, timing
        self._end_s = timing.clock() + timeout_s
        self._done = 0

        if not 0 < timeout_s <= MAX_TIMEOUT_S:
            raise WrongSetting(
                f"timeout_s={timeout_s} is not accepted; accepted: seconds above 0, at most {MAX_TIMEOUT_S:g}"
            )
        if retries < 0:
            raise WrongSetting(f"retries={retries} is not accepted; accepted: a whole number from 0 on")

    def left_s(self) -> float:
        """Return the seconds left for the call, at least 0."""
        return max(0.0, self._end_s - self._timing.clock())

    def pause_after(self, error: RendersightError) -> float:
        """Return the seconds to wait before the next attempt.

        The pause is Retry-After if the service sends it. Otherwise the pause doubles from attempt to attempt, and
        half of it is random.

        Raises:
            RendersightError: `error` itself, if a retry cannot help, is not allowed, or would start after the deadline.
        """
        if self._done == self._retries or not isinstance(error, ServiceUnreachable | Unavailable):
            raise error
        asked_s = error.retry_after_s if isinstance(error, Unavailable) else None
        if asked_s is None:
            longest_s = min(_LONGEST_PAUSE_S, math.ldexp(_FIRST_PAUSE_S, self._done))
            pause_s = longest_s * (1 + self._timing.chance()) / 2
        else:
            pause_s = asked_s * (1 + _SPREAD * self._timing.chance())
        if pause_s >= self.left_s():
            raise error
        self._done += 1
        return pause_s


class Polls(Attempts):
    """Attempts at even intervals, until the answer is good."""

    def __init__(self, *, timeout_s: float, timing: Timing) -> None:
        """Start the deadline; the arguments are those of `Attempts`."""
        super().__init__(retries=0, timeout_s=timeout_s, timing=timing)
        self._timeout_s = timeout_s

    def pause_after(self, error: RendersightError) -> float:
        """Return the seconds to wait before the next attempt.

        Raises:
            TimedOut: no time is left for another attempt.
            RendersightError: `error` itself, if waiting does not help.
        """
        if not isinstance(error, NOT_NOW):
            raise error
        if self.left_s() <= _POLL_S:
            raise TimedOut(f"not ready within {self._timeout_s:g} s: {error}") from error
        return _POLL_S
