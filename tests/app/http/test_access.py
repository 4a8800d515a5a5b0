from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.http.keys import hash_of
from tests.app.fakes import PHOTO, FixedEngine, app_with
from tests.app.v2_requests import json_request

KEYS = {"detect": "rs_one", "metrics": "rs_two", "admin": "rs_three"}
NEEDED = {
    ("POST", "/detect"): "detect",
    ("POST", "/detect/batch"): "detect",
    ("GET", "/v2/models/fruit"): "detect",
    ("GET", "/v2/models/fruit/versions/3"): "detect",
    ("POST", "/v2/models/fruit/infer"): "detect",
    ("POST", "/v2/models/fruit/versions/3/infer"): "detect",
    ("GET", "/models"): "detect",
    ("GET", "/metrics"): "metrics",
    ("POST", "/models/reload"): "admin",
}


@pytest.fixture
def keyed(tmp_path: Path) -> Iterator[TestClient]:
    """A service with one key for each scope."""
    file = tmp_path / "keys"
    file.write_text("\n".join(f"for-{scope} {scope} {hash_of(key)}" for scope, key in KEYS.items()))
    with TestClient(app_with(FixedEngine(), api_keys_file=file, model_store=tmp_path)) as client:
        yield client


def ask(client: TestClient, method: str, path: str, **headers: str) -> tuple[int, str, str]:
    body: dict[str, Any] = {"files": {"image": ("photo.jpg", PHOTO)}} if path.startswith("/detect") else {}
    if path.endswith("/infer"):
        body = {"json": json_request(PHOTO)}
    response = client.request(method, path, headers=headers, **body)
    problem = response.json() if response.headers["content-type"] == "application/problem+json" else {}
    return (
        response.status_code,
        problem.get("type", "").rpartition(":")[2],
        response.headers.get("www-authenticate", ""),
    )


@pytest.mark.parametrize(("method", "path"), NEEDED)
def test_each_endpoint_requires_its_scope(keyed: TestClient, method: str, path: str) -> None:
    refused = (401, "" if path.startswith("/v2") else "unauthorized", "Bearer")
    assert ask(keyed, method, path) == refused
    assert ask(keyed, method, path, Authorization="Bearer rs_unknown") == refused
    assert ask(keyed, method, path, Authorization=f"Basic {KEYS[NEEDED[method, path]]}") == refused
    for scope, key in KEYS.items():
        expected = 200 if scope == NEEDED[method, path] else 403
        assert ask(keyed, method, path, Authorization=f"Bearer {key}")[0] == expected
        assert ask(keyed, method, path, Authorization=f"bearer  {key}")[0] == expected


@pytest.mark.parametrize(
    "path",
    [
        *("/livez", "/readyz", "/", "/docs", "/openapi.json", "/v2", "/v2/health/live", "/v2/health/ready"),
        *("/v2/models/fruit/ready", "/v2/models/fruit/versions/3/ready"),
    ],
)
def test_health_and_the_docs_page_need_no_key(keyed: TestClient, path: str) -> None:
    assert keyed.get(path).status_code == 200


def test_without_keys_anyone_detects_and_nobody_reloads(client: TestClient) -> None:
    for method, path in NEEDED:
        assert ask(client, method, path)[0] == (401 if path == "/models/reload" else 200)
    assert ask(client, "POST", "/models/reload", Authorization="Bearer rs_three")[0] == 401


def test_a_key_is_never_logged_and_its_name_is(keyed: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        ask(keyed, "POST", "/detect", Authorization=f"Bearer {KEYS['detect']}")
        ask(keyed, "POST", "/detect", Authorization=f"Bearer {KEYS['admin']}")
        ask(keyed, "POST", "/detect", Authorization="Bearer rs_unknown")
    logged = [record.fields for record in caplog.records if record.name == "app.observability.request_log"]  # type: ignore[attr-defined]
    assert [(fields["status"], fields.get("key")) for fields in logged] == [
        (200, "for-detect"),
        (403, "for-admin"),
        (401, None),
    ]
    assert not any(key in str(vars(record)) for record in caplog.records for key in (*KEYS.values(), "rs_unknown"))


def test_document_names_endpoints_that_require_a_key(keyed: TestClient, client: TestClient) -> None:
    def secured(document: dict[str, dict[str, dict[str, dict[str, object]]]]) -> set[tuple[str, str]]:
        return {
            (method.upper(), path.format(model_name="fruit", model_version="3"))
            for path, item in document["paths"].items()
            for method, operation in item.items()
            if operation.get("security")
        }

    assert secured(keyed.get("/openapi.json").json()) == set(NEEDED)
    assert secured(client.get("/openapi.json").json()) == {("POST", "/models/reload")}
    assert "x-scope" not in keyed.get("/openapi.json").text
