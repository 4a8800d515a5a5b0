"""How fast to load: at full speed, or so that something else goes on meanwhile."""

import time

_LONGEST_PAUSE_S = 1.0


class Pace:
    """Pauses between the steps of a load.

    Attributes:
        is_full: there are no pauses.
    """

    def __init__(self, share: float = 1.0) -> None:
        """Begin.

        Args:
            share: of the time that the steps may take, above 0 and up to 1; the rest is paused.
        """
        self.is_full = share == 1
        self._pause = 1 / share - 1
        self._began_s = time.monotonic()

    def step(self) -> None:
        """Pause after a step, in proportion to what it took."""
        if self._pause:
            time.sleep(min(_LONGEST_PAUSE_S, self._pause * (time.monotonic() - self._began_s)))
        self._began_s = time.monotonic()
