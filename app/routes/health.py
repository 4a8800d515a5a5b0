"""Is the process alive, and is it ready to detect."""

from fastapi import APIRouter

from app.errors import NotReady
from app.problems import responses
from app.readiness import SchedulerDep
from app.schemas import Health

router = APIRouter(tags=["Health"])


@router.get("/livez", summary="Is the process alive?", operation_id="livez")
async def livez() -> Health:
    """Answer 200 as long as the process answers at all, also while it detects."""
    return Health()


@router.get("/readyz", summary="Can it detect?", operation_id="readyz", responses=responses(NotReady))
async def readyz(_scheduler: SchedulerDep) -> Health:
    """Answer 200 once the model is loaded, warmed up and checked; 503 before that and while the service stops."""
    return Health()
