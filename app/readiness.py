"""What the routes take from the app: settings, metrics, the memory for bodies; and who runs the model, once loaded."""

from typing import Annotated

from fastapi import Depends, Request

from app.errors import NotReady
from app.http.uploads import BodyMemory
from app.inference.reloading import Reloader
from app.inference.scheduler import Scheduler
from app.observability.metrics import Metrics
from app.settings import Settings


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _scheduler(request: Request) -> Scheduler:
    """Return the scheduler.

    Raises:
        NotReady: before the app's start has ended and after its stop has begun.
    """
    scheduler: Scheduler | None = request.app.state.scheduler
    if scheduler is None:
        raise NotReady("no model is loaded")
    return scheduler


async def _reloader(request: Request) -> Reloader:
    """Return who looks for newer releases.

    Raises:
        NotReady: before the app's start has ended and after its stop has begun.
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
