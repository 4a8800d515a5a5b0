import logging
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app import errors
from app.errors import ServiceError
from app.http import problems
from app.observability.metrics import ServiceMetrics
from app.observability.request_log import RequestLog
from tests.app.fakes import PHOTO, FailingEngine, app_with

ERRORS = ServiceError.__subclasses__()


def is_problem(response: Any) -> bool:
    body = response.json()
    return bool(
        response.headers["content-type"] == "application/problem+json"
        and {"type", "title", "status", "detail", "request_id"} <= set(body)
        and body["status"] == response.status_code
        and body["request_id"] == response.headers["x-request-id"]
    )


@pytest.mark.parametrize("error", ERRORS)
def test_every_service_error_becomes_its_problem(error: type[ServiceError]) -> None:
    app = FastAPI()
    app.add_middleware(RequestLog, metrics=ServiceMetrics())
    problems.install(app)
    wrong = errors.InputFault("query", "limit", "x", "a number")

    @app.get("/")
    async def fail() -> None:
        raise error("what was wrong", errors=[wrong])

    response = TestClient(app).get("/", headers={"X-Request-ID": "abc"})
    assert response.status_code == error.status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json() == {
        "type": f"urn:rendersight:problem:{error.slug}",
        "title": error.title,
        "status": error.status,
        "detail": "what was wrong",
        "request_id": "abc",
        "errors": [{"location": "query", "name": "limit", "value": "x", "accepted": "a number"}],
    }


def test_problem_types_are_unique() -> None:
    assert len({problems.type_of(error) for error in ERRORS}) == len(ERRORS)


def test_docstring_has_the_whole_tree() -> None:
    for error in ERRORS:
        assert any(
            line.split()[1:3] == [error.__name__, str(error.status)]
            for line in (ServiceError.__doc__ or "").splitlines()
        ), error


def test_unexpected_error_is_logged_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    with TestClient(app_with(FailingEngine())) as client, caplog.at_level(logging.ERROR):
        response = client.post("/detect", content=PHOTO, headers={"X-Request-ID": "find-me"})
    assert response.status_code == 500
    assert is_problem(response)
    assert response.headers["x-request-id"] == "find-me"
    assert "secret internals" not in response.text
    assert "Traceback" not in response.text
    (record,) = (record for record in caplog.records if record.exc_info)
    assert "secret internals" in caplog.text
    assert record.fields == {"request_id": "find-me"}  # type: ignore[attr-defined]


ROUTES = [("POST", "/detect"), ("GET", "/models"), ("GET", "/livez"), ("GET", "/readyz"), ("GET", "/openapi.json")]
ROUTES += [("GET", "/"), ("GET", "/docs"), ("GET", "/docs/assets/docs.js")]
ROUTES += [("GET", "/page/page.js"), ("GET", "/examples"), ("GET", "/examples/dice-1.jpg")]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_wrong_method_is_a_405_with_the_allowed_ones(client: TestClient, method: str, path: str) -> None:
    for wrong in {"GET", "POST", "PUT", "DELETE", "PATCH"} - {method}:
        response = client.request(wrong, path)
        assert response.status_code == 405
        assert is_problem(response)
        assert response.headers["allow"].split(", ") == (["GET", "HEAD"] if method == "GET" else [method])


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/detect/",
        "/docs/",
        "/docs/assets/__init__.py",
        "/docs/assets/../main.py",
        "/page/docs.js",
        "/page/",
        "/examples/pawn.obj",
    ],
)
def test_a_path_that_does_not_exist_is_a_404(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert is_problem(response)


@pytest.mark.parametrize("mounted", ["", "/somewhere"])
def test_errors_below_v2_have_the_protocols_shape(client: TestClient, mounted: str) -> None:
    outer = FastAPI()
    outer.mount(mounted, client.app)
    asking = TestClient(outer)
    for path in ("/v2/nothing", "/v2//"):
        response = asking.get(mounted + path)
        assert (response.status_code, response.headers["content-type"]) == (404, "application/json")
        assert list(response.json()) == ["error"]
    for path in ("/v2nothing", "/nothing/v2", "/V2/nothing"):
        assert is_problem(asking.get(mounted + path))
