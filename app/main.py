"""`create_app`: the lifespan, routes and error handlers of the service."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from app.http import problems
from app.http.keys import read_keys
from app.http.lifecycle import Gate, Lifecycle
from app.http.middleware import HeadAsGet, LingeringClose, SecurityHeaders
from app.http.uploads import BodyMemory
from app.http.v2_protocol import LENGTH_HEADER
from app.inference.pipeline import Pipeline
from app.inference.reloading import Reloader, open_newest
from app.inference.scheduler import Scheduler
from app.observability.metrics import ServiceMetrics
from app.observability.request_log import REQUEST_ID_HEADER, RequestLog
from app.openapi import document
from app.routes import batch, detect, docs, health, metrics, models, page, v2
from app.settings import Settings
from model_store import store
from model_store.detector import Detector, open_detector

_log = logging.getLogger(__name__)

API_VERSION = "1.0.0"
"""Version of the HTTP contract. It is independent of the software's version."""

_SHARE_BESIDE = 0.3
"""Fraction of CPU time that a model being loaded may use while another one serves. The rest answers requests."""

_OWN_HEADERS = (LENGTH_HEADER, REQUEST_ID_HEADER)
_ROUTERS = tuple(module.router for module in (detect, batch, v2, models, health, metrics, docs, page))


class _Service(FastAPI):
    """FastAPI with an OpenAPI document that describes problems, API keys and the served classes."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document. It is built once; each call writes the classes served now into it."""
        is_new = self.openapi_schema is None
        made = super().openapi()
        if is_new:
            document.complete(made, _ROUTERS, has_keys=self.state.keys is not None)
        if self.state.scheduler is not None:
            document.name_served_classes(made, self.state.scheduler.detector.info)
        return made


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
    cache_dir = _cache_dir(settings)

    def open_model(ref: str, share: float = 1.0) -> Detector:
        return open_detector(
            ref,
            store_root=settings.model_store,
            device=settings.device,
            engine=settings.engine,
            class_names=settings.labels,
            streams=settings.streams,
            cache_dir=cache_dir,
            share=share,
            min_size=settings.min_size,
            detections_per_image=settings.detections_per_image,
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
        app.state.pipeline = Pipeline(
            scheduler, measured, settings.max_pixels, settings.score_threshold, settings.tiles
        )
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
        description=document.INTRODUCTION,
        openapi_tags=document.TAGS,
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
            Middleware(problems.CatchUnexpected),
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
    for router in _ROUTERS:
        app.include_router(router)
    return app


def _cache_dir(settings: Settings) -> Path | None:
    """Return the cache folder; None if it is in the home folder of a user without one."""
    try:
        return settings.cache_dir.expanduser()
    except RuntimeError:
        _log.warning("the user has no home folder: each start converts anew; RENDERSIGHT_CACHE_DIR names a folder")
        return None


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
            allow_headers=["Authorization", "Content-Type", "X-Request-Timeout", "traceparent", *_OWN_HEADERS],
            expose_headers=["Content-Disposition", "Retry-After", "Server-Timing", *_OWN_HEADERS],
        )
    ]
