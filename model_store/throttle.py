"""Throttling of a model load: pauses between its steps leave time for other work."""

import time

_LONGEST_PAUSE_S = 1.0


class Throttle:
    """Pauses between the steps of a load.

    Attributes:
        is_full: whether the load runs at full speed, without pauses.
    """

    def __init__(self, share: float = 1.0) -> None:
        """Start timing the first step.

        Args:
            share: fraction of time that the steps may take, above 0 and up to 1; pauses take the rest.
        """
        self.is_full = share == 1
        self._pause = 1 / share - 1
        self._began_s = time.monotonic()

    def step(self) -> None:
        """Pause after a step, in proportion to its duration."""
        if self._pause:
            time.sleep(min(_LONGEST_PAUSE_S, self._pause * (time.monotonic() - self._began_s)))
        self._began_s = time.monotonic()
