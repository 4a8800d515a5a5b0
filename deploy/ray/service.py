"""The service as a Ray Serve deployment, `deploy.ray.service:build`; docs/ray.md has the commands."""

import logging
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import ray
from fastapi import FastAPI
from ray import serve

from app.inference import malloc
from app.inference.watchdog import Watchdog
from app.main import create_app
from app.observability.logging import configure_logging
from app.settings import read_settings
from deploy.ray.metrics import merge_replicas
from model_store.detector import Detector, open_detector
from model_store.errors import ModelError
from rendersight import images

_BESIDE = 128
"""Requests that a replica takes besides the waiting ones: uploads, running inference, metrics, health checks."""

_QUEUED = 1000
_HEALTH_CHECK_S = 5.0
_METRICS_S = 5.0

_Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Any]]

_log = logging.getLogger(__name__)


class Detect:
    """One replica: the app of `create_app` in its own process, with the cores or GPUs that Ray assigns to it."""

    def __init__(self, given: Mapping[str, Any], open_detector: Callable[..., Detector]) -> None:
        """Read the settings. The engine gets the cores that Ray assigns to this replica.

        Args:
            given: setting name -> value. They override this node's RENDERSIGHT_ variables.
            open_detector: as in `create_app`.
        """
        self._settings = read_settings(given)
        cores = _cores()
        self._open_detector = partial(open_detector, cores=cores)
        self._app: FastAPI | None = None
        self._failure: str | None = None
        configure_logging(self._settings.log_format)
        malloc.keep_few_heaps()
        images.configure_pillow(max_pixels=self._settings.max_pixels)
        _log.info("cores of this replica: %s", cores or "all")

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Return the app. Ray Serve starts it, which loads the model, and then sends requests."""
        app = create_app(self._settings, open_detector=self._open_detector)
        app.router.lifespan_context = self._watched(app.router.lifespan_context)
        app.state.read_metrics = self._read_all_metrics
        self._app = app
        return app

    async def check_health(self) -> None:
        """Raise an error if `/livez` would fail. Ray Serve replaces a replica after three failures.

        Ray Serve also calls it at the end of the start and shows the error as the reason why a replica does not start.

        Raises:
            RuntimeError: the threads are stuck, or the model cannot be served; the message gives the reason.
        """
        if self._failure is not None:
            raise RuntimeError(self._failure)
        scheduler = None if self._app is None else self._app.state.scheduler
        if scheduler is not None and (trouble := scheduler.trouble(self._settings.watchdog_s)):
            raise RuntimeError(trouble)

    async def metrics(self) -> tuple[str, bytes]:
        """Return this replica's name and its metrics in Prometheus' text format."""
        assert self._app is not None
        return serve.get_replica_context().replica_tag, self._app.state.metrics.text()

    async def _read_all_metrics(self) -> bytes:
        """Return the merged metrics of all replicas that answer in time. Any replica can be asked."""
        mine = serve.get_replica_context()
        others = serve.get_deployment_handle(mine.deployment, mine.app_name).broadcast("metrics")
        found = dict([await self.metrics()])
        try:
            answers = await others.results_async(timeout_s=_METRICS_S, return_exceptions=True)
        except TimeoutError:
            _log.warning("metrics are those of one replica: another did not answer within %g s", _METRICS_S)
        else:
            found |= dict(answer for answer in answers if not isinstance(answer, BaseException))
        return merge_replicas(found)

    def _watched(self, lifespan: _Lifespan) -> _Lifespan:
        """Add a watchdog to the lifespan, as under uvicorn: a stuck process ends and frees its cores for the next."""

        @asynccontextmanager
        async def watched(app: FastAPI) -> AsyncIterator[None]:
            async with AsyncExitStack() as entered:
                try:
                    await entered.enter_async_context(lifespan(app))
                except ModelError as error:  # if it were raised, Serve would only point to a log
                    self._failure = str(error)
                    yield
                    return
                scheduler, settings = app.state.scheduler, self._settings
                watchdog = Watchdog(
                    lambda: scheduler.trouble(settings.watchdog_s),
                    limit_s=settings.watchdog_s,
                    exit_s=settings.watchdog_exit_s,
                )
                entered.callback(watchdog.stop)
                yield

        return watched


def build(given: Mapping[str, Any]) -> serve.Application:
    """Return the application that Ray Serve runs.

    Args:
        given: setting name -> value: the application's `args` in Serve's configuration, or the `name=value` arguments
            of `serve run`.

    Raises:
        InvalidSetting: a value in `given` or in this node's environment is not accepted.
    """
    return application(given)


def application(
    given: Mapping[str, Any], *, open_detector: Callable[..., Detector] = open_detector
) -> serve.Application:
    """Return the application. Serve's own limits are so high that the service itself refuses requests.

    Args:
        given: as in `build`.
        open_detector: as in `create_app`.
    """
    settings = read_settings(given)
    detect = serve.deployment(
        serve.ingress()(Detect),
        max_ongoing_requests=settings.queue_size + _BESIDE,
        max_queued_requests=_QUEUED,
        backpressure_config={"retry_after_s": 1},
        health_check_period_s=_HEALTH_CHECK_S,
        graceful_shutdown_timeout_s=settings.drain_timeout_s,
    )
    return detect.bind(dict(given), open_detector)


def _cores() -> int | None:
    """Return the number of cores that Ray assigns to this replica; None if it assigns none, which means all cores."""
    counted: float = ray.get_runtime_context().get_assigned_resources().get("CPU", 0)
    return math.ceil(counted) or None
