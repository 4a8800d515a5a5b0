"""Many photos of one request."""

import json
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.schemas import BatchLine
from rendersight.detections import Detections
from rendersight.images import RgbImage
from tests.app.fakes import PHOTO, FailingEngine, FixedEngine, HeldEngine, app_with, encoded
from tests.app.wire import connect, read_to_end, sample, serving, wait_until


def post(client: TestClient, *files: tuple[str, bytes], **query: Any) -> Any:
    return client.post("/detect/batch", files=[("image", file) for file in files], params=query)


def lines(client: TestClient, *files: tuple[str, bytes], **query: Any) -> list[dict[str, Any]]:
    response = post(client, *files, **query)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    found = [json.loads(line) for line in response.text.splitlines()]
    for line in found:
        BatchLine.model_validate(line)
    return found


def sized(width: int) -> tuple[str, bytes]:
    return f"{width}.png", encoded(Image.new("RGB", (width, 45)))


def test_answers_in_order_as_for_single_photos(client: TestClient) -> None:
    widths = [40, 50, 60, 70, 44, 41, 42]
    found = lines(client, *map(sized, widths), score_threshold=0, labels="pear")
    assert [line["index"] for line in found] == list(range(7))
    assert [line["filename"] for line in found] == [f"{width}.png" for width in widths]
    alone = [
        client.post("/detect", content=sized(width)[1], params={"score_threshold": 0, "labels": "pear"}).json()
        for width in widths
    ]
    assert [line["result"] for line in found] == alone
    assert all("problem" not in line for line in found)


def test_bad_file_gets_its_own_problem(client: TestClient) -> None:
    found = lines(
        client,
        ("good.jpg", PHOTO),
        ("text.jpg", b"no image"),
        ("empty.jpg", b""),
        ("broken.jpg", PHOTO[:200]),
        ("large.png", encoded(Image.new("1", (200, 200)))),
        ("long.png", PHOTO + bytes(200_001)),
        ("good again.jpg", PHOTO),
    )
    kinds = [line.get("problem", {}).get("type", "").rpartition(":")[2] for line in found]
    assert kinds == [
        "",
        "unknown-image-format",
        "empty-upload",
        "broken-image",
        "image-too-large",
        "upload-too-large",
        "",
    ]
    assert [line["problem"]["status"] for line in found if "problem" in line] == [415, 400, 422, 413, 413]
    assert "200001 bytes" not in found[5]["problem"]["detail"]
    assert "the limit is 200000" in found[5]["problem"]["detail"]
    assert found[0]["result"] == found[6]["result"]


def test_unexpected_error_fails_one_photo(log: Any) -> None:
    with TestClient(app_with(FailingEngine())) as client:
        response = post(client, ("a.jpg", PHOTO), ("b.txt", b"no image"))
    first, second = (json.loads(line) for line in response.text.splitlines())
    assert first["problem"]["status"] == 500
    assert second["problem"]["status"] == 415
    assert "secret" not in response.text
    assert first["problem"]["request_id"] == response.headers["x-request-id"]
    traced = [json.loads(line) for line in log.getvalue().splitlines() if "traceback" in line]
    assert [(line["request_id"], line["index"]) for line in traced] == [(response.headers["x-request-id"], 0)]


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ([("image", ("a.jpg", PHOTO)), ("photo", ("b.jpg", PHOTO))], "invalid-form"),
        ([("image", ("a.jpg", PHOTO)), ("image", (None, b"text"))], "invalid-form"),
        ([("image", (f"{i}.jpg", PHOTO)) for i in range(33)], "malformed-body"),
    ],
    ids=["other field", "text", "too many"],
)
def test_rejects_an_invalid_form(client: TestClient, fields: Any, kind: str) -> None:
    response = client.post("/detect/batch", files=fields)
    assert response.json()["type"] == f"urn:rendersight:problem:{kind}"


def test_a_body_that_is_no_form_is_refused(client: TestClient) -> None:
    response = client.post("/detect/batch", content=PHOTO, headers={"Content-Type": "image/jpeg"})
    assert (response.status_code, response.json()["type"]) == (415, "urn:rendersight:problem:unsupported-media-type")


def test_batch_body_has_its_own_limit() -> None:
    with TestClient(app_with(FixedEngine(), max_bytes=len(PHOTO), max_batch_bytes=4 * len(PHOTO))) as client:
        assert len(lines(client, *[("a.jpg", PHOTO)] * 3)) == 3
        refused = post(client, *[("a.jpg", PHOTO)] * 5)
    assert refused.status_code == 413
    assert f"the limit is {4 * len(PHOTO)}" in refused.json()["detail"]


@pytest.mark.parametrize("query", [{"format": "csv"}, {"labels": "fig"}, {"iou_threshold": 2}])
def test_rejects_an_invalid_query(client: TestClient, query: dict[str, Any]) -> None:
    assert post(client, ("a.jpg", PHOTO), **query).status_code == 422


class CountingEngine(FixedEngine):
    """Knows how many photos it was given at once, and holds the last one back."""

    parallel = 2

    def __init__(self, held_width: int) -> None:
        super().__init__()
        self.release = threading.Event()
        self._held_width = held_width

    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        if images[0].shape[1] == self._held_width:
            assert self.release.wait(60), "nobody released it"
        return super().detect(images)


def form(*files: tuple[str, bytes]) -> bytes:
    body = b"".join(
        b'--cut\r\nContent-Disposition: form-data; name="image"; filename="%s"\r\n\r\n%s\r\n' % (name.encode(), data)
        for name, data in files
    )
    body += b"--cut--\r\n"
    head = "POST /detect/batch HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=cut\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


def test_sends_lines_as_soon_as_ready_on_the_wire() -> None:
    engine = CountingEngine(held_width=77)
    with serving(app_with(engine)) as port, connect(port) as connection:
        connection.sendall(form(sized(40), sized(41), sized(77)))
        received = b""
        while received.count(b'"result"') < 2:
            received += connection.recv(65536)
        assert not engine.release.is_set()
        assert b'"index":2' not in received
        engine.release.set()
        received += read_to_end(connection)
    assert b'"index":2' in received
    assert received.endswith(b"0\r\n\r\n")


def test_cancels_inference_on_disconnect_on_the_wire() -> None:
    engine = HeldEngine()
    app = app_with(engine)
    with serving(app) as port:
        with connect(port) as connection:
            connection.sendall(form(*[sized(40)] * 9))
            assert engine.started.wait(20)
        wait_until(lambda: app.state.scheduler.waiting == 0)
        engine.release.set()
        wait_until(lambda: app.state.memory.held_bytes == 0)
        wait_until(lambda: sample(app.state.metrics, "http_server_active_requests") == 0)
    assert len(engine.images) == 1


def test_one_batch_does_not_fill_the_queue() -> None:
    engine = HeldEngine()
    app = app_with(engine, queue_size=1, max_parts=20)
    with serving(app) as port, connect(port) as connection:
        connection.sendall(form(*[sized(40)] * 20))
        assert engine.started.wait(20)
        engine.release.set()
        answer = read_to_end(connection)
    assert answer.count(b'"result"') == 20


def test_each_photo_counts_in_the_metrics() -> None:
    app = app_with(FixedEngine())
    with TestClient(app) as client:
        lines(client, ("a.jpg", PHOTO), ("b.txt", b"no image"), ("c.jpg", PHOTO))
        post(client)
    metrics = app.state.metrics
    assert sample(metrics, "detect_images_total") == 2
    assert sample(metrics, "detect_requests_total", outcome="ok") == 2
    assert sample(metrics, "detect_requests_total", outcome="unknown-image-format") == 1
    assert sample(metrics, "detect_requests_total") == 4
