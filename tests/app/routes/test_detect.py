import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from app.main import create_app
from app.schemas import BOX_DECIMALS, SCORE_DECIMALS
from app.settings import Settings
from model_store import golden, store
from model_store.detector import open_detector
from model_store.engines import DeviceLost
from model_store.engines.torch import TorchEngine
from model_store.manifest import GoldenImage
from model_store.network import load
from model_store.store import Release
from rendersight import heif, images
from rendersight.detections import Detections, box_iou
from rendersight.images import RgbImage
from tests.app.conftest import NOT_CONVERTED, OPTIONS
from tests.app.fakes import PHOTO, FixedEngine, HeldEngine, app_with, encoded
from tests.app.wire import connect, read_to_end, sample, serving, wait_until


def post(client: TestClient, data: bytes = PHOTO, **query: Any) -> Any:
    return client.post("/detect", files={"image": ("photo.jpg", data)}, params=query)


def found(client: TestClient, **query: Any) -> list[tuple[str, float]]:
    response = post(client, **query)
    assert response.status_code == 200, response.text
    return [(item["label"], item["score"]) for item in response.json()["detections"]]


def test_form_and_bare_image_give_the_same_detections(tiny_client: TestClient, release_store: Path) -> None:
    detector = open_detector("tiny", store_root=release_store, device="cpu", engine=NOT_CONVERTED)
    (expected,) = detector.detect([images.decode(PHOTO)])
    expected = expected.above(0.4)
    assert len(expected) > 0
    form = post(tiny_client).json()
    bare = tiny_client.post("/detect", content=PHOTO, headers={"Content-Type": "image/jpeg"}).json()
    assert form == bare
    assert form["model"] == {"name": "tiny", "version": "1", "engine": NOT_CONVERTED, "device": "cpu"}
    assert form["image"] == {"width": 60, "height": 45}
    assert form["score_threshold"] == 0.4
    boxes = np.array([item["box"] for item in form["detections"]])
    assert np.abs(boxes - expected.boxes_xyxy).max() <= 0.5001 * 10**-BOX_DECIMALS
    scores = np.array([item["score"] for item in form["detections"]])
    assert np.abs(scores - expected.scores).max() <= 0.5001 * 10**-SCORE_DECIMALS
    assert [item["label_id"] for item in form["detections"]] == expected.labels.tolist()
    assert {item["label"] for item in form["detections"]} <= {"left", "right"}


def test_reports_one_label_per_object_if_the_release_says_so(
    tiny_client: TestClient, release_store: Path, tmp_path: Path
) -> None:
    """`/detect/batch` and `/v2` answer as `/detect` does; their own tests show it."""
    shutil.copytree(release_store, tmp_path, dirs_exist_ok=True)
    release = store.find(tmp_path, "tiny")
    options = OPTIONS.model_copy(update={"one_label_per_object": True}).model_dump()
    manifest = release.manifest.model_copy(update={"options": options, "one_label_iou": 0.5})
    (on_golden,) = TorchEngine(load(Release(release.folder, manifest)).network, "cpu").detect(
        [images.read(release.folder / store.GOLDEN_IMAGE)]
    )
    expected = golden.expectation(on_golden, score_threshold=manifest.score_threshold)
    manifest.model_copy(update={"golden": (GoldenImage(expected=expected),)}).write(release.folder)

    def boxes_of(client: TestClient, **query: Any) -> NDArray[np.float32]:
        answer = post(client, score_threshold=0.05, **query).json()
        return np.array([item["box"] for item in answer["detections"]], np.float32).reshape(-1, 4)

    def overlapping(boxes_xyxy: NDArray[np.float32]) -> int:
        return int((box_iou(boxes_xyxy, boxes_xyxy) > 0.51).sum()) - len(boxes_xyxy)  # answers are rounded

    several = boxes_of(tiny_client)
    settings = Settings(model="tiny", model_store=tmp_path, device="cpu", engine=NOT_CONVERTED)
    with TestClient(create_app(settings)) as client:
        single = boxes_of(client)
        assert overlapping(several) > overlapping(single) == 0
        assert 1 < len(single) < len(several)
        assert len(boxes_of(client, iou_threshold=0.01, class_agnostic=True)) < len(single)


@pytest.mark.parametrize("content_type", ["image/png", "image/x-anything", "application/octet-stream", None])
def test_signature_decides_the_format(client: TestClient, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    assert client.post("/detect", content=PHOTO, headers=headers).status_code == 200


def test_heic_without_the_plugin_is_refused_with_what_to_do(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(Image.new("RGB", (9, 7)), "HEIF")
    monkeypatch.setattr(heif, "IS_READABLE", False)
    monkeypatch.setattr(images, "WEB_FORMATS", ("JPEG", "PNG"))
    response = client.post("/detect", content=data)
    assert response.status_code == 415
    assert response.json()["detail"].startswith("HEIC is not read here: convert the photo to JPEG")


def test_a_rotated_photo_is_turned_upright(client: TestClient, engine: FixedEngine) -> None:
    stored = Image.new("RGB", (40, 30), "black")
    stored.paste("white", (0, 0, 20, 30))  # the left half as stored is the upper half once turned clockwise
    exif = Image.Exif()
    exif[0x0112] = 6
    response = post(client, encoded(stored, "JPEG", exif=exif, quality=95))
    assert response.json()["image"] == {"width": 30, "height": 40}
    assert engine.images[0][:16].mean() > 240
    assert engine.images[0][24:].mean() < 15


def test_applies_the_recommended_threshold_by_default(client: TestClient) -> None:
    assert found(client) == [("apple", 0.95), ("pear", 0.8)]  # the plum's score is the threshold itself
    assert post(client).json()["score_threshold"] == 0.6


def test_raises_the_threshold_to_the_floor(client: TestClient) -> None:
    response = post(client, score_threshold=0).json()
    assert response["score_threshold"] == 0.05
    assert [item["score"] for item in response["detections"]] == [0.95, 0.8, 0.6, 0.3, 0.07]


@pytest.mark.parametrize("size_wh", [(1, 1), (1, 2000), (2000, 1), (3, 3)])
def test_odd_sizes_are_answered_inside_the_image(tiny_client: TestClient, size_wh: tuple[int, int]) -> None:
    response = post(tiny_client, encoded(Image.new("RGB", size_wh, "green")), score_threshold=0)
    assert response.status_code == 200
    width, height = size_wh
    for item in response.json()["detections"]:
        x0, y0, x1, y1 = item["box"]
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height


WHOLE = [encoded(Image.linear_gradient("L").resize((20, 20)).convert("RGB"), name) for name in images.WEB_FORMATS]


@pytest.fixture(scope="module")
def anything() -> Iterator[TestClient]:
    with TestClient(app_with(FixedEngine(), max_pixels=100_000)) as client:
        yield client


@settings(max_examples=100, deadline=None)
@given(
    whole=st.sampled_from(WHOLE),
    changes=st.lists(st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=4)), max_size=4),
    cut=st.integers(0, 1200),
)
def test_no_spoilt_image_is_a_500(
    anything: TestClient, whole: bytes, changes: list[tuple[int, bytes]], cut: int
) -> None:
    data = bytearray(whole)
    for at, piece in changes:
        data[at : at + len(piece)] = piece
    response = anything.post("/detect", content=bytes(data[: len(data) - cut] or b"x"))
    assert response.status_code in (200, 413, 415, 422), response.text


@settings(max_examples=40, deadline=None)
@given(
    query=st.dictionaries(st.sampled_from(["score_threshold", "max_detections", "labels", "x"]), st.text(), max_size=2),
    content_type=st.sampled_from(["multipart/form-data; boundary=", "image/png", "text/plain", ""]),
    tail=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
    body=st.binary(max_size=60),
)
def test_no_request_is_a_500(
    anything: TestClient, query: dict[str, str], content_type: str, tail: str, body: bytes
) -> None:
    headers = {"Content-Type": content_type + tail}
    response = anything.post("/detect", params=query, headers=headers, content=body)
    assert response.status_code in (400, 415, 422), response.text
    assert response.headers["content-type"] == "application/problem+json"


def test_full_queue_is_a_503_with_retry_after() -> None:
    engine = HeldEngine()
    with TestClient(app_with(engine, queue_size=0)) as client, ThreadPoolExecutor() as threads:
        first = threads.submit(post, client)
        assert engine.started.wait(10)
        refused = post(client)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.json()["type"] == "urn:rendersight:problem:overloaded"
        engine.release.set()
        assert first.result().status_code == 200
        assert post(client).status_code == 200


def test_cancels_inference_if_the_client_leaves(caplog: pytest.LogCaptureFixture) -> None:
    engine = HeldEngine()
    app = app_with(engine)

    def in_the_air() -> float:
        return sample(app.state.metrics, "http_server_active_requests")

    request = b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(PHOTO), PHOTO)
    with serving(app) as port, caplog.at_level("INFO", "app"):
        connections = [connect(port) for _ in range(5)]
        for number, connection in enumerate(connections):
            connection.sendall(request)
            wait_until(lambda number=number: in_the_air() == number + 1)  # type: ignore[misc]
            assert engine.started.wait(20)  # the first photo is at work; two decoders could let the second pass it
        wait_until(lambda: sample(app.state.metrics, "detect_queue_depth") == 4)
        for connection in connections[1:]:
            connection.close()
        wait_until(lambda: sample(app.state.metrics, "detect_queue_depth") == 0)
        wait_until(lambda: in_the_air() == 1)
        engine.release.set()
        assert connections[0].recv(65536).startswith(b"HTTP/1.1 200 ")
        connections[0].close()
    assert len(engine.images) == 1
    logged = [record.fields for record in caplog.records if record.name == "app.observability.request_log"]  # type: ignore[attr-defined]
    assert [fields["status"] for fields in logged] == [499] * 4 + [200]
    assert sample(app.state.metrics, "detect_requests_total", outcome="client-gone", version="3") == 4


def test_bounds_the_memory_of_all_bodies(engine: FixedEngine) -> None:
    app = app_with(engine, max_bytes=1000, max_held_bytes=1500)
    with serving(app) as port, connect(port) as slow, connect(port) as other:
        slow.sendall(b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + bytes(900))
        wait_until(lambda: app.state.memory.held_bytes == 900)
        other.sendall(b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: 800\r\n\r\n" + bytes(800))
        answer = read_to_end(other)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in answer
        assert b"the bodies of all requests have 1700 bytes, the limit is 1500" in answer
        slow.sendall(bytes(100))
        assert slow.recv(65536).startswith(b"HTTP/1.1 415 ")
        wait_until(lambda: app.state.memory.held_bytes == 0)


class FaultyEngine(FixedEngine):
    """Fails once with what it is given, then works."""

    def __init__(self, fault: Exception) -> None:
        super().__init__()
        self._fault: Exception | None = fault

    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        if (fault := self._fault) is not None:
            self._fault = None
            raise fault
        return super().detect(images)


@pytest.mark.parametrize(
    "fault", [MemoryError("CUDA out of memory"), FloatingPointError("a box that is not finite"), RuntimeError("odd")]
)
def test_network_error_fails_one_request(fault: Exception, caplog: pytest.LogCaptureFixture) -> None:
    with TestClient(app_with(FaultyEngine(fault))) as client:
        failed = client.post("/detect", content=PHOTO)
        assert failed.status_code == 500
        assert failed.json()["request_id"] == failed.headers["x-request-id"]
        assert str(fault) not in failed.text
        (record,) = (record for record in caplog.records if record.levelname == "ERROR")
        assert record.exc_info is not None
        assert record.exc_info[1] is fault
        assert record.fields["request_id"] == failed.headers["x-request-id"]  # type: ignore[attr-defined]
        assert client.get("/livez").status_code == 200
        assert client.post("/detect", content=PHOTO).status_code == 200


def test_lost_device_is_not_alive() -> None:
    with TestClient(app_with(FaultyEngine(DeviceLost("cuda:0 is lost: an illegal memory access")))) as client:
        assert client.post("/detect", content=PHOTO).status_code == 500
        for path in ("/livez", "/readyz"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["detail"]) == (503, "cuda:0 is lost: an illegal memory access")
        assert client.post("/detect", content=PHOTO).status_code == 503
