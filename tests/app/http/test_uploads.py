import asyncio
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from starlette.requests import Request

from app import errors
from app.http.multipart import FormLimits
from app.http.uploads import UploadedBody, read_upload
from app.inference.decoding import decode
from tests.app.fakes import PHOTO, FixedEngine, app_with, encoded
from tests.app.wire import connect, read_to_end, serving

FORM = "multipart/form-data; boundary=cut"
LIMITS = FormLimits(max_parts=32, max_header_bytes=4096)


def part(content: bytes = PHOTO, name: str = "image", filename: str | None = "photo.jpg", *more: str) -> bytes:
    named = f'Content-Disposition: form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "")
    return b"--cut\r\n" + "\r\n".join([named, *more]).encode() + b"\r\n\r\n" + content + b"\r\n"


END = b"--cut--\r\n"


def refused(client: TestClient, body: bytes | Iterator[bytes], content_type: str | None = FORM, **headers: str) -> Any:
    """Post a body that is not taken; returns the problem."""
    if content_type:
        headers["Content-Type"] = content_type
    response = client.post("/detect", content=body, headers=headers)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == response.status_code
    return response.json()


def kind(problem: Any) -> tuple[int, str]:
    return problem["status"], problem["type"].rpartition(":")[2]


def test_a_form_as_clients_write_it_is_taken(client: TestClient, engine: FixedEngine) -> None:
    noisy = [
        b"\r\n" + part() + END,
        part() + END + b"an epilogue",
        part(PHOTO, "image", "photo.jpg", "Content-Type: text/plain", "Content-Transfer-Encoding: binary") + END,
        part(PHOTO, "image", 'Grüße; \\"1\\".jpg') + END,
    ]
    for body in noisy:
        assert client.post("/detect", content=body, headers={"Content-Type": FORM}).status_code == 200
    assert len({image.tobytes() for image in engine.images}) == 1


def test_the_bytes_of_a_file_that_look_like_a_boundary_are_kept() -> None:
    content = b"\r\n--cu\r\n--\r--cut\n--cut" + bytes(range(256)) * 3 + b"\r\n--cuT--"
    with pytest.raises(errors.ImageNotRecognized, match="begins with 0d 0a 2d 2d 63 75 0d 0a"):
        decode(UploadedBody(part(content) + END, b"cut", LIMITS).image(), max_pixels=1)
    image = Image.fromarray(np.random.default_rng(1).integers(0, 255, (30, 40, 3), np.uint8))
    bitmap = encoded(image, "BMP") + content  # what follows a bitmap is ignored
    photo = decode(UploadedBody(part(bitmap) + END, b"cut", LIMITS).image(), max_pixels=1200)
    assert (photo.pixels == np.asarray(image)).all()


@pytest.mark.parametrize(
    "body",
    [
        b"no form at all",
        part(),
        part() + b"--cut",
        part() + b"--cut-",
        part()[:-40],
        part().replace(b"\r\n\r\n", b"\r\n", 1) + END,
        b"--other\r\n" + part()[7:] + END,
        b"--cutXX\r\n" + part()[7:] + END,
        b"--cut\r\n\r\n" + PHOTO + b"\r\n" + END,
        b"--cut\r\nContent-Disposition: form-data\r\n\r\nx\r\n" + END,
        b'--cut\r\nContent-Disposition: attachment; name="image"; filename="a"\r\n\r\nx\r\n' + END,
        b"--cut\r\nContent Disposition: form-data\r\n\r\nx\r\n" + END,
        part(PHOTO, "image", "x" * 10_000) + END,
        part(PHOTO, "image", "a.jpg", *(f"X-{i}: 1" for i in range(50))) + END,
        part(b"", "x") * 33 + END,
    ],
)
def test_a_malformed_form_is_a_400(client: TestClient, body: bytes) -> None:
    assert kind(refused(client, body)) == (400, "malformed-body")


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=", f"multipart/form-data; boundary={'b' * 300}"],
)
def test_a_boundary_that_is_none_is_a_400(client: TestClient, content_type: str) -> None:
    assert kind(refused(client, part() + END, content_type)) == (400, "malformed-body")


@pytest.mark.parametrize(
    ("body", "content_type"), [(b"", None), (b"", "image/png"), (b"", FORM), (part(b"") + END, FORM)]
)
def test_nothing_is_a_400(client: TestClient, body: bytes, content_type: str | None) -> None:
    assert kind(refused(client, body, content_type)) == (400, "empty-upload")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (END, [("image", None)]),
        (part(PHOTO, "photo") + END, [("photo", None)]),
        (part() + part(b"0.5", "score_threshold", None) + END, [("score_threshold", None)]),
        (part() + part() + END, [("image", None)]),
        (part(b"photo.jpg", "image", None) + END, [("image", "photo.jpg")]),
        (part(b"", "image", "") + END, [("image", "")]),
        (part(PHOTO, "a") + part(b"text", "image", None) + END, [("a", None), ("image", "text")]),
        (part(PHOTO, "x" * 1000) + END, [("x" * 100 + "...", None)]),
        (part(b"1", "x", None) * 32 + END, [("x", None)] * errors.MAX_FAULTS),
    ],
    ids=["empty", "misnamed", "extra", "twice", "text", "no-file-chosen", "two-faults", "long", "many"],
)
def test_a_form_that_is_not_one_file_named_image_is_a_422(
    client: TestClient, body: bytes, named: list[tuple[str, str | None]]
) -> None:
    problem = refused(client, body)
    assert kind(problem) == (422, "invalid-form")
    assert [(item["name"], item["value"]) for item in problem["errors"]] == named
    assert all(item["location"] == "form" and item["accepted"] for item in problem["errors"])
    assert all(name in problem["detail"] for name, _ in named)


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/x-www-form-urlencoded", "text/plain", "multipart/mixed", "nonsense"],
)
def test_another_media_type_is_a_415_that_names_the_accepted(client: TestClient, content_type: str) -> None:
    problem = refused(client, PHOTO, content_type)
    assert kind(problem) == (415, "unsupported-media-type")
    for accepted in (content_type, "multipart/form-data", "image/*", "application/octet-stream"):
        assert accepted in problem["detail"]


def test_encodings_on_top_of_the_image_are_a_415(client: TestClient) -> None:
    zipped = refused(client, PHOTO, "image/jpeg", **{"Content-Encoding": "gzip"})
    assert kind(zipped) == (415, "unsupported-media-type")
    mailed = refused(client, part(b"/9j/", "image", "a.jpg", "Content-Transfer-Encoding: base64") + END)
    assert kind(mailed) == (415, "unsupported-media-type")


@pytest.mark.parametrize("data", [b"%PDF-1.7 ...", b"<svg/>", b"\x00", b"RIFF....WAVEfmt "])
def test_no_known_signature_is_a_415(client: TestClient, data: bytes) -> None:
    for body, content_type in ((data, "image/jpeg"), (part(data) + END, FORM)):
        assert kind(refused(client, body, content_type)) == (415, "unknown-image-format")


@pytest.mark.parametrize(
    "data",
    [
        PHOTO[: len(PHOTO) // 2],
        PHOTO[:4],
        encoded(Image.new("RGB", (50, 50)))[:-30],
        b"\x89PNG\r\n\x1a\n" + b"\x00" * 50,
        b"GIF89a",
        b"BM" + b"\xff" * 60,
        b"II*\0" + b"\xff" * 60,
        b"RIFF\x10\0\0\0WEBPVP8 " + b"\xff" * 60,
    ],
)
def test_a_known_format_that_does_not_decode_is_a_422(client: TestClient, data: bytes) -> None:
    assert kind(refused(client, data, "image/png")) == (422, "broken-image")


def test_pixels_are_counted_in_the_header(client: TestClient) -> None:
    assert client.post("/detect", content=encoded(Image.new("1", (100, 100)))).status_code == 200
    one_more = encoded(Image.new("1", (73, 137)))  # 10001
    problem = refused(client, one_more, "image/png")
    assert kind(problem) == (413, "image-too-large")
    assert problem["detail"] == "image has 10001 px, the limit is 10000"
    # only the header is there: a decoder would find it broken
    assert kind(refused(client, one_more[:45], "image/png")) == (413, "image-too-large")


def test_bytes_are_counted_as_announced(client: TestClient) -> None:
    assert client.post("/detect", content=PHOTO.ljust(200_000, b"\0")).status_code == 200
    problem = refused(client, PHOTO.ljust(200_001, b"\0"), "image/jpeg")
    assert kind(problem) == (413, "upload-too-large")
    assert problem["detail"] == "the body has 200001 bytes, the limit is 200000"


def test_reading_stops_at_the_limit_where_no_length_was_announced() -> None:
    taken = 0

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": bytes(100), "more_body": True}

    request = Request({"type": "http", "headers": []}, receive)  # type: ignore[arg-type]
    with pytest.raises(errors.UploadTooLarge, match="more bytes than the limit of 1000"):
        asyncio.run(read_upload(request, max_bytes=1000, limits=LIMITS, timeout_s=10, take=lambda _: None))
    assert taken == 11


def test_a_connection_that_closes_early_is_a_malformed_body() -> None:
    messages = iter([{"type": "http.request", "body": b"abc", "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> dict[str, Any]:
        return next(messages)

    request = Request({"type": "http", "headers": []}, receive)  # type: ignore[arg-type]
    with pytest.raises(errors.MalformedBody, match="closed after 3 bytes"):
        asyncio.run(read_upload(request, max_bytes=1000, limits=LIMITS, timeout_s=10, take=lambda _: None))


def test_on_the_wire_a_chunked_body_without_end_is_a_413() -> None:
    with serving(app_with(FixedEngine(), max_bytes=50_000)) as port, connect(port) as connection:
        connection.sendall(b"POST /detect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(60):
            connection.sendall(b"400\r\n" + bytes(1024) + b"\r\n")  # 60 KiB, and never the last chunk
        answer = read_to_end(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"the body has more bytes than the limit of 50000"' in answer


def test_on_the_wire_a_body_that_does_not_come_is_a_408() -> None:
    with serving(app_with(FixedEngine(), upload_timeout_s=0.2)) as port, connect(port) as connection:
        began_s = time.monotonic()
        connection.sendall(b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n0123456789")
        answer = read_to_end(connection)
        assert time.monotonic() - began_s >= 0.2
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer
    assert b"within 0.2 s; 10 bytes were received" in answer


def test_on_the_wire_a_refused_body_is_never_asked_for() -> None:
    with serving(app_with(FixedEngine(), max_bytes=1000)) as port, connect(port) as connection:
        connection.sendall(b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n")
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_form_beyond_its_limits_is_refused_with_limit_and_value() -> None:
    limits = FormLimits(max_parts=2, max_header_bytes=200)

    def read(form: bytes) -> None:
        decode(UploadedBody(form + END, b"cut", limits).image(), max_pixels=10_000)

    read(part())
    with pytest.raises(errors.MalformedBody, match="more parts than the limit of 2"):
        read(part() * 3)
    told = "; the limit is 16 headers of 200 bytes per part"
    with pytest.raises(errors.MalformedBody, match=f"Maximum header size exceeded{told}"):
        read(part(PHOTO, "image", "photo.jpg", "X-Long: " + "a" * 234))
    for names in ([f"X-{number}" for number in range(16)], ["X"] * 1_000_000):
        began_s = time.monotonic()
        with pytest.raises(errors.MalformedBody, match=f"Maximum header count exceeded{told}"):
            read(part(PHOTO, "image", "photo.jpg", *(f"{name}: a" for name in names)))
        assert time.monotonic() - began_s < 5  # each costs Python code
