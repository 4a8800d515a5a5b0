import logging
import re

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from app.observability.logging import _TextFormatter
from app.observability.request_log import _ASKING
from app.routes import batch, detect, v2
from tests.app.fakes import PHOTO


def test_every_route_that_detects_is_counted() -> None:
    posts = {
        route.path
        for router in (detect.router, batch.router, v2.router)
        for route in router.routes
        if isinstance(route, APIRoute) and "POST" in route.methods
    }
    assert posts == {*_ASKING, "/detect/batch"}


@pytest.mark.parametrize("path", ["/livez", "/nothing", "/detect?x=1", "/docs"])
def test_every_answer_has_a_request_id_and_a_log_line(
    client: TestClient, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    with caplog.at_level(logging.INFO, "app"):
        response = client.get(path)
    (record,) = (record for record in caplog.records if record.name == "app.observability.request_log")
    fields = record.fields  # type: ignore[attr-defined]
    assert fields.pop("ms") >= 0
    assert fields == {
        "method": "GET",
        "path": path.partition("?")[0],
        "status": response.status_code,
        "request_id": response.headers["x-request-id"],
    }


def test_a_path_cannot_forge_log_lines(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "app"):
        client.get("/a%0AINFO%20forged")
    (record,) = (record for record in caplog.records if record.name == "app.observability.request_log")
    assert "\n" not in _TextFormatter().format(record)
    assert "path=/a%0AINFO%20forged" in _TextFormatter().format(record)


def fields_of(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    return [record.fields for record in caplog.records if record.name == "app.observability.request_log"]  # type: ignore[attr-defined]


def test_a_detection_tells_where_its_time_went(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "app"):
        response = client.post("/detect", content=PHOTO)
    parts = dict(part.split(";dur=") for part in response.headers["server-timing"].split(", "))
    assert list(parts) == ["queue", "decode", "inference", "encode", "total"]
    times = [float(value) for value in parts.values()]
    assert 0 <= sum(times[:-1]) <= times[-1] + 0.3  # each is rounded
    (fields,) = fields_of(caplog)
    assert fields["model"] == "fruit@3"
    assert {"queue_ms", "decode_ms", "inference_ms", "encode_ms"} <= set(fields)


@pytest.mark.parametrize("path", ["/livez", "/nothing"])
def test_every_answer_tells_how_long_it_took(client: TestClient, path: str) -> None:
    assert re.fullmatch(r"total;dur=\d+\.\d", client.get(path).headers["server-timing"])


TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("traceparent", "is_valid"),
    [
        (f"00-{TRACE}-{PARENT}-01", True),
        (f"01-{TRACE}-{PARENT}-01-later", True),
        (f"00-{TRACE}-{PARENT}-01-later", False),
        (f"ff-{TRACE}-{PARENT}-01", False),
        (f"00-{'0' * 32}-{PARENT}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-{PARENT}-01", False),
        ("nonsense", False),
    ],
)
def test_a_trace_goes_on_in_the_log(
    client: TestClient, caplog: pytest.LogCaptureFixture, traceparent: str, is_valid: bool
) -> None:
    with caplog.at_level(logging.INFO, "app"):
        client.get("/livez", headers={"traceparent": traceparent})
    (fields,) = fields_of(caplog)
    assert (fields.get("trace_id"), fields.get("parent_id")) == ((TRACE, PARENT) if is_valid else (None, None))


def test_ids_differ_unless_the_client_gives_one(client: TestClient) -> None:
    assert client.get("/livez").headers["x-request-id"] != client.get("/livez").headers["x-request-id"]
    given = "Abc-1.2_" + "x" * 120
    assert client.post("/detect", content=PHOTO, headers={"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a/b", "é".encode()])
def test_an_id_that_is_no_id_is_replaced(client: TestClient, given: str | bytes) -> None:
    answered = client.get("/livez", headers={"X-Request-ID": given}).headers["x-request-id"]
    assert len(answered) == 32
    assert answered.isalnum()
