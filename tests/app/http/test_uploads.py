import asyncio
import time
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.requests import Request

from app import errors
from app.http.uploads import read_upload
from tests.app.fakes import PHOTO, FixedEngine, app_with
from tests.app.forms import END, FORM, LIMITS, kind, part, refused
from tests.app.wire import connect, read_to_end, serving


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=", f"multipart/form-data; boundary={'b' * 300}"],
)
def test_rejects_an_invalid_boundary(client: TestClient, content_type: str) -> None:
    assert kind(refused(client, part() + END, content_type)) == (400, "malformed-body")


@pytest.mark.parametrize(
    ("body", "content_type"), [(b"", None), (b"", "image/png"), (b"", FORM), (part(b"") + END, FORM)]
)
def test_rejects_an_empty_body(client: TestClient, body: bytes, content_type: str | None) -> None:
    assert kind(refused(client, body, content_type)) == (400, "empty-upload")


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/x-www-form-urlencoded", "text/plain", "multipart/mixed", "nonsense"],
)
def test_rejects_another_media_type(client: TestClient, content_type: str) -> None:
    problem = refused(client, PHOTO, content_type)
    assert kind(problem) == (415, "unsupported-media-type")
    for accepted in (content_type, "multipart/form-data", "image/*", "application/octet-stream"):
        assert accepted in problem["detail"]


def test_rejects_encoded_bodies(client: TestClient) -> None:
    zipped = refused(client, PHOTO, "image/jpeg", **{"Content-Encoding": "gzip"})
    assert kind(zipped) == (415, "unsupported-media-type")
    mailed = refused(client, part(b"/9j/", "image", "a.jpg", "Content-Transfer-Encoding: base64") + END)
    assert kind(mailed) == (415, "unsupported-media-type")


def test_rejects_an_announced_length_above_the_limit(client: TestClient) -> None:
    assert client.post("/detect", content=PHOTO.ljust(200_000, b"\0")).status_code == 200
    problem = refused(client, PHOTO.ljust(200_001, b"\0"), "image/jpeg")
    assert kind(problem) == (413, "upload-too-large")
    assert problem["detail"] == "the body has 200001 bytes, the limit is 200000"


def test_stops_reading_at_the_limit() -> None:
    taken = 0

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": bytes(100), "more_body": True}

    request = Request({"type": "http", "headers": []}, receive)  # type: ignore[arg-type]
    with pytest.raises(errors.UploadTooLarge, match="more bytes than the limit of 1000"):
        asyncio.run(read_upload(request, max_bytes=1000, limits=LIMITS, timeout_s=10, take=lambda _: None))
    assert taken == 11


def test_rejects_a_body_cut_off_by_the_client() -> None:
    messages = iter([{"type": "http.request", "body": b"abc", "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> dict[str, Any]:
        return next(messages)

    request = Request({"type": "http", "headers": []}, receive)  # type: ignore[arg-type]
    with pytest.raises(errors.MalformedBody, match="closed after 3 bytes"):
        asyncio.run(read_upload(request, max_bytes=1000, limits=LIMITS, timeout_s=10, take=lambda _: None))


def test_endless_chunked_body_is_a_413_on_the_wire() -> None:
    with serving(app_with(FixedEngine(), max_bytes=50_000)) as port, connect(port) as connection:
        connection.sendall(b"POST /detect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(60):
            connection.sendall(b"400\r\n" + bytes(1024) + b"\r\n")  # 60 KiB, and never the last chunk
        answer = read_to_end(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"the body has more bytes than the limit of 50000"' in answer


def test_slow_body_is_a_408_on_the_wire() -> None:
    with serving(app_with(FixedEngine(), upload_timeout_s=0.2)) as port, connect(port) as connection:
        began_s = time.monotonic()
        connection.sendall(b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n0123456789")
        answer = read_to_end(connection)
        assert time.monotonic() - began_s >= 0.2
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer
    assert b"within 0.2 s; 10 bytes were received" in answer


def test_does_not_ask_for_a_refused_body_on_the_wire() -> None:
    with serving(app_with(FixedEngine(), max_bytes=1000)) as port, connect(port) as connection:
        connection.sendall(b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n")
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413 ")
