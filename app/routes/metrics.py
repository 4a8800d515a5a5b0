"""`GET /metrics`: the service's metrics for Prometheus."""

from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from app.errors import Forbidden, Unauthorized
from app.http.access import KeyCheck
from app.observability.metrics import CONTENT_TYPE
from app.openapi.responses import error_responses

router = APIRouter(tags=["Health"])

_TEXT: dict[str, Any] = {
    "content": {"text/plain": {"schema": {"type": "string"}, "example": "detect_images_total 3.0\n"}}
}


@router.get(
    "/metrics",
    summary="Read the Prometheus metrics",
    operation_id="metrics",
    response_class=Response,
    responses={200: _TEXT, **error_responses(Unauthorized, Forbidden)},
    dependencies=[Depends(KeyCheck("metrics"))],
)
async def metrics(request: Request) -> Response:
    """Return counters, gauges and histograms in Prometheus' text format."""
    return Response(await request.app.state.read_metrics(), media_type=CONTENT_TYPE)
