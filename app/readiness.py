"""What the routes take from the app: its settings, and the scheduler once a model is loaded."""

from typing import Annotated

from fastapi import Depends, Request

from app.errors import NotReady
from app.scheduler import Scheduler
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


SettingsDep = Annotated[Settings, Depends(_settings)]
SchedulerDep = Annotated[Scheduler, Depends(_scheduler)]
