"""The metrics that Prometheus reads at `/metrics`.

Names that begin with http_ follow OpenTelemetry's conventions; names that begin with detect_ are the service's own.
"""

from collections.abc import Callable, Mapping, Sequence

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from model_store.detector import Detector
from rendersight.detections import Detections

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_PLAIN_0_0_4

_DURATIONS_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30)
_STAGES_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SCORES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)
_METHODS = ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")

# otherwise each counter has a second series with its creation time
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class ServiceMetrics:
    """The metrics of one app."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ours = self._registry
        ProcessCollector(registry=ours)
        self._durations = Histogram(
            "http_server_request_duration_seconds",
            "Time from a request's headers to the answer's headers. The route is empty for an unknown path.",
            ["http_request_method", "http_route", "http_response_status_code"],
            buckets=_DURATIONS_S,
            registry=ours,
        )
        self._active = Gauge("http_server_active_requests", "Requests in progress.", registry=ours)
        self._requests = Counter(
            "detect_requests",
            "Detection requests by outcome: ok or the kind of problem.",
            ["model", "version", "outcome"],
            registry=ours,
        )
        self._images = Counter("detect_images", "Photos that were processed.", registry=ours)
        self._batches = Counter("detect_batches", "Calls of the network, each with one photo or tile.", registry=ours)
        self._tiles = Counter("detect_tiles", "Tiles that the network saw besides whole photos.", registry=ours)
        self._depth = Gauge("detect_queue_depth", "Requests that wait, besides those being computed.", registry=ours)
        self._queued = Histogram(
            "detect_queue_seconds", "Total time that a photo waited.", buckets=_DURATIONS_S, registry=ours
        )
        self._stages = Histogram(
            "detect_stage_seconds", "Time per stage of a photo.", ["stage"], buckets=_STAGES_S, registry=ours
        )
        self._objects = Counter("detect_objects", "Reported objects.", ["label"], registry=ours)
        self._scores = Histogram(
            "detect_score",
            "Scores of the reported objects. A shift means that the photos have changed.",
            buckets=_SCORES,
            registry=ours,
        )
        self._info = Gauge(
            "detect_model_info", "The served model; always 1.", ["name", "version", "sha256", "engine"], registry=ours
        )
        self._reloads = Counter(
            "detect_reloads", "Checks that found a new release, by outcome.", ["outcome"], registry=ours
        )
        for outcome in ("swapped", "unchanged", "refused"):
            self._reloads.labels(outcome)  # a series that begins at 0 shows its first increase
        self._served = ("", "")

    def serving(self, detector: Detector) -> None:
        """Record which model is in use."""
        info = detector.info
        self._served = (info.name, info.version)
        self._info.clear()
        self._info.labels(info.name, info.version, info.sha256, detector.engine.name).set(1)

    def watch_queue(self, depth: Callable[[], int]) -> None:
        """Set the function that returns the queue's depth; it is called whenever metrics are read."""
        self._depth.set_function(depth)

    def began(self) -> None:
        """Count a request as active."""
        self._active.inc()

    def ended(self) -> None:
        """Count a request as no longer active."""
        self._active.dec()

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Record the answer to a request of any kind."""
        known = method if method in _METHODS else "_OTHER"
        self._durations.labels(known, route, str(status)).observe(seconds)

    def asked(self, outcome: str, served: tuple[str, str] | None) -> None:
        """Record the outcome of a detection request.

        Args:
            outcome: `ok` or the slug of a problem.
            served: name and version of the model that answered; None means the model in use.
        """
        self._requests.labels(*(served or self._served), outcome).inc()

    def detected(
        self, class_names: Sequence[str], found: Detections, stages_s: Mapping[str, float], *, tile_count: int = 0
    ) -> None:
        """Record the result for one photo.

        Args:
            class_names: names of labels 1..K.
            found: the reported objects.
            stages_s: stage -> its time in seconds.
            tile_count: number of tiles that the network saw besides the whole photo.
        """
        self._images.inc()
        self._batches.inc(1 + tile_count)
        self._tiles.inc(tile_count)
        self._queued.observe(stages_s["queue"])
        for stage, seconds in stages_s.items():
            self._stages.labels(stage).observe(seconds)
        for label, score in zip(found.labels.tolist(), found.scores.tolist(), strict=True):
            self._objects.labels(class_names[label - 1]).inc()
            self._scores.observe(score)

    def reloaded(self, outcome: str) -> None:
        """Record the outcome of a reload."""
        self._reloads.labels(outcome).inc()

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return prometheus_client.generate_latest(self._registry)
