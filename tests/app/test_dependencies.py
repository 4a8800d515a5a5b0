import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.app.fakes import PHOTO, HeldEngine, app_with


@pytest.mark.parametrize(("ours", "theirs"), [(0.2, None), (20.0, "0.2"), (0.2, "20")])
def test_applies_the_smaller_time_limit(ours: float, theirs: str | None) -> None:
    engine = HeldEngine()
    headers = {"X-Request-Timeout": theirs} if theirs else {}
    with TestClient(app_with(engine, request_timeout_s=ours)) as client:
        late = client.post("/detect", content=PHOTO, headers=headers)
        engine.release.set()
    assert (late.status_code, late.headers["retry-after"]) == (504, "1")
    assert late.json()["type"] == "urn:rendersight:problem:deadline-exceeded"
    assert late.json()["detail"] == "not finished within 0.2 s"


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "inf", "soon"])
def test_rejects_an_invalid_time_limit(client: TestClient, timeout: str) -> None:
    response = client.post("/detect", content=PHOTO, headers={"X-Request-Timeout": timeout})
    assert response.status_code == 422
    (wrong,) = response.json()["errors"]
    assert (wrong["location"], wrong["name"], wrong["value"]) == ("header", "x-request-timeout", timeout)


def test_is_not_ready_before_the_model_is_loaded() -> None:
    client = TestClient(create_app(Settings()))  # not entered: its start has not happened
    for response in (client.get("/readyz"), client.get("/models"), client.post("/detect", content=PHOTO)):
        assert response.status_code == 503
        assert response.json()["type"] == "urn:rendersight:problem:not-ready"
        assert response.headers["retry-after"] == "1"
