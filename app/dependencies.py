"""FastAPI dependencies of the routes: settings, metrics, body memory, scheduler, reloader and `BeginDep`.

`BeginDep` gives the detecting routes the request's time limit and a check for a disconnected client.
"""

from functools import partial
from typing import Annotated, Protocol

from fastapi import Depends, Header, Request

from app.errors import NotReady
from app.http.uploads import BodyMemory
from app.inference.formats import Format
from app.inference.pipeline import Detecting
from app.inference.reloading import Reloader
from app.inference.scheduler import Scheduler
from app.observability.metrics import Metrics
from app.schemas import SelectQuery
from app.settings import Settings

_MIN_TIMEOUT_S = 0.1
_TIMEOUT = (
    "How long you wait for the answer once the body is sent, in seconds; the service's own limit, where that is less."
)
TimeoutHeader = Annotated[float | None, Header(ge=_MIN_TIMEOUT_S, allow_inf_nan=False, description=_TIMEOUT)]


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _scheduler(request: Request) -> Scheduler:
    """Return the scheduler.

    Raises:
        NotReady: the app is still starting or already stopping.
    """
    scheduler: Scheduler | None = request.app.state.scheduler
    if scheduler is None:
        raise NotReady("no model is loaded")
    return scheduler


async def _reloader(request: Request) -> Reloader:
    """Return the reloader.

    Raises:
        NotReady: the app is still starting or already stopping.
    """
    reloader: Reloader | None = request.app.state.reloader
    if reloader is None:
        raise NotReady("no model is loaded")
    return reloader


async def _memory(request: Request) -> BodyMemory:
    memory: BodyMemory = request.app.state.memory
    return memory


async def _metrics(request: Request) -> Metrics:
    metrics: Metrics = request.app.state.metrics
    return metrics


MetricsDep = Annotated[Metrics, Depends(_metrics)]
SettingsDep = Annotated[Settings, Depends(_settings)]
MemoryDep = Annotated[BodyMemory, Depends(_memory)]
ReloaderDep = Annotated[Reloader, Depends(_reloader)]
SchedulerDep = Annotated[Scheduler, Depends(_scheduler)]


class Begin(Protocol):
    """A function that builds a `Detecting` from a request's query and answer format."""

    def __call__(self, *, query: SelectQuery, form: Format) -> Detecting:
        """Return the `Detecting`. It has checked nothing and started nothing yet."""


async def _begin(
    request: Request,
    scheduler: SchedulerDep,
    settings: SettingsDep,
    metrics: MetricsDep,
    x_request_timeout: TimeoutHeader = None,
) -> Begin:
    return partial(
        Detecting,
        timeout_s=min(settings.request_timeout_s, x_request_timeout or settings.request_timeout_s),
        gone=partial(_left, request),
        scheduler=scheduler,
        settings=settings,
        metrics=metrics,
    )


async def _left(request: Request) -> None:
    """Return when the client has closed its connection. Call it after the body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


BeginDep = Annotated[Begin, Depends(_begin)]
