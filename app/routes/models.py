"""`GET /models` describes the served model; `POST /models/reload` loads a newer release."""

from fastapi import APIRouter, Depends

from app.dependencies import ReloaderDep, SchedulerDep, SettingsDep
from app.errors import Forbidden, InternalError, NotReady, ReleaseRefused, Unauthorized
from app.http.access import KeyCheck
from app.inference.selection import default_threshold
from app.openapi.responses import error_responses
from app.schemas import ModelOut, ModelsOut, ReloadOut

router = APIRouter(tags=["Models"])


@router.get(
    "/models",
    summary="Describe the served model",
    operation_id="models",
    responses=error_responses(Unauthorized, Forbidden, InternalError, NotReady),
    dependencies=[Depends(KeyCheck("detect"))],
)
async def models(scheduler: SchedulerDep, reloader: ReloaderDep, settings: SettingsDep) -> ModelsOut:
    """List the served model: its classes, architecture, version, sha256, thresholds and figures."""
    detector = scheduler.detector
    threshold = default_threshold(detector.info, settings.score_threshold)
    return ModelsOut(
        models=[ModelOut.from_card(detector, default_score_threshold=threshold)],
        last_reload=None if reloader.last is None else ReloadOut.model_validate(reloader.last),
    )


@router.post(
    "/models/reload",
    summary="Load the newest release",
    operation_id="reload",
    responses=error_responses(Unauthorized, Forbidden, ReleaseRefused, InternalError, NotReady),
    dependencies=[Depends(KeyCheck("admin", always=True))],
)
async def reload(reloader: ReloaderDep) -> ReloadOut:
    """Look for a newer release in the model store and serve it.

    The service loads, verifies and warms it beside the current model and checks it on its golden image. Requests are
    answered meanwhile. If the release is refused, the current model stays in use.
    """
    done = await reloader.look(again=True)
    if done.outcome == "refused":
        raise ReleaseRefused(done.detail)
    return ReloadOut.model_validate(done)
