"""Hot reload: load a newer release beside the served one, check it, then swap it in or refuse it."""

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
from app.inference.workers import WorkerPool
from app.observability.metrics import ServiceMetrics
from model_store import references, store
from model_store.detector import Detector
from model_store.errors import (
    BrokenRelease,
    BrokenStateDict,
    GoldenMismatch,
    ModelError,
    ReleaseNotFound,
    UnknownArchitecture,
)
from model_store.references import ReleaseRef

T = TypeVar("T")

_log = logging.getLogger(__name__)


_LOAD_S = 600.0
"""Time after which a load counts as hung."""

_RELEASE_S = 0.2

_MODELS_FAULT = (BrokenRelease, BrokenStateDict, UnknownArchitecture, GoldenMismatch)
"""Errors caused by the release itself, not by the machine or the reference."""


@dataclass(frozen=True)
class Reload:
    """Result of checking for a newer release.

    Attributes:
        at: time of the check, UTC.
        outcome: whether a model was swapped in, nothing changed, or a release was refused.
        detail: the model that serves now, or the reason for the refusal. It names no path, because clients see it.
    """

    at: datetime
    outcome: Literal["swapped", "unchanged", "refused"]
    detail: str


def open_newest(ref: str, *, root: Path, open_model: Callable[[str], Detector]) -> tuple[Detector, Reload | None]:
    """Open the referenced model at start. If a name's newest release is broken, open the newest older one that works.

    So a release that a running service refused does not keep the process from restarting.

    Args:
        ref: a model reference, as in `store.locate`.
        root: the model store.
        open_model: opens a reference; raises ModelError.

    Returns:
        The model, and the refusal of the newest release; None if the newest is served.

    Raises:
        ModelError: no model can be served; the error is that of the newest.
    """
    wanted = references.parse(ref)
    try:
        return open_model(ref), None
    except _MODELS_FAULT as error:
        is_newest = isinstance(wanted, ReleaseRef) and wanted.version is None
        older = store.versions(root, ref)[-2::-1] if is_newest else []
        for version in older:
            with suppress(ModelError):
                detector = open_model(f"{ref}@{version}")
                _log.error("newest release of %s refused, serving %s@%d instead: %s", ref, ref, version, error)
                return detector, _reload("refused", _without_paths(error, root))
        raise


class Reloader:
    """Checks whether the setting `MODEL` points to another model than the served one, and swaps it in.

    Attributes:
        last: result of the last check that found something new; None before the first.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        metrics: ServiceMetrics,
        *,
        ref: str,
        root: Path,
        open_model: Callable[[str], Detector],
        known: str,
        last: Reload | None,
    ) -> None:
        """Start with the model that the scheduler serves now.

        Args:
            scheduler: the scheduler that runs the model.
            metrics: the app's metrics.
            ref: the model reference to check, as in `store.locate`.
            root: the model store.
            open_model: finds, verifies, loads, warms and checks a model; raises ModelError.
            known: `store.fingerprint` of `ref`, taken before the served model was loaded.
            last: the refusal of the newest release if an older one is served, else None.
        """
        self.last = last
        self._scheduler = scheduler
        self._metrics = metrics
        self._ref, self._root = ref, root
        self._open_model = open_model
        self._loader = WorkerPool(1, "loader")
        self._turn = asyncio.Lock()
        self._asked = asyncio.Event()
        self._known = known
        self._served = {_identity(scheduler.detector)}
        self._releasing: set[asyncio.Task[None]] = set()

    async def look_every(self, interval_s: float) -> None:
        """Call `look` every `interval_s` seconds until cancelled. With 0, call it only after `ask`."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(interval_s or None):
                    await self._asked.wait()
            again = self._asked.is_set()
            self._asked.clear()
            await self.look(again=again)

    def ask(self) -> None:
        """Make `look_every` check now, including a release that was refused before."""
        self._asked.set()

    def close(self) -> None:
        """Stop loading. A load in progress is not waited for."""
        for task in self._releasing:
            task.cancel()
        self._loader.close()

    async def look(self, *, again: bool = False) -> Reload:
        """Check the model reference. If it points to another model now, load that model and swap it in.

        Args:
            again: whether to try an unchanged release again that was refused before.

        Returns:
            The result. For an unchanged release that was refused before, it is the earlier refusal.
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
                _log.warning("release refused: %s", error)
                done = _reload("refused", _without_paths(error, self._root))
            except Exception as error:  # whatever the error, the old model stays in use
                _log.exception("release refused: loading it failed")
                done = _reload("refused", f"loading the release failed: {type(error).__name__}")
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
            raise TimeoutError(f"another release has been loading for {stalled_s:.0f} s")
        async with asyncio.timeout(_LOAD_S):
            return await asyncio.wrap_future(self._loader.submit(work))

    async def _release(self, old: list[Detector]) -> None:
        """Free a replaced model once no request uses it. The loader thread does it, because it takes 0.1 s.

        Args:
            old: a list with the model as its only item. The caller keeps no other reference to the model.
        """
        while self._scheduler.uses(old[0]):
            await asyncio.sleep(_RELEASE_S)
        await asyncio.sleep(_RELEASE_S)  # an answer may still be written
        await asyncio.wrap_future(self._loader.submit(partial(_let_go, old)))

    async def _load(self) -> Reload:
        """Load the referenced model and swap it in.

        Raises:
            ModelError: the model cannot be loaded, or its classes do not extend the served ones.
        """
        if self._releasing:  # never three models at once
            await asyncio.wait(self._releasing)
        served = self._scheduler.detector
        detector = await self._on_loader(partial(self._open_model, self._ref))
        info, known = detector.info, served.info.class_names
        if info.class_names[: len(known)] != known and _identity(detector) not in self._served:
            raise BrokenRelease(
                f"{_ref_of(detector)} has the classes {', '.join(info.class_names)}, and {self._serving} has "
                f"{', '.join(known)}: a reload may only add classes at the end; restart the service to change them"
            )
        if _identity(detector) == _identity(served):
            return _reload("unchanged", f"{self._serving} is served")
        self._scheduler.swap(detector)
        self._metrics.serving(detector)
        self._served.add(_identity(detector))
        releasing = asyncio.create_task(self._release([served]))
        self._releasing.add(releasing)
        releasing.add_done_callback(self._releasing.discard)
        return _reload("swapped", f"{_ref_of(detector)} replaces {_ref_of(served)}")


def _let_go(old: list[Detector]) -> None:
    old.clear()
    malloc.give_back()


def _reload(outcome: Literal["swapped", "unchanged", "refused"], detail: str) -> Reload:
    return Reload(datetime.now(UTC), outcome, detail)


def _ref_of(detector: Detector) -> str:
    return f"{detector.info.name}@{detector.info.version}"


def _identity(detector: Detector) -> tuple[object, ...]:
    info = detector.info
    return info.name, info.version, info.sha256, info.class_names


def _without_paths(error: Exception, root: Path) -> str:
    """Return an error's text for clients. It reveals neither the machine's folders nor other releases."""
    if isinstance(error, ReleaseNotFound):
        return str(error).partition(" in ")[0]
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    text = " ".join(str(error).split())
    for folder in (f"{root.absolute()}/", f"{root}/"):
        text = text.replace(folder, "")
    return text
