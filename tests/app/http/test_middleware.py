import time

import pytest
from fastapi.testclient import TestClient
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from app.http.middleware import HeadAsGet, LingeringClose
from tests.app.fakes import FixedEngine, app_with
from tests.app.wire import connect, read_to_end, serving


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/models", "/docs", "/openapi.json", "/docs/assets/docs.js"])
def test_head_is_get_without_the_content(client: TestClient, path: str) -> None:
    got, headed = client.get(path), client.head(path)
    assert (headed.status_code, headed.content) == (200, b"")
    assert headed.headers["content-length"] == got.headers["content-length"]
    assert headed.headers["content-type"] == got.headers["content-type"]


def test_head_where_there_is_no_get_is_a_405(client: TestClient) -> None:
    assert client.head("/detect").status_code == 405


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer without reading the body, or after reading it where the path says so."""
    assert scope["type"] == "http"
    if scope["path"] == "/read":
        await Request(scope, receive).body()
    await PlainTextResponse("no", 413)(scope, receive, send)


def test_answers_while_the_client_is_still_sending() -> None:
    with serving(LingeringClose(refuse)) as port, connect(port) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n")
        connection.sendall(bytes(9_000_000))  # more than the buffers of the connection hold
        answer = read_to_end(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer.lower()
    assert answer.endswith(b"no")


def test_gives_up_on_an_endless_body() -> None:
    with serving(LingeringClose(refuse, linger_s=0.2)) as port, connect(port) as connection:
        began_s = time.monotonic()
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n")
        assert read_to_end(connection).endswith(b"no")
        assert 0.15 < time.monotonic() - began_s < 10


@pytest.mark.parametrize("request_line", [b"GET /read", b"POST /read"])
def test_keeps_the_connection_open_after_reading_the_body(request_line: bytes) -> None:
    with serving(HeadAsGet(LingeringClose(refuse))) as port, connect(port) as connection:
        for _ in range(2):
            connection.sendall(request_line + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
            answer = connection.recv(65536)
            while not answer.endswith(b"no"):
                answer += connection.recv(65536)
            assert b"connection: close" not in answer.lower()


@pytest.mark.parametrize("path", ["/livez", "/nothing", "/docs", "/models", "/docs/assets/docs.js"])
def test_adds_security_headers_to_every_answer(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == ("max-age=3600" if "assets" in path else "no-store")


def test_allows_only_configured_origins(client: TestClient) -> None:
    asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in client.get("/models", headers=asked).headers
    with TestClient(app_with(FixedEngine(), cors_origins=("https://a.example",))) as named:
        answer = named.get("/models", headers=asked).headers
        assert answer["access-control-allow-origin"] == "https://a.example"
        assert "X-Request-ID" in answer["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in answer
        assert named.options("/detect", headers=asked).status_code == 200
        header = "Inference-Header-Content-Length"
        assert header in answer["access-control-expose-headers"]
        wanted = {**asked, "Access-Control-Request-Headers": header}
        assert named.options("/v2/models/fruit/infer", headers=wanted).status_code == 200
        assert (
            "access-control-allow-origin" not in named.get("/models", headers={"Origin": "https://b.example"}).headers
        )
    with TestClient(app_with(FixedEngine(), cors_origins=("*",))) as everybody:
        answer = everybody.get("/models", headers=asked).headers
        assert answer["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer
