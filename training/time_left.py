"""Speed of repeated work, such as training steps, and the time that is left at this speed."""

from collections import deque
from collections.abc import Callable
from itertools import accumulate
from statistics import median

_LATEST = 64
_SMALL_WINDOW = 2
_MEASURED = 3
_ONLY_SLIGHTLY_WRONG = 1 / 3
_WORTH_CORRECTING_S = 60.0


def duration(seconds: float) -> str:
    """Format a duration as minutes, or as hours from two hours on."""
    minutes = max(1, round(seconds / 60))
    if minutes < 120:  # noqa: PLR2004
        return f"{minutes} min"
    return f"{minutes / 60:.1f} h"


class SecondsPerItem:
    """Duration of one item in seconds: a moving median over windows of the latest items.

    A slow item, such as the first one, does not move a median. Windows are needed because processes that work side by
    side finish several items at once.
    """

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=_LATEST)

    def add(self, seconds: float) -> None:
        """Add the time that one item took."""
        self._seconds.append(seconds)

    @property
    def each_s(self) -> float | None:
        """Seconds per item; None before the first."""
        if not self._seconds:
            return None
        ends = [0.0, *accumulate(self._seconds)]
        count = len(self._seconds)
        window = max(1, min(_SMALL_WINDOW, count // 2), count // 4)
        return median((end - start) / window for start, end in zip(ends, ends[window:], strict=False))


class Announcer:
    """Announcement of the remaining time once three items are measured, and again if the estimate was wrong."""

    def __init__(self, say: Callable[[str], None], *, unit: str = "each", advice: str = "") -> None:
        """Announce through `say`.

        Args:
            say: writes a line for the user.
            unit: what one item is, as in "0.50 s a step".
            advice: text for the end of the first line.
        """
        self._say, self._unit, self._advice = say, unit, advice
        self._speed, self._count = SecondsPerItem(), 0
        self._elapsed_s = 0.0
        self._announced_end_s: float | None = None

    def add(self, seconds: float, *, left: int) -> None:
        """Add the time that one item took; `left` items remain. Leave out the first item, which is slower."""
        self._speed.add(seconds)
        self._count += 1
        self._elapsed_s += seconds
        is_power_of_two = self._count & (self._count - 1) == 0
        each = self._speed.each_s
        if each is None or self._count < _MEASURED or not (self._count == _MEASURED or is_power_of_two):
            return
        text = f"{each:.2f} s {self._unit}, {left} left: about {duration(each * left)}"
        end_s = self._elapsed_s + each * left
        if self._announced_end_s is None:
            self._say(text + self._advice)
        elif abs(end_s - self._announced_end_s) > max(_WORTH_CORRECTING_S, _ONLY_SLIGHTLY_WRONG * each * left):
            self._say(f"corrected: {text}")
        else:
            return
        self._announced_end_s = end_s
