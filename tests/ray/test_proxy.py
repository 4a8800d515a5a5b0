"""The middleware of Serve's proxies, around apps that behave like Serve's proxy."""

from collections.abc import Sequence

import pytest
from fastapi.testclient import TestClient
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deploy.ray.proxy import ProxyMiddleware, middlewares

STAY = "X-Request-Disconnect-Disabled"
BODY: Message = {"type": "http.response.body", "body": b"as it came"}


def start(status: int, headers: Sequence[tuple[bytes, bytes]] = ()) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def proxy(*messages: Message, error: Exception | None = None, ids: int = 1) -> ASGIApp:
    """Return an app that sends messages with `ids` request-id headers each, then raises `error` if given."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked = Headers(scope=scope)
        added = [(b"x-request-id", asked["X-Request-ID"].encode())] * ids + [(b"x-stay", asked[STAY].encode())]
        for message in messages:
            if message["type"] == "http.response.start":
                await send({**message, "headers": [*message["headers"], *added]})
            else:
                await send(message)
        if error is not None:
            raise error

    return app


def client(app: ASGIApp) -> TestClient:
    return TestClient(ProxyMiddleware(app))


def test_middlewares_returns_proxy_middleware() -> None:
    assert [item.cls for item in middlewares()] == [ProxyMiddleware]


@pytest.mark.parametrize("status", [200, 422, 503])
def test_keeps_service_answer_with_one_request_id(status: int) -> None:
    answer = client(proxy(start(status, [(b"retry-after", b"7")]), BODY, ids=2)).get(
        "/", headers={"X-Request-ID": "me"}
    )
    assert (answer.status_code, answer.content) == (status, b"as it came")
    assert answer.headers.get_list("X-Request-ID") == ["me"]
    assert answer.headers["Retry-After"] == "7"


def test_replaces_invalid_request_id() -> None:
    answer = client(proxy(start(200), BODY, ids=2)).get("/", headers={"X-Request-ID": "not ok"})
    assert len(answer.headers["X-Request-ID"]) == 32
    assert answer.headers["X-Request-ID"].isalnum()


def test_disables_disconnect_handling_of_serve() -> None:
    assert client(proxy(start(200), BODY)).get("/").headers["x-stay"] == "?1"


@pytest.mark.parametrize(
    ("messages", "status", "slug", "retry_after"),
    [
        ((start(503), BODY), 503, "not-ready", "1"),
        ((start(503, [(b"retry-after", b"9")]), BODY), 503, "overloaded", "1"),
        ((start(429, [(b"retry-after", b"9")]), BODY), 503, "overloaded", "1"),
        ((start(408), BODY), 504, "deadline-exceeded", "1"),
        ((start(404), BODY), 503, "not-ready", "1"),
        ((), 503, "not-ready", "1"),
    ],
    ids=["unavailable", "too many", "too many as 429", "timeout", "no application", "a replica that died"],
)
def test_turns_serve_error_into_problem(messages: Sequence[Message], status: int, slug: str, retry_after: str) -> None:
    answer = client(proxy(*messages)).post("/detect", content=b"photo", headers={"X-Request-ID": "me"})
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["type"], problem["status"]) == (f"urn:rendersight:problem:{slug}", status)
    assert problem["request_id"] == "me"
    assert answer.headers.get_list("X-Request-ID") == ["me"]
    assert answer.headers["Retry-After"] == retry_after
    assert answer.headers["Server-Timing"].startswith("total;dur=")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_turns_serve_error_into_v2_error() -> None:
    answer = client(proxy(start(503), BODY)).post("/v2/models/fruit/infer", content=b"{}")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {"error": "no replica serves yet"}


def test_hides_proxy_exception() -> None:
    answer = client(proxy(error=RuntimeError("internals"))).get("/")
    assert answer.status_code == 503
    assert "internals" not in answer.text


def test_broken_answer_stays_broken() -> None:
    begun: Message = {"type": "http.response.body", "body": b"half", "more_body": True}
    with pytest.raises(RuntimeError, match="broke off"):
        client(proxy(start(200), begun, error=RuntimeError("broke off"), ids=2)).get("/")


def test_leaves_paths_of_serve_unchanged() -> None:
    async def healthz(scope: Scope, receive: Receive, send: Send) -> None:
        assert STAY not in Headers(scope=scope)
        await send(start(503))
        await send(BODY)

    answer = client(healthz).get("/-/healthz")
    assert (answer.status_code, answer.content) == (503, b"as it came")
