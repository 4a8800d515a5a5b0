"""`create_app`: the lifespan, routes and error handlers of the service."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from app.http import access, problems, v2_schemas
from app.http.keys import read_keys
from app.http.lifecycle import Gate, Lifecycle
from app.http.middleware import HeadAsGet, LingeringClose, SecurityHeaders
from app.http.uploads import BodyMemory
from app.http.v2_protocol import LENGTH_HEADER
from app.inference.pipeline import Pipeline
from app.inference.reloading import Reloader, open_newest
from app.inference.scheduler import Scheduler
from app.observability.metrics import ServiceMetrics
from app.observability.request_ids import REQUEST_ID_HEADER
from app.observability.request_log import RequestLog
from app.routes import batch, detect, docs, health, metrics, models, page, v2
from app.settings import Settings
from model_store import store
from model_store.detector import Detector, open_detector

API_VERSION = "1.0.0"
"""Version of the HTTP contract. It is independent of the software's version."""

_SHARE_BESIDE = 0.3
"""Fraction of CPU time that a model being loaded may use while another one serves. The rest answers requests."""

_TAGS = [
    {"name": "Detection", "description": "Photo in, boxes out."},
    {"name": "Open Inference Protocol", "description": "The same in the words of KServe, Triton and others."},
    {"name": "Models", "description": "What is served."},
    {"name": "Health", "description": "For whoever watches the process."},
]
_INTRODUCTION = """
Finds objects in photos: `POST /detect` takes one image and answers with class, score and box of each object.

```sh
curl -F image=@photo.jpg 'http://127.0.0.1:8000/detect?score_threshold=0.7'
curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' http://127.0.0.1:8000/detect
curl -F image=@photo.jpg -o boxes.jpg 'http://127.0.0.1:8000/detect?format=jpeg'
curl -F image=@a.jpg -F image=@b.jpg http://127.0.0.1:8000/detect/batch
```

- **Boxes** are `[x0, y0, x1, y1]` in pixels of the upright photo, origin top-left.
- **Thresholds**: an object is reported if its score is strictly above `score_threshold`; without one the default
  shown by `GET /models` holds. `iou_threshold` first drops the lesser of two that overlap; then the threshold and
  `labels` filter, and `max_detections` cuts.
- **Forms of the answer**: JSON, or by `format` or the header Accept the photo with its boxes, an annotation file for
  LabelMe or of COCO's form, or CSV.
- **Errors** are `application/problem+json` (RFC 9457), also for a path that does not exist (404) or a method that a
  path does not have (405): `status`, `title` and `detail` say what was wrong, `type` names the kind for a program,
  `errors` lists parameters at fault. At and below `/v2` they are `{"error": "..."}`, as that protocol has it.
- **Request ids**: every answer carries `X-Request-ID`, yours if you sent one; the service's log has it too.
"""


class _Service(FastAPI):
    """FastAPI with an OpenAPI document that describes problems, API keys and the served classes."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document. It is built once; each call writes the classes served now into it."""
        if self.openapi_schema is None:
            made = problems.describe(super().openapi())
            v2_schemas.describe(made)
            access.describe(made, has_keys=self.state.keys is not None)
            _leave_out_null(made)
        document = super().openapi()
        if self.state.scheduler is not None:
            card = self.state.scheduler.detector.card
            detect.describe(document, card.class_names)
            v2.describe(document, card)
        return document


def _leave_out_null(document: dict[str, Any]) -> None:
    """Remove null from the parameters' schemas: clients omit a query parameter or header, they cannot send null."""
    for item in document["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", []):
                schema = parameter["schema"]
                if "anyOf" in schema:
                    (only,) = (one for one in schema.pop("anyOf") if one != {"type": "null"})
                    schema.update(only)


def create_app(settings: Settings, *, open_detector: Callable[..., Detector] = open_detector) -> FastAPI:
    """Build the service. The app loads the model when it starts.

    Args:
        settings: the service's settings.
        open_detector: finds and loads the model; takes the arguments of `model_store.detector.open_detector`.

    Returns:
        The app. Its start (the lifespan) raises ModelError if the model cannot be served.

    Raises:
        InvalidKeysFile: the file of API keys is unreadable or invalid.
    """

    def open_model(ref: str, share: float = 1.0) -> Detector:
        return open_detector(
            ref,
            store_root=settings.model_store,
            device=settings.device,
            engine=settings.engine,
            class_names=settings.labels,
            streams=settings.streams,
            cache_dir=settings.cache_dir.expanduser(),
            share=share,
        )

    def started() -> tuple[Scheduler, Reloader]:
        ref, root = settings.model, settings.model_store
        known = store.fingerprint(root, ref)  # taken before loading, so that a later look sees a change made meanwhile
        detector, reason = open_newest(ref, root=root, open_model=open_model)
        scheduler = Scheduler(detector, queue_size=settings.queue_size, decoders=settings.decoders)
        beside = partial(open_model, share=_SHARE_BESIDE)
        reloader = Reloader(
            scheduler, app.state.metrics, ref=ref, root=root, open_model=beside, known=known, last=reason
        )
        return scheduler, reloader

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        scheduler, reloader = await asyncio.to_thread(started)
        app.state.metrics.serving(scheduler.detector)
        app.state.metrics.watch_queue(lambda: scheduler.waiting)
        app.state.scheduler, app.state.reloader = scheduler, reloader
        app.state.pipeline = Pipeline(scheduler, measured, settings.max_pixels, settings.score_threshold)
        looking = asyncio.create_task(reloader.look_every(settings.reload_interval_s))
        try:
            yield
        finally:
            looking.cancel()
            app.state.scheduler = app.state.reloader = app.state.pipeline = None
            reloader.close()
            lifecycle.stop(settings.drain_timeout_s)
            await scheduler.close(lifecycle.left_s)

    async def read_metrics() -> bytes:
        return measured.text()

    measured, lifecycle = ServiceMetrics(), Lifecycle()
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
            Middleware(SecurityHeaders),
            *_cross_origin(settings.cors_origins),
            Middleware(LingeringClose),
            Middleware(Gate, lifecycle=lifecycle),
            Middleware(HeadAsGet),
            Middleware(problems.CatchUnforeseen),
        ],
    )
    app.state.settings = settings
    app.state.scheduler = app.state.reloader = app.state.pipeline = None
    app.state.keys = None if settings.api_keys_file is None else read_keys(settings.api_keys_file)
    app.state.metrics = measured
    app.state.read_metrics = read_metrics  # replicas behind one address replace this to merge their metrics
    app.state.lifecycle = lifecycle
    app.state.memory = BodyMemory(max(settings.max_held_bytes, settings.max_bytes))
    problems.install(app)
    for routes in (detect, batch, v2, models, health, metrics, docs, page):
        app.include_router(routes.router)
    return app


def _cross_origin(origins: Sequence[str]) -> list[Middleware]:
    """Return the CORS middleware that lets pages of these origins call the service. Cookies are never allowed."""
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_credentials=False,
            allow_methods=["GET", "POST"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                LENGTH_HEADER,
                REQUEST_ID_HEADER,
                "X-Request-Timeout",
                "traceparent",
            ],
            expose_headers=[REQUEST_ID_HEADER, "Content-Disposition", LENGTH_HEADER, "Retry-After", "Server-Timing"],
        )
    ]
