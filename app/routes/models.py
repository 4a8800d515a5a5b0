"""What is served."""

from fastapi import APIRouter

from app.errors import InternalError, NotReady
from app.problems import responses
from app.readiness import SchedulerDep, SettingsDep
from app.schemas import ModelOut, ModelsOut
from app.selection import default_threshold

router = APIRouter(tags=["Models"])


@router.get(
    "/models",
    summary="What is served?",
    operation_id="models",
    responses=responses(InternalError, NotReady),
)
async def models(scheduler: SchedulerDep, settings: SettingsDep) -> ModelsOut:
    """List the served model: its classes, architecture, version, sha256, thresholds and figures."""
    detector = scheduler.detector
    threshold = default_threshold(detector.card, settings.score_threshold)
    return ModelsOut(models=[ModelOut.from_card(detector, default_score_threshold=threshold)])
