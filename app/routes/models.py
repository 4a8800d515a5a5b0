"""`GET /models` describes the served model; `POST /models/reload` loads a newer release."""

from fastapi import APIRouter

from app.dependencies import ReloaderDep, SchedulerDep, SettingsDep
from app.errors import Forbidden, InternalError, NotReady, ReleaseRefused, Unauthorized
from app.http.access import always_needs, needs
from app.http.problems import responses
from app.inference.selection import default_threshold
from app.schemas import ModelOut, ModelsOut, ReloadOut

router = APIRouter(tags=["Models"])


@router.get(
    "/models",
    summary="What is served?",
    operation_id="models",
    responses=responses(Unauthorized, Forbidden, InternalError, NotReady),
    **needs("detect"),
)
async def models(scheduler: SchedulerDep, reloader: ReloaderDep, settings: SettingsDep) -> ModelsOut:
    """List the served model: its classes, architecture, version, sha256, thresholds and figures."""
    detector = scheduler.detector
    threshold = default_threshold(detector.card, settings.score_threshold)
    return ModelsOut(
        models=[ModelOut.from_card(detector, default_score_threshold=threshold)],
        last_reload=None if reloader.last is None else ReloadOut.of(reloader.last),
    )


@router.post(
    "/models/reload",
    summary="Serve the newest release",
    operation_id="reload",
    responses=responses(Unauthorized, Forbidden, ReleaseRefused, InternalError, NotReady),
    **always_needs("admin"),
)
async def reload(reloader: ReloaderDep) -> ReloadOut:
    """Look for a newer release in the model store and serve it.

    The service loads, verifies and warms it beside the current model and checks it on its golden image. Requests are
    answered meanwhile. If the release is refused, the current model stays in use.
    """
    done = await reloader.look(again=True)
    if done.outcome == "refused":
        raise ReleaseRefused(done.detail)
    return ReloadOut.of(done)
