"""create_app: lifespan, routes, error handlers; nothing else."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware

from app import problems
from app.lifecycle import Gate, Lifecycle
from app.metrics import Metrics
from app.middleware import HeadAsGet, LingeringClose
from app.routes import detect, docs, health, metrics, models
from app.scheduler import Scheduler
from app.settings import Settings
from app.telemetry import RequestLog
from app.upload import BodyMemory
from model_store.detector import Detector, open_detector

API_VERSION = "1.0.0"
"""Of the HTTP contract; a release of the software does not change it."""

_TAGS = [
    {"name": "Detection", "description": "Photo in, boxes out."},
    {"name": "Models", "description": "What is served."},
    {"name": "Health", "description": "For whoever watches the process."},
]
_INTRODUCTION = """
Finds objects in photos: `POST /detect` takes one image and answers with class, score and box of each object.

```sh
curl -F image=@photo.jpg 'http://127.0.0.1:8000/detect?score_threshold=0.7'
curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' http://127.0.0.1:8000/detect
```

- **Boxes** are `[x0, y0, x1, y1]` in pixels of the upright photo, origin top-left.
- **Thresholds**: an object is reported if its score is strictly above `score_threshold`; without one the default
  shown by `GET /models` holds. Then `labels` filters, then `max_detections` cuts.
- **Errors** are `application/problem+json` (RFC 9457), also for a path that does not exist (404) or a method that a
  path does not have (405): `status`, `title` and `detail` say what was wrong, `type` names the kind for a program,
  `errors` lists parameters at fault.
- **Request ids**: every answer carries `X-Request-ID`, yours if you sent one; the service's log has it too.
"""


class _Service(FastAPI):
    """FastAPI with `Problem` among the schemas of its OpenAPI document."""

    def openapi(self) -> dict[str, Any]:
        """Return the document; it is made once."""
        if self.openapi_schema is None:
            problems.describe(super().openapi())
        return super().openapi()


def create_app(settings: Settings, *, open_detector: Callable[..., Detector] = open_detector) -> FastAPI:
    """Build the service; the model is loaded when the app starts.

    Args:
        settings: everything that can be chosen.
        open_detector: finds and loads the model; called with the arguments of `model_store.detector.open_detector`.

    Returns:
        The app. Its start (the lifespan) raises ModelError where the model cannot be served.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        detector = await asyncio.to_thread(
            open_detector,
            settings.model,
            store_root=settings.model_store,
            device=settings.device,
            engine=settings.engine,
            class_names=settings.labels,
            streams=settings.streams,
            cache_dir=settings.cache_dir.expanduser(),
        )
        scheduler = Scheduler(detector, queue_size=settings.queue_size, decoders=settings.decoders)
        app.state.metrics.serving(detector)
        app.state.metrics.watch_queue(lambda: scheduler.waiting)
        app.state.scheduler = scheduler
        try:
            yield
        finally:
            app.state.scheduler = None
            await scheduler.close(settings.drain_timeout_s)

    measured, lifecycle = Metrics(), Lifecycle()
    app = _Service(
        title="Rendersight",
        version=API_VERSION,
        summary="A REST object detector.",
        description=_INTRODUCTION,
        openapi_tags=_TAGS,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        middleware=[
            Middleware(RequestLog, metrics=measured),
            Middleware(Gate, lifecycle=lifecycle),
            Middleware(HeadAsGet),
            Middleware(LingeringClose),
            Middleware(problems.CatchUnforeseen),
        ],
    )
    app.state.settings = settings
    app.state.scheduler = None
    app.state.metrics = measured
    app.state.lifecycle = lifecycle
    app.state.memory = BodyMemory(max(settings.max_held_bytes, settings.max_bytes))
    problems.install(app)
    for routes in (detect, models, health, metrics, docs):
        app.include_router(routes.router)
    return app
