"""Health checks: `GET /livez` and `GET /readyz`."""

from fastapi import APIRouter, Request

from app.dependencies import SchedulerDep, SettingsDep
from app.errors import NotAlive, NotReady
from app.inference.scheduler import Scheduler
from app.openapi.responses import error_responses
from app.schemas import Health

router = APIRouter(tags=["Health"])


@router.get(
    "/livez", summary="Check that the process is alive", operation_id="livez", responses=error_responses(NotAlive)
)
async def livez(request: Request, settings: SettingsDep) -> Health:
    """Answer 200 while the worker threads make progress, 503 when they are stuck or the device is lost."""
    scheduler: Scheduler | None = request.app.state.scheduler
    if scheduler is not None:
        _refuse_if_lost(scheduler, settings.watchdog_s)
    return Health()


@router.get(
    "/readyz",
    summary="Check that the service can detect",
    operation_id="readyz",
    responses=error_responses(NotReady, NotAlive),
)
async def readyz(scheduler: SchedulerDep, settings: SettingsDep) -> Health:
    """Answer 200 once the model is loaded, warmed up and checked; 503 before that and while the service stops."""
    _refuse_if_lost(scheduler, settings.watchdog_s)
    return Health()


def _refuse_if_lost(scheduler: Scheduler, limit_s: float) -> None:
    if trouble := scheduler.trouble(limit_s):
        raise NotAlive(trouble)
