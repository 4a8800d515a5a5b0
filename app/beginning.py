"""What the routes that find objects have in common: how long a client waits, whether it is still there, who works."""

from functools import partial
from typing import Annotated, Protocol

from fastapi import Depends, Header, Request

from app.inference.formats import Format
from app.inference.pipeline import Detecting
from app.readiness import MetricsDep, SchedulerDep, SettingsDep
from app.schemas import SelectQuery

_MIN_TIMEOUT_S = 0.1
_TIMEOUT = (
    "How long you wait for the answer once the body is sent, in seconds; the service's own limit, where that is less."
)
TimeoutHeader = Annotated[float | None, Header(ge=_MIN_TIMEOUT_S, allow_inf_nan=False, description=_TIMEOUT)]


class Begin(Protocol):
    """Makes what finds objects, of what one request wants."""

    def __call__(self, *, query: SelectQuery, form: Format) -> Detecting:
        """Return it; nothing has been checked or begun."""


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
    """Return when the client has closed its connection; its body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


BeginDep = Annotated[Begin, Depends(_begin)]
