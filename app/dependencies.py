"""FastAPI dependencies of the routes: the parts of the app in `app.state`, and the request's time limit."""

from typing import Annotated, Any

from fastapi import Depends, Header, Request

from app.errors import NotReady
from app.http.uploads import BodyMemory
from app.inference.pipeline import Pipeline
from app.inference.reloading import Reloader
from app.inference.scheduler import Scheduler
from app.settings import Settings

_MIN_TIMEOUT_S = 0.1
_TIMEOUT = (
    "Seconds that you wait for the answer after the body is sent. The service's own limit applies if it is lower."
)
TimeoutHeader = Annotated[float | None, Header(ge=_MIN_TIMEOUT_S, allow_inf_nan=False, description=_TIMEOUT)]


def _state(name: str) -> Any:
    async def read(request: Request) -> Any:
        """Return a part of the app.

        Raises:
            NotReady: the app is still starting or already stopping.
        """
        if (part := getattr(request.app.state, name)) is None:
            raise NotReady("no model is loaded")
        return part

    return Depends(read)


SettingsDep = Annotated[Settings, _state("settings")]
MemoryDep = Annotated[BodyMemory, _state("memory")]
PipelineDep = Annotated[Pipeline, _state("pipeline")]
SchedulerDep = Annotated[Scheduler, _state("scheduler")]
ReloaderDep = Annotated[Reloader, _state("reloader")]


async def _timeout_s(settings: SettingsDep, x_request_timeout: TimeoutHeader = None) -> float:
    """Return the request's time limit: the client's, at most the service's."""
    return min(settings.request_timeout_s, x_request_timeout or settings.request_timeout_s)


TimeoutDep = Annotated[float, Depends(_timeout_s)]
