"""A newer release takes over while the old one serves: loaded beside it, checked, swapped in, or refused."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from app.metrics import Metrics
from app.scheduler import Scheduler
from app.workers import Workers
from model_store.detector import Detector
from model_store.errors import ModelError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reload:
    """What a look for a newer release led to.

    Attributes:
        at: when.
        outcome: what.
        detail: which model serves now, or why another was refused.
    """

    at: datetime
    outcome: Literal["swapped", "unchanged", "refused"]
    detail: str


class Reloader:
    """Looks whether the setting `MODEL` leads to something else than what is served.

    Attributes:
        last: what the last look led to that found something new; None before.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        metrics: Metrics,
        *,
        open_model: Callable[[], Detector],
        fingerprint: Callable[[], str],
        known: str,
    ) -> None:
        """Take what is served now for granted.

        Args:
            scheduler: who runs the model.
            metrics: who counts.
            open_model: finds, verifies, loads, warms and checks the model; raises ModelError.
            fingerprint: tells cheaply whether `open_model` would find other files than before.
            known: what it told before the model was loaded that is served now.
        """
        self.last: Reload | None = None
        self._scheduler = scheduler
        self._metrics = metrics
        self._open_model = open_model
        self._fingerprint = fingerprint
        self._loader = Workers(1, "loader")  # its own: a load that hangs keeps nothing from ending
        self._turn = asyncio.Lock()
        self._asked = asyncio.Event()
        self._known = known

    async def look_every(self, interval_s: float) -> None:
        """Look again and again, until cancelled; with 0 only when asked to."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(interval_s or None):
                    await self._asked.wait()
            again = self._asked.is_set()
            self._asked.clear()
            await self.look(again=again)

    def ask(self) -> None:
        """Have `look_every` look now, also at what was refused before."""
        self._asked.set()

    async def look(self, *, again: bool = False) -> Reload:
        """Load what the setting leads to now, if it is something else, and swap it in.

        Args:
            again: also what was refused before and has not changed since.

        Returns:
            What it led to; a release that was refused before and has not changed is told once more.
        """
        async with self._turn:
            found = await asyncio.wrap_future(self._loader.submit(self._fingerprint))
            was_refused = self.last is not None and self.last.outcome == "refused"
            if found == self._known and not (again and was_refused):
                return self.last if was_refused and self.last else _reload("unchanged", f"{self._serving} is served")
            self._known = found
            self.last = await self._load()
            self._metrics.reloaded(self.last.outcome)
            level = logging.WARNING if self.last.outcome == "refused" else logging.INFO
            _log.log(level, "reload: %s: %s", self.last.outcome, self.last.detail)
            return self.last

    @property
    def _serving(self) -> str:
        card = self._scheduler.detector.card
        return f"{card.name}@{card.version}"

    async def _load(self) -> Reload:
        served = self._scheduler.detector.card
        try:
            detector = await asyncio.wrap_future(self._loader.submit(self._open_model))
        except (ModelError, OSError) as error:
            return _reload("refused", " ".join(str(error).split()))
        except Exception as error:  # whatever it is, the old model serves on
            _log.exception("a release could not be loaded")
            return _reload("refused", f"it could not be loaded: {error!r}")
        card = detector.card
        if card.class_names[: len(served.class_names)] != served.class_names:
            return _reload(
                "refused",
                f"{card.name}@{card.version} has the classes {', '.join(card.class_names)}, and {self._serving} has "
                f"{', '.join(served.class_names)}: clients know these; more may follow them, and a start takes any",
            )
        if (card.name, card.version, card.sha256) == (served.name, served.version, served.sha256):
            return _reload("unchanged", f"{self._serving} is served")
        self._scheduler.swap(detector)
        self._metrics.serving(detector)
        return _reload("swapped", f"{card.name}@{card.version} is served, before it {served.name}@{served.version}")


def _reload(outcome: Literal["swapped", "unchanged", "refused"], detail: str) -> Reload:
    return Reload(datetime.now(UTC), outcome, detail)
