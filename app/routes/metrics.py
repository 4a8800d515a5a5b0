"""`GET /metrics`: the service's metrics for Prometheus."""

from typing import Any

from fastapi import APIRouter, Request, Response

from app.errors import Forbidden, Unauthorized
from app.http.access import needs
from app.http.problems import responses
from app.observability.metrics import CONTENT_TYPE

router = APIRouter(tags=["Health"])

_TEXT: dict[str, Any] = {
    "content": {"text/plain": {"schema": {"type": "string"}, "example": "detect_images_total 3.0\n"}}
}


@router.get(
    "/metrics",
    summary="What Prometheus reads",
    operation_id="metrics",
    response_class=Response,
    responses={200: _TEXT, **responses(Unauthorized, Forbidden)},
    **needs("metrics"),
)
async def metrics(request: Request) -> Response:
    """Return counters, gauges and histograms in Prometheus' text format."""
    return Response(await request.app.state.read_metrics(), media_type=CONTENT_TYPE)
