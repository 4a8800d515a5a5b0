"""A newer release takes over while the old one serves: loaded beside it, checked, swapped in, or refused."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from app.inference import malloc
from app.inference.scheduler import Scheduler
from app.inference.workers import Workers
from app.observability.metrics import Metrics
from model_store import store
from model_store.detector import Detector
from model_store.errors import (
    BrokenRelease,
    BrokenStateDict,
    GoldenMismatch,
    ModelError,
    ReleaseNotFound,
    UnknownArchitecture,
)

T = TypeVar("T")

_log = logging.getLogger(__name__)


_LOAD_S = 600.0
"""A load that takes longer hangs."""

_RELEASE_S = 0.2

_MODELS_FAULT = (BrokenRelease, BrokenStateDict, UnknownArchitecture, GoldenMismatch)
"""Where the release is at fault, and not the machine or what was asked for."""


@dataclass(frozen=True)
class Reload:
    """What a look for a newer release led to.

    Attributes:
        at: when.
        outcome: what.
        detail: which model serves now, or why another was refused; it names no path, for every client may see it.
    """

    at: datetime
    outcome: Literal["swapped", "unchanged", "refused"]
    detail: str


def open_newest(ref: str, *, root: Path, open_model: Callable[[str], Detector]) -> tuple[Detector, Reload | None]:
    """Open what a reference leads to at the start; if it is a name in the store and its newest is broken, an older one.

    A release that was refused while another served must not keep the process from starting anew.

    Args:
        ref: as `store.locate` takes it.
        root: the model store.
        open_model: opens a reference; raises ModelError.

    Returns:
        The model, and why it is not the newest.

    Raises:
        ModelError: that of the newest, where no other can be served.
    """
    try:
        return open_model(ref), None
    except _MODELS_FAULT as error:
        older = [] if "@" in ref or store.is_path(ref) else store.versions(root, ref)[-2::-1]
        for version in older:
            with suppress(ModelError):
                detector = open_model(f"{ref}@{version}")
                _log.error("the newest release of %s is refused, %s@%d is served: %s", ref, ref, version, error)
                return detector, _reload("refused", _without_paths(error, root))
        raise


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
        ref: str,
        root: Path,
        open_model: Callable[[str], Detector],
        known: str,
        last: Reload | None,
    ) -> None:
        """Take what is served now for granted.

        Args:
            scheduler: who runs the model.
            metrics: who counts.
            ref: what to look at, as `store.locate` takes it.
            root: the model store.
            open_model: finds, verifies, loads, warms and checks a model; raises ModelError.
            known: `store.fingerprint` of it before the model was loaded that is served now.
            last: why that is not the newest.
        """
        self.last = last
        self._scheduler = scheduler
        self._metrics = metrics
        self._ref, self._root = ref, root
        self._open_model = open_model
        self._loader = Workers(1, "loader")
        self._turn = asyncio.Lock()
        self._asked = asyncio.Event()
        self._known = known
        self._served = {_identity(scheduler.detector)}
        self._releasing: set[asyncio.Task[None]] = set()

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

    def close(self) -> None:
        """Load no more; what is being loaded is not waited for."""
        for task in self._releasing:
            task.cancel()
        self._loader.close()

    async def look(self, *, again: bool = False) -> Reload:
        """Load what the setting leads to now, if it is something else, and swap it in.

        Args:
            again: also what was refused before and has not changed since.

        Returns:
            What it led to; a release that was refused before and has not changed is told once more.
        """
        async with self._turn:
            was_refused = self.last is not None and self.last.outcome == "refused"
            try:
                found = await self._on_loader(partial(store.fingerprint, self._root, self._ref))
                if found == self._known and not (again and was_refused):
                    return (
                        self.last if was_refused and self.last else _reload("unchanged", f"{self._serving} is served")
                    )
                self._known = found
                done = await self._load()
            except (ModelError, OSError) as error:
                _log.warning("a release is refused: %s", error)
                done = _reload("refused", _without_paths(error, self._root))
            except Exception as error:  # whatever it is, the old model serves on
                _log.exception("a release is refused: it could not be loaded")
                done = _reload("refused", f"it could not be loaded: {type(error).__name__}")
            else:
                _log.info("reload: %s: %s", done.outcome, done.detail)
            self.last = done
            self._metrics.reloaded(done.outcome)
            return done

    @property
    def _serving(self) -> str:
        return _ref_of(self._scheduler.detector)

    async def _on_loader(self, work: Callable[[], T]) -> T:
        if (stalled_s := self._loader.stalled_s()) > _LOAD_S:
            raise TimeoutError(f"a release has been loading for {stalled_s:.0f} s")
        async with asyncio.timeout(_LOAD_S):
            return await asyncio.wrap_future(self._loader.submit(work))

    async def _release(self, old: list[Detector]) -> None:
        """Let go of a model when no request has it any more, on the loader: to free it takes a tenth of a second.

        Args:
            old: it; nobody else is to keep a name for it.
        """
        while self._scheduler.uses(old[0]):
            await asyncio.sleep(_RELEASE_S)
        await asyncio.sleep(_RELEASE_S)  # an answer may still be written
        await asyncio.wrap_future(self._loader.submit(partial(_let_go, old)))

    async def _load(self) -> Reload:
        """Load and swap in.

        Raises:
            ModelError: it cannot take over.
        """
        if self._releasing:  # never three models at once
            await asyncio.wait(self._releasing)
        served = self._scheduler.detector
        detector = await self._on_loader(partial(self._open_model, self._ref))
        card, known = detector.card, served.card.class_names
        if card.class_names[: len(known)] != known and _identity(detector) not in self._served:
            raise BrokenRelease(
                f"{_ref_of(detector)} has the classes {', '.join(card.class_names)}, and {self._serving} has "
                f"{', '.join(known)}: clients know these; more may follow them, and a start takes any"
            )
        if _identity(detector) == _identity(served):
            return _reload("unchanged", f"{self._serving} is served")
        self._scheduler.swap(detector)
        self._metrics.serving(detector)
        self._served.add(_identity(detector))
        releasing = asyncio.create_task(self._release([served]))
        self._releasing.add(releasing)
        releasing.add_done_callback(self._releasing.discard)
        return _reload("swapped", f"{_ref_of(detector)} is served, before it {_ref_of(served)}")


def _let_go(old: list[Detector]) -> None:
    old.clear()
    malloc.give_back()


def _reload(outcome: Literal["swapped", "unchanged", "refused"], detail: str) -> Reload:
    return Reload(datetime.now(UTC), outcome, detail)


def _ref_of(detector: Detector) -> str:
    return f"{detector.card.name}@{detector.card.version}"


def _identity(detector: Detector) -> tuple[object, ...]:
    card = detector.card
    return card.name, card.version, card.sha256, card.class_names


def _without_paths(error: Exception, root: Path) -> str:
    """Return an error's text for clients, who are to know neither the machine's folders nor other releases."""
    if isinstance(error, ReleaseNotFound):
        return str(error).partition(" in ")[0]
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    text = " ".join(str(error).split())
    for folder in (f"{root.absolute()}/", f"{root}/"):
        text = text.replace(folder, "")
    return text
