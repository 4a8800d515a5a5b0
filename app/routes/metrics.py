"""What Prometheus reads."""

from fastapi import APIRouter, Response

from app.metrics import CONTENT_TYPE
from app.readiness import MetricsDep

router = APIRouter(tags=["Health"])


@router.get(
    "/metrics",
    summary="What Prometheus reads",
    operation_id="metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}, "example": "detect_images_total 3.0\n"}}}
    },
)
async def metrics(metrics: MetricsDep) -> Response:
    """Return counters, gauges and histograms of this process in Prometheus' text format."""
    return Response(metrics.text(), media_type=CONTENT_TYPE)
