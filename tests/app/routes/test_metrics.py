import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from tests.app.fakes import CARD, FOUND, PHOTO, FixedEngine, app_with
from tests.app.wire import sample

NAMES = {
    "http_server_request_duration_seconds",
    "http_server_active_requests",
    "detect_requests",
    "detect_images",
    "detect_batches",
    "detect_tiles",
    "detect_queue_depth",
    "detect_queue_seconds",
    "detect_stage_seconds",
    "detect_objects",
    "detect_score",
    "detect_model_info",
    "detect_reloads",
}
"""Of the families; a counter's sample ends with _total."""


def test_the_names_are_those_that_are_promised(client: TestClient) -> None:
    client.post("/detect", content=PHOTO)
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    assert {name for name in families if not name.startswith("process_")} == NAMES
    assert all(family.documentation for family in families.values())


def test_a_detection_is_counted_in_all_its_parts() -> None:
    app = app_with(FixedEngine())
    metrics = app.state.metrics
    with TestClient(app) as client:
        for _ in range(3):
            assert client.post("/detect?score_threshold=0.5&labels=pear", content=PHOTO).status_code == 200
        assert client.post("/detect", content=b"no image").status_code == 415
        assert client.post("/detect?labels=fig", content=PHOTO).status_code == 422
        of_model = {"model": "fruit", "version": "3"}
        assert sample(metrics, "detect_requests_total", outcome="ok", **of_model) == 3
        assert sample(metrics, "detect_requests_total", outcome="unknown-image-format", **of_model) == 1
        assert sample(metrics, "detect_requests_total", outcome="invalid-parameter", **of_model) == 1
        assert sample(metrics, "detect_images_total") == sample(metrics, "detect_batches_total") == 3
        assert sample(metrics, "detect_objects_total", label="pear") == 3
        assert sample(metrics, "detect_objects_total") == 3
        assert sample(metrics, "detect_score_count") == 3
        assert sample(metrics, "detect_score_sum") == pytest.approx(3 * float(FOUND.scores[1]))
        for stage in ("decode", "queue", "inference", "encode"):
            assert sample(metrics, "detect_stage_seconds_count", stage=stage) == 3
        labels = {"version": "3", "sha256": CARD.sha256, "engine": "fixed"}
        assert sample(metrics, "detect_model_info", **labels) == 1
        assert b'detect_model_info{engine="fixed",name="fruit",' in metrics.text()


def test_times_requests_by_known_route_and_method() -> None:
    app = app_with(FixedEngine())
    with TestClient(app) as client:
        client.get("/livez")
        client.head("/livez")
        client.get("/secret/path")
        client.request("BREW", "/livez")
    name = "http_server_request_duration_seconds_count"
    known = {"http_route": "/livez", "http_response_status_code": "200"}
    assert sample(app.state.metrics, name, http_request_method="GET", **known) == 1
    assert sample(app.state.metrics, name, http_request_method="HEAD", **known) == 1
    assert sample(app.state.metrics, name, http_route="", http_response_status_code="404") == 1
    assert sample(app.state.metrics, name, http_request_method="_OTHER", http_response_status_code="405") == 1
    assert b"secret" not in app.state.metrics.text()
    assert b"BREW" not in app.state.metrics.text()
