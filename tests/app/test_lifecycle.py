import asyncio

import pytest
from fastapi.testclient import TestClient

from app.lifecycle import Lifecycle
from tests.app.fakes import PHOTO, FixedEngine, app_with


@pytest.mark.parametrize("path", ["/readyz", "/detect", "/models", "/docs", "/nothing"])
def test_a_service_that_stops_refuses_what_comes(path: str) -> None:
    app = app_with(FixedEngine())
    with TestClient(app) as client:
        app.state.lifecycle.stopping = True
        response = client.post(path, content=PHOTO) if path == "/detect" else client.get(path)
        assert response.status_code == 503
        assert response.json()["type"] == "urn:rendersight:problem:not-ready"
        assert (response.headers["retry-after"], response.headers["connection"]) == ("1", "close")
        assert [client.get(watched).status_code for watched in ("/livez", "/metrics")] == [200, 200]


def test_draining_waits_for_what_is_in_flight_and_not_for_ever() -> None:
    async def run() -> None:
        lifecycle = Lifecycle()
        assert await lifecycle.drain(20) == 0
        lifecycle.in_flight = 2
        assert await lifecycle.drain(0.1) == 2
        draining = asyncio.create_task(lifecycle.drain(20))
        await asyncio.sleep(0.1)
        assert not draining.done()
        lifecycle.in_flight = 0
        assert await draining == 0
        assert lifecycle.stopping

    asyncio.run(run())
