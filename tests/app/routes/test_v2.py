"""The Open Inference Protocol over HTTP."""

import json
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from model_store.detector import Detector
from rendersight.detections import Detections
from rendersight.images import RgbImage
from tests.app.fakes import CARD, PHOTO, FixedEngine, HeldEngine, app_with
from tests.app.v2_requests import (
    INFER,
    LENGTH,
    binary_request,
    error_of,
    infer,
    json_request,
    outputs_of,
    refused,
    wide,
)
from tests.app.wire import connect, read_to_end, sample, serving, wait_until

OUTPUTS = ["boxes", "labels", "scores", "num_detections"]


class BySize(FixedEngine):
    """Finds one object for each 10 px of a photo's width."""

    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        super().detect(images)
        return [
            Detections.of(
                [[at, 1, at + 9.123, 9] for at in range(0, one.shape[1] - 9, 10)],
                [1 + at % 3 for at in range(one.shape[1] // 10)],
                [0.9 - at / 1000 for at in range(one.shape[1] // 10)],
            )
            for one in images
        ]


def test_the_server_and_its_model_describe_themselves(client: TestClient) -> None:
    server = {"name": "rendersight", "version": "1.0.0", "extensions": ["binary_tensor_data"]}
    assert [client.get(path).json() for path in ("/v2", "/v2/")] == [server, server]
    described = {
        "name": "fruit",
        "versions": ["3"],
        "platform": "fixed",
        "inputs": [{"name": "images", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "boxes", "datatype": "FP32", "shape": [-1, -1, 4]},
            {"name": "labels", "datatype": "INT64", "shape": [-1, -1]},
            {"name": "scores", "datatype": "FP32", "shape": [-1, -1]},
            {"name": "num_detections", "datatype": "INT32", "shape": [-1]},
        ],
    }
    for path in ("/v2/models/fruit", "/v2/models/fruit/versions/3"):
        assert client.get(path).json() == described
        assert client.get(f"{path}/ready").json() == {"name": "fruit", "ready": True}
        assert client.head(path).status_code == 200
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"live": True, "ready": True}


def test_json_and_bytes_and_detect_say_the_same(tiny_client: TestClient) -> None:
    of_detect = tiny_client.post("/detect", content=PHOTO, params={"score_threshold": 0.1}).json()
    assert len(of_detect["detections"]) > 1
    asked = {"parameters": {"score_threshold": 0.1}}
    text = tiny_client.post("/v2/models/tiny/versions/1/infer", json=json_request(PHOTO, **asked))
    assert text.json()["outputs"][0]["data"] == [side for one in of_detect["detections"] for side in one["box"]]
    assert text.json()["outputs"][2]["data"] == [one["score"] for one in of_detect["detections"]]
    body, headers = binary_request(PHOTO, parameters={"score_threshold": 0.1, "binary_data_output": True})
    binary = tiny_client.post("/v2/models/tiny/infer", content=body, headers=headers)
    assert LENGTH in binary.headers
    assert (text.json()["model_name"], text.json()["model_version"]) == ("tiny", "1")
    for response in (text, binary):
        found = outputs_of(response)
        assert list(found) == OUTPUTS
        assert found["boxes"].shape == (1, len(of_detect["detections"]), 4)
        np.testing.assert_array_equal(found["boxes"][0], np.float32([one["box"] for one in of_detect["detections"]]))
        np.testing.assert_array_equal(found["scores"][0], np.float32([one["score"] for one in of_detect["detections"]]))
        assert found["labels"].tolist() == [[one["label_id"] for one in of_detect["detections"]]]
        assert found["num_detections"].tolist() == [len(of_detect["detections"])]


def test_pads_images_with_fewer_objects() -> None:
    widths = [30, 10, 70, 5, 20, 20, 40]
    with TestClient(app_with(BySize())) as client:
        answer = infer(client, *map(wide, widths))
        found = outputs_of(answer)
        alone = [client.post("/detect", content=wide(width)).json()["detections"] for width in widths]
    assert found["num_detections"].tolist() == [3, 1, 7, 0, 2, 2, 4] == [len(one) for one in alone]
    assert {name: one.shape for name, one in found.items()} == {
        "boxes": (7, 7, 4),
        "labels": (7, 7),
        "scores": (7, 7),
        "num_detections": (7,),
    }
    for index, (one, count) in enumerate(zip(alone, found["num_detections"], strict=True)):
        assert found["labels"][index].tolist() == [item["label_id"] for item in one] + [0] * (7 - count)
        np.testing.assert_array_equal(
            found["boxes"][index, :count], np.float32([item["box"] for item in one]).reshape(-1, 4)
        )
        assert not found["boxes"][index, count:].any()
        assert not found["scores"][index, count:].any()


def test_images_without_an_object_have_empty_tensors(client: TestClient) -> None:
    for binary in (False, True):
        answer = infer(client, PHOTO, PHOTO, parameters={"score_threshold": 1, "binary_data_output": binary})
        found = outputs_of(answer)
        assert [one.shape for one in found.values()] == [(2, 0, 4), (2, 0), (2, 0), (2,)]
        assert found["num_detections"].tolist() == [0, 0]


def test_parameters_mean_the_same_as_in_detect(client: TestClient) -> None:
    for parameters in (
        {},
        {"score_threshold": 0},
        {"score_threshold": 0.25, "max_detections": 2},
        {"score_threshold": 0, "labels": "pear"},
        {"score_threshold": 0, "labels": "plum, apple"},
        {"score_threshold": 0, "iou_threshold": 0.01, "class_agnostic": True},
        {"score_threshold": None},
    ):
        query = {name: value for name, value in parameters.items() if value is not None}
        if "labels" in query:
            query["labels"] = str(query["labels"]).split(", ")
        expected = client.post("/detect", content=PHOTO, params=query).json()["detections"]
        found = outputs_of(infer(client, PHOTO, parameters=parameters))
        assert found["labels"].tolist() == [[one["label_id"] for one in expected]]
        np.testing.assert_array_equal(found["scores"][0], np.float32([one["score"] for one in expected]))


def test_outputs_are_those_that_were_asked_for(client: TestClient) -> None:
    asked = [{"name": "scores"}, {"name": "num_detections", "parameters": {"binary_data": True}}, {"name": "scores"}]
    mixed = infer(client, PHOTO, outputs=asked)
    assert list(outputs_of(mixed)) == ["scores", "num_detections"]
    head = json.loads(mixed.content[: int(mixed.headers[LENGTH])])
    assert head["outputs"][0] == {"name": "scores", "datatype": "FP32", "shape": [1, 2], "data": [0.95, 0.8]}
    assert head["outputs"][1] == {
        "name": "num_detections",
        "datatype": "INT32",
        "shape": [1],
        "parameters": {"binary_data_size": 4},
    }
    assert mixed.content[-4:] == b"\x02\0\0\0"
    overridden = [{"name": "labels", "parameters": {"binary_data": False}}]
    plain = infer(client, PHOTO, outputs=overridden, parameters={"binary_data_output": True})
    assert plain.json()["outputs"][0]["data"] == [1, 2]
    assert list(outputs_of(infer(client, PHOTO, outputs=[]))) == OUTPUTS
    assert refused(client, outputs=[{"name": "masks"}])[0] == 400
    assert (
        "classification: no such parameter"
        in refused(client, outputs=[{"name": "boxes", "parameters": {"classification": 3}}])[1]
    )


def test_the_id_comes_back(client: TestClient) -> None:
    for text in ("42", "", "größe ✓", "x" * 1000):
        assert infer(client, PHOTO, id=text).json()["id"] == text
    assert "id" not in infer(client, PHOTO).json()
    for wrong in (42, "x" * 1001, ["a"]):
        assert "id: " in refused(client, id=wrong)[1]
    asked = client.post(INFER, json=json_request(PHOTO), headers={"X-Request-ID": "mine"})
    assert asked.headers["X-Request-ID"] == "mine"


def test_ignores_unknown_members(client: TestClient) -> None:
    assert infer(client, PHOTO, model_name="fruit").status_code == 200


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", None])
def test_json_is_taken_however_it_is_declared(client: TestClient, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    assert client.post(INFER, content=json.dumps(json_request(PHOTO)), headers=headers).status_code == 200


def test_nothing_is_ready_before_the_model_is_loaded() -> None:
    client = TestClient(create_app(Settings()))  # not entered: its start has not happened
    assert client.get("/v2/health/live").status_code == 200
    for path in ("/v2/health/ready", "/v2/models/fruit", "/v2/models/fruit/ready"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert error_of(answer) == "no model is loaded"
    assert infer(client, PHOTO).status_code == 503


def test_stopping_service_is_alive_but_not_ready() -> None:
    app = app_with(FixedEngine())
    with TestClient(app) as client:
        app.state.lifecycle.stopping = True
        assert client.get("/v2/health/live").status_code == 200
        for answer in (client.get("/v2/health/ready"), infer(client, PHOTO)):
            assert (answer.status_code, answer.headers["connection"]) == (503, "close")
            assert error_of(answer) == "the service is stopping"


def test_time_limit_covers_all_images() -> None:
    class Slow(FixedEngine):
        def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
            time.sleep(0.1)
            return super().detect(images)

    engine = Slow()
    with TestClient(app_with(engine)) as client:
        asked = {"X-Request-Timeout": "0.5"}
        answer = client.post(INFER, json=json_request(*[PHOTO] * 20), headers=asked)
        assert answer.status_code in (503, 504)
        assert answer.headers["retry-after"]
        error_of(answer)
        computed = len(engine.images)
        time.sleep(0.3)
        assert len(engine.images) <= computed + 1 < 10
        assert client.post(INFER, json=json_request(PHOTO), headers={"X-Request-Timeout": "no"}).status_code == 422


def test_full_queue_is_a_503_with_retry_after() -> None:
    engine = HeldEngine()
    app = app_with(engine, queue_size=0)
    with TestClient(app) as client:
        first = threading.Thread(target=infer, args=(client, PHOTO))
        first.start()
        assert engine.started.wait(30)
        answer = infer(client, PHOTO)
        engine.release.set()
        first.join()
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert "requests are waiting" in error_of(answer)
        assert outputs_of(infer(client, PHOTO, PHOTO, PHOTO))["num_detections"].tolist() == [2, 2, 2]


def test_answer_names_its_model_after_a_swap() -> None:
    engine = HeldEngine()
    app = app_with(engine)
    with TestClient(app) as client:
        answers: list[Any] = []
        asking = threading.Thread(target=lambda: answers.append(infer(client, PHOTO, PHOTO, PHOTO, PHOTO)))
        asking.start()
        assert engine.started.wait(30)
        other = Detector(replace(CARD, version="4"), FixedEngine())
        app.state.scheduler.swap(other)
        engine.release.set()
        asking.join()
        assert answers[0].json()["model_version"] == "3"
        assert len(engine.images) == 4
        assert infer(client, PHOTO).json()["model_version"] == "4"
        gone = client.post("/v2/models/fruit/versions/3/infer", json=json_request(PHOTO))
        assert (gone.status_code, "no version '3'" in error_of(gone)) == (404, True)


def test_swap_during_upload_rejects_the_requested_version() -> None:
    app = app_with(FixedEngine())
    with TestClient(app) as client:
        text = json.dumps(json_request(PHOTO)).encode()

        def body() -> Iterator[bytes]:
            yield text[:50]
            app.state.scheduler.swap(Detector(replace(CARD, version="4"), FixedEngine()))
            yield text[50:]

        answer = client.post("/v2/models/fruit/versions/3/infer", content=body())
        assert (answer.status_code, "no version '3'" in error_of(answer)) == (404, True)


def test_requests_are_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    app = app_with(FixedEngine())
    with TestClient(app) as client, caplog.at_level(logging.INFO):
        infer(client, PHOTO, PHOTO, PHOTO)
        infer(client, PHOTO, b"no image")
        refused(client, b"{}")
    count = lambda outcome: sample(app.state.metrics, "detect_requests_total", outcome=outcome, model="fruit")  # noqa: E731
    assert [count(one) for one in ("ok", "unknown-image-format", "invalid-inference")] == [1, 1, 1]
    assert sample(app.state.metrics, "detect_images_total") >= 3
    route = {"http_route": "/v2/models/{model_name}/infer", "http_response_status_code": "200"}
    assert sample(app.state.metrics, "http_server_request_duration_seconds_count", **route) == 1
    logged = [record.fields for record in caplog.records if record.name == "app.observability.request_log"]  # type: ignore[attr-defined]
    assert logged[0]["model"] == "fruit@3"
    assert {"queue_ms", "decode_ms", "inference_ms", "encode_ms"} <= logged[0].keys()
    assert logged[1]["outcome"] == "unknown-image-format"


def on_the_wire(body: bytes, headers: dict[str, str], length: int | None = None) -> bytes:
    lines = [f"POST {INFER} HTTP/1.1", "Host: x", "Connection: close", *(f"{one}: {headers[one]}" for one in headers)]
    lines += [f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def test_cancels_inference_on_disconnect_on_the_wire() -> None:
    engine = HeldEngine()
    app = app_with(engine)
    with serving(app) as port:
        with connect(port) as connection:
            connection.sendall(on_the_wire(*binary_request(*[wide(40)] * 9)))
            assert engine.started.wait(20)
        wait_until(lambda: app.state.scheduler.waiting == 0)
        engine.release.set()
        wait_until(lambda: app.state.memory.held_bytes == 0)
        wait_until(lambda: sample(app.state.metrics, "http_server_active_requests") == 0)
        assert sample(app.state.metrics, "detect_requests_total", outcome="client-gone") == 1
    assert len(engine.images) == 1


def test_one_request_does_not_fill_the_queue_on_the_wire() -> None:
    engine = FixedEngine()
    with serving(app_with(engine, queue_size=1)) as port, connect(port) as connection:
        connection.sendall(on_the_wire(*binary_request(*[wide(40)] * 20)))
        answer = read_to_end(connection)
    assert answer.startswith(b"HTTP/1.1 200")
    assert len(engine.images) == 20


def test_trickling_body_is_a_408_on_the_wire() -> None:
    with serving(app_with(FixedEngine(), upload_timeout_s=0.2)) as port, connect(port) as connection:
        connection.sendall(on_the_wire(b'{"inputs"', {}, length=1000))
        head, _, body = read_to_end(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408")
    assert json.loads(body) == {"error": "the body did not arrive within 0.2 s; 9 bytes were received"}
