import asyncio
import math

import pytest
from fastapi.testclient import TestClient
from starlette.applications import Starlette

from app.http.lifecycle import Lifecycle
from tests.app.fakes import PHOTO, FixedEngine, app_with


@pytest.mark.parametrize("prefix", ["", "/prefix", "/livez"])
@pytest.mark.parametrize("path", ["/readyz", "/detect", "/models", "/docs", "/nothing"])
def test_a_service_that_stops_refuses_what_comes(path: str, prefix: str) -> None:
    app = app_with(FixedEngine())
    outer = Starlette()
    outer.mount(prefix, app)
    with TestClient(app), TestClient(outer, base_url=f"http://testserver{prefix}") as client:
        app.state.lifecycle.stopping = True
        response = client.post(path, content=PHOTO) if path == "/detect" else client.get(path)
        assert response.status_code == 503
        assert response.json()["type"] == "urn:rendersight:problem:not-ready"
        assert (response.headers["retry-after"], response.headers["connection"]) == ("1", "close")
        assert [client.get(watched).status_code for watched in ("/livez", "/v2/health/live", "/metrics")] == [200] * 3


def test_draining_waits_for_requests_in_flight() -> None:
    async def run() -> None:
        lifecycle = Lifecycle()
        assert lifecycle.left_s() == math.inf
        lifecycle.in_flight = 2
        lifecycle.stop(0.1)
        assert lifecycle.stopping
        assert await lifecycle.drained() == 2
        assert lifecycle.left_s() <= 0
        lifecycle.in_flight = 0
        assert await lifecycle.drained() == 0

    asyncio.run(run())


def test_a_later_word_can_only_shorten_the_time() -> None:
    async def run() -> None:
        lifecycle = Lifecycle()
        lifecycle.in_flight = 1
        lifecycle.stop(50)
        lifecycle.stop(100)
        assert lifecycle.left_s() <= 50
        draining = asyncio.create_task(lifecycle.drained())
        await asyncio.sleep(0.1)
        assert not draining.done()
        lifecycle.stop(0)
        assert await draining == 1

    asyncio.run(run())
