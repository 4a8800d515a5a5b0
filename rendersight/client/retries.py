"""When a call is tried again, and how long it waits before: within one deadline for all of it."""

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from rendersight.client.errors import RendersightError, ServiceUnreachable, TimedOut, Unavailable, WrongSetting

TIMEOUT_S = 60.0
MAX_TIMEOUT_S = 86_400.0
"""A day: the service takes no infinite X-Request-Timeout, and a socket none above 24 days."""

RETRIES = 4

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 8.0
_SPREAD = 0.25
"""After Retry-After, up to this share of it more, so that those who were sent away together do not return together."""
_POLL_S = 0.25

NOT_NOW = (ServiceUnreachable, TimedOut, Unavailable)
"""What a service that is starting, stopping or at its limit makes of a call."""


@dataclass(frozen=True)
class Timing:
    """Where the client takes time and chance from.

    Attributes:
        clock: monotonic, in seconds.
        chance: a number in [0, 1).
    """

    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random


class Attempts:
    """The attempts of one call.

    Asking for detections changes nothing, so whatever became of an attempt, the next one does no harm.
    """

    def __init__(self, *, retries: int, timeout_s: float, timing: Timing) -> None:
        """Begin.

        Args:
            retries: the most attempts after the first.
            timeout_s: for all attempts and the pauses between them.
            timing: where time and chance come from.

        Raises:
            WrongSetting: a number that is out of range.
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
        """Return how many seconds the call has left, 0 at the least."""
        return max(0.0, self._end_s - self._timing.clock())

    def pause_after(self, error: RendersightError) -> float:
        """Return for how many seconds to wait before the next attempt.

        Retry-After is waited for where the service gives one; else the pause doubles from attempt to attempt, with
        half of it left to chance.

        Raises:
            RendersightError: `error` itself, where no other attempt may help, is allowed, or would begin in time.
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
    """Asks until the answer is good, at even intervals."""

    def __init__(self, *, timeout_s: float, timing: Timing) -> None:
        """Begin; the arguments are those of `Attempts`."""
        super().__init__(retries=0, timeout_s=timeout_s, timing=timing)
        self._timeout_s = timeout_s

    def pause_after(self, error: RendersightError) -> float:
        """Return for how many seconds to wait before the next question.

        Raises:
            TimedOut: there is no time for it.
            RendersightError: `error` itself, where waiting does not help.
        """
        if not isinstance(error, NOT_NOW):
            raise error
        if self.left_s() <= _POLL_S:
            raise TimedOut(f"not ready within {self._timeout_s:g} s: {error}") from error
        return _POLL_S
