"""The Open Inference Protocol over HTTP."""

import json
import logging
import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.main import create_app
from app.routes import v2
from app.settings import Settings
from model_store.detector import Detector
from rendersight.detections import Detections
from rendersight.images import RgbImage
from tests.app.fakes import CARD, PHOTO, FailingEngine, FixedEngine, HeldEngine, app_with, encoded
from tests.app.inference import LENGTH, binary_request, elements, json_request, outputs_of, tensor
from tests.app.wire import connect, read_to_end, sample, serving, wait_until

INFER = "/v2/models/fruit/infer"
OUTPUTS = ["boxes", "labels", "scores", "num_detections"]


def infer(client: TestClient, *images: bytes, **members: Any) -> Any:
    return client.post(INFER, json=json_request(*images, **members))


def error_of(response: Any) -> str:
    """Return the text of an error, which has the protocol's shape and nothing else."""
    assert response.status_code >= 400
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    body = response.json()
    assert list(body) == ["error"]
    assert isinstance(body["error"], str)
    assert "\n" not in body["error"]
    return str(body["error"])


def refused(client: TestClient, body: Any = None, headers: Any = None, **members: Any) -> tuple[int, str]:
    if body is None:
        body = json.dumps({"inputs": [tensor(1, data=["AAAA"])], **members})
    response = client.post(INFER, content=body, headers=headers)
    return response.status_code, error_of(response)


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


def wide(width: int) -> bytes:
    return encoded(Image.new("RGB", (width, 20)))


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


def test_images_with_fewer_objects_are_filled_up_with_zeros() -> None:
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


def test_the_parameters_mean_what_they_mean_in_the_query_of_detect(client: TestClient) -> None:
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


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ('{"score_threshold": 1.5}', "score_threshold: Input should be less than or equal to 1, but it is 1.5"),
        ('{"score_threshold": NaN}', "parameters.score_threshold: Input should be a finite number"),
        ('{"score_threshold": Infinity}', "parameters.score_threshold: "),
        ('{"score_threshold": "0.5"}', "parameters.score_threshold: Input should be a valid number, but it is '0.5'"),
        ('{"score_threshold": true}', "parameters.score_threshold: Input should be a valid number"),
        ('{"iou_threshold": -1e400}', "parameters.iou_threshold: "),
        ('{"max_detections": 0}', "parameters.max_detections: Input should be greater than or equal to 1"),
        ('{"max_detections": 2.5}', "parameters.max_detections: Input should be a valid integer"),
        ('{"labels": "apple,fig"}', "labels: 'fig' is unknown; known: apple, pear, plum"),
        ('{"labels": ""}', "labels: '' is unknown"),
        ('{"labels": ["apple"]}', "parameters.labels: a text with commas between class names"),
        ('{"treshold": 0.5}', "parameters.treshold: no such parameter; known: score_threshold, max_detections, labels"),
        ('{"%s": 0.5}' % ("x" * 10_000), "parameters.xxx"),
        ('{"timeout": 5}', "parameters.timeout: no such parameter"),
        ('{"binary_data_output": 1}', "parameters.binary_data_output: Input should be a valid boolean"),
        ("[]", "parameters: Input should be"),
        ("null", "parameters: Input should be"),
    ],
)  # fmt: skip
def test_a_parameter_that_cannot_be_taken_is_named(client: TestClient, parameters: str, said: str) -> None:
    body = json.dumps(json_request(PHOTO))[:-1] + f', "parameters": {parameters}}}'
    status, error = refused(client, body)
    assert (status, said in error) == (422, True), error
    assert len(error) < 500


@pytest.mark.parametrize(
    "query", ["score_threshold=0.9", "score_treshold=0.9&x=1", "score_threshold", "%s=1" % ("x" * 999)]
)
def test_a_query_is_refused_for_parameters_belong_in_the_body(client: TestClient, query: str) -> None:
    for path in (INFER, "/v2/models/fruit/versions/3/infer"):
        answer = client.post(f"{path}?{query}", json=json_request(PHOTO))
        assert answer.status_code == 422
        name = query.partition("=")[0][:100]
        assert error_of(answer).startswith(f"query parameter {name}")
        assert "parameters belong in the body's `parameters`" in error_of(answer)
        assert len(error_of(answer)) < 300
    assert client.post(f"{INFER}?", json=json_request(PHOTO)).status_code == 200


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


def test_members_that_the_protocol_does_not_know_are_passed_over(client: TestClient) -> None:
    assert infer(client, PHOTO, model_name="fruit").status_code == 200


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "Invalid JSON"),
        (b"{", "Invalid JSON"),
        (b"\xff\xfe", "Invalid JSON"),
        (b"[" * 5000, "recursion limit"),
        (b"[]", "Input should be an object"),
        (b"{}", "inputs: Field required"),
        (b'{"inputs": [%s]}' % b",".join([b"{}"] * 20_000), "values, the limit is 10000"),
        ({"inputs": []}, "inputs: List should have at least 1 item"),
        ({"inputs": [tensor(1, data=["AAAA"])] * 2}, "inputs: List should have at most 1 item, not 2"),
        ({"inputs": [{**tensor(1, data=["AAAA"]), "name": "image"}]}, "inputs[0].name: Input should be 'images'"),
        ({"inputs": [{**tensor(1, data=[1]), "datatype": "UINT8"}]}, "Input should be 'BYTES', but it is 'UINT8'"),
        ({"inputs": [{**tensor(1, data=["AAAA"]), "shape": [1, 1]}]}, "inputs[0].shape: List should have at most 1"),
        ({"inputs": [{**tensor(1, data=["AAAA"]), "shape": []}]}, "inputs[0].shape: List should have at least 1"),
        ({"inputs": [{**tensor(1, data=["AAAA"]), "shape": 1}]}, "inputs[0].shape: "),
        ({"inputs": [tensor(-1, data=["AAAA"])]}, "inputs[0].shape[0]: Input should be greater than or equal to 1"),
        ({"inputs": [tensor(0, data=[])]}, "inputs[0].shape[0]: Input should be greater than or equal to 1"),
        ({"inputs": [tensor(10**4000, data=["AAAA"])]}, "000... images, the limit is 32"),
        ({"inputs": [tensor(33, data=["AAAA"] * 33)]}, "inputs[0].shape: 33 images, the limit is 32"),
        ({"inputs": [tensor(2, data=["AAAA"])]}, "inputs[0].shape: [2], but there are 1 elements"),
        ({"inputs": [tensor(1, data=["AAAA"] * 2)]}, "inputs[0].shape: [1], but there are 2 elements"),
        ({"inputs": [tensor(1, data="AAAA")]}, "inputs[0].data: Input should be a valid array"),
        ({"inputs": [tensor(1, data=[["AAAA"]])]}, "inputs[0].data[0]: "),
        ({"inputs": [tensor(1, data=[{"b64": "AAAA"}])]}, "inputs[0].data[0]: "),
        ({"inputs": [tensor(1, data=[7])]}, "inputs[0].data[0]: Input should be base64, but it is 7"),
        ({"inputs": [tensor(2, data=["AAAA", "A A!"])]}, "valid base64: Invalid symbol 32, offset 1, but it is 'A A!'"),
        ({"inputs": [tensor(1, data=["ü"])]}, "inputs[0].data[0]: Data should be valid base64"),
        ({"inputs": [tensor(1, data=["\ud800"])]}, "Invalid JSON"),
        ({"inputs": [tensor(1, data=[""])]}, "image 0: it is empty"),
        ({"inputs": [tensor(1)]}, "inputs[0]: exactly one of data and parameters.binary_data_size"),
        ({"inputs": [tensor(1, data=["AAAA"], parameters={"binary_data_size": 0})]}, "inputs[0]: exactly one of data"),
        ({"inputs": [tensor(1, parameters={"binary_data_size": -1})]}, "inputs[0].parameters.binary_data_size: "),
        ({"inputs": [tensor(1, parameters={"binary_data_size": 7})]}, "binary_data_size 7, but 0 bytes are behind"),
        ({"inputs": [tensor(1, parameters={"shared_memory_region": "r"})]}, "shared_memory_region: no such parameter"),
        ({"inputs": [tensor(1, data=["AAAA"], parameters={"content_type": "str"})]}, "content_type: no such parameter"),
    ],
)  # fmt: skip
def test_a_request_that_is_none_is_a_400_that_names_the_place(client: TestClient, body: Any, said: str) -> None:
    status, error = refused(client, body if isinstance(body, bytes) else json.dumps(body))
    assert (status, said in error) == (400, True), error
    assert len(error) < 500


@pytest.mark.parametrize(
    ("behind", "size", "count", "said"),
    [
        (b"", 0, 1, "inputs[0].shape: [1], but there are 0 elements"),
        (b"\0\0", 2, 1, "inputs[0]: element 0 ends within its length"),
        (b"\xff\xff\xff\xff" + PHOTO, None, 1, f"inputs[0]: element 0 has 4294967295 bytes, {len(PHOTO)} are left"),
        (elements(PHOTO)[:-1], None, 1, f"element 0 has {len(PHOTO)} bytes, {len(PHOTO) - 1} are left"),
        (elements(PHOTO) + b"\0", None, 1, "inputs[0]: element 1 ends within its length"),
        (elements(PHOTO, PHOTO), None, 1, "inputs[0].shape: [1], but there are 2 elements"),
        (elements(PHOTO), None, 2, "inputs[0].shape: [2], but there are 1 elements"),
        (elements(*[b""] * 9), None, 3, "inputs[0].shape: [3], but there are 4 elements"),
        (elements(PHOTO, b""), None, 2, "image 1: it is empty"),
        (elements(PHOTO), 3, 1, f"binary_data_size 3, but {len(PHOTO) + 4} bytes are behind the JSON"),
        (elements(PHOTO), 10**9, 1, "binary_data_size 1000000000, but"),
    ],
)  # fmt: skip
def test_binary_data_that_does_not_fit_is_a_400(
    client: TestClient, behind: bytes, size: int | None, count: int, said: str
) -> None:
    size = len(behind) if size is None else size
    text = json.dumps({"inputs": [tensor(count, parameters={"binary_data_size": size})]}).encode()
    status, error = refused(client, text + behind, {LENGTH: str(len(text))})
    assert (status, said in error) == (400, True), error


def test_the_length_of_the_json_is_held_against_the_body(client: TestClient) -> None:
    body, headers = binary_request(PHOTO)
    for wrong, status, said in (
        (str(len(body) + 1), 400, f"{LENGTH}: {len(body) + 1}, but the body has {len(body)} bytes"),
        (str(10**4000), 400, f"the body has {len(body)} bytes"),
        ("0", 400, "Invalid JSON"),
        (str(int(headers[LENGTH]) - 1), 400, "Invalid JSON"),
        (str(int(headers[LENGTH]) + 1), 400, "Invalid JSON"),
        ("-1", 422, "header inference-header-content-length"),
        ("many", 422, "header inference-header-content-length"),
    ):
        assert refused(client, body, {**headers, LENGTH: wrong})[0] == status, wrong
        assert said in refused(client, body, {**headers, LENGTH: wrong})[1]
    text = json.dumps(json_request(PHOTO)).encode()
    assert client.post(INFER, content=text, headers={LENGTH: str(len(text))}).status_code == 200
    assert "no binary_data_size, but 3 bytes" in refused(client, text + b"abc", {LENGTH: str(len(text))})[1]
    assert "Invalid JSON" in refused(client, body)[1]


@pytest.mark.parametrize(
    ("bad", "status", "said"),
    [
        (b"no image", 415, "image 1: no signature of JPEG"),
        (PHOTO[:200], 422, "image 1: the image does not decode"),
        (encoded(Image.new("1", (200, 200))), 413, "image 1: image has 40000 px, the limit is 10000"),
        (PHOTO + bytes(200_001 - len(PHOTO)), 413, "image 1: it has 200001 bytes, the limit is 200000"),
    ],
)
def test_one_bad_image_fails_the_request_and_is_named(client: TestClient, bad: bytes, status: int, said: str) -> None:
    for binary in (False, True):
        if binary:
            body, headers = binary_request(PHOTO, bad, PHOTO)
            answer = client.post(INFER, content=body, headers=headers)
        elif len(bad) > 150_000:
            continue  # the limit of the JSON comes before
        else:
            answer = infer(client, PHOTO, bad, PHOTO)
        assert answer.status_code == status
        assert said in error_of(answer)


def test_a_body_that_is_too_large_is_a_413(engine: FixedEngine) -> None:
    with TestClient(app_with(engine, max_bytes=3000, max_batch_bytes=5000)) as client:
        assert refused(client, b"x" * 3001) == (413, "the body has 3001 bytes, the limit is 3000")
        assert refused(client, b"x" * 5001, {LENGTH: "9"}) == (413, "the body has 5001 bytes, the limit is 5000")

        def pieces() -> Iterator[bytes]:
            yield from [b"x" * 1000] * 6

        assert refused(client, pieces()) == (413, "the body has more than 3000 bytes, the limit")
        assert refused(client, pieces(), {LENGTH: "9"}) == (413, "the body has more than 5000 bytes, the limit")
        assert refused(client, b"x" * 4000, {LENGTH: "3001"}) == (413, "the JSON has 3001 bytes, the limit is 3000")
        small = wide(8)
        assert infer(client, *[small] * 9).status_code == 200
        body, headers = binary_request(*[small + bytes(700)] * 5)
        assert len(body) > 3000
        assert client.post(INFER, content=body, headers=headers).status_code == 200


def test_bodies_share_their_memory_and_give_it_back(engine: FixedEngine) -> None:
    app = app_with(engine, max_held_bytes=30_000, max_bytes=20_000)
    with TestClient(app) as client:
        assert infer(client, PHOTO).status_code == 200
        assert app.state.memory.held_bytes == 0
        app.state.memory.held_bytes = 29_990
        answer = infer(client, PHOTO)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "all requests' bodies" in error_of(answer)
        assert app.state.memory.held_bytes == 29_990


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"Content-Encoding": "gzip"}, "Content-Encoding gzip is not taken"),
        ({"Content-Encoding": "deflate"}, "Content-Encoding deflate is not taken"),
        ({"Content-Type": "image/jpeg"}, "Content-Type image/jpeg is not taken; accepted: application/json, app"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, "Content-Type multipart/form-data is not taken"),
    ],
)
def test_a_body_of_another_kind_is_a_415(client: TestClient, headers: dict[str, str], said: str) -> None:
    status, error = refused(client, json.dumps(json_request(PHOTO)), headers)
    assert (status, said in error) == (415, True), error


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", None])
def test_json_is_taken_however_it_is_declared(client: TestClient, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    assert client.post(INFER, content=json.dumps(json_request(PHOTO)), headers=headers).status_code == 200


@pytest.mark.parametrize("end", ["", "/ready", "/infer"])
def test_a_model_that_is_not_served_is_a_404(client: TestClient, end: str) -> None:
    method = "POST" if end == "/infer" else "GET"
    for path, said in (("dice", "no model 'dice'"), ("fruit/versions/4", "no version '4'"), ("d/versions/3", "'d'")):
        answer = client.request(method, f"/v2/models/{path}{end}")
        assert answer.status_code == 404
        assert said in error_of(answer)


@pytest.mark.parametrize("path", ["/v2/none", "/v2/models", "/v2/models/", "/v2/models/fruit/", "/v2/health", "/v2//"])
def test_a_path_that_does_not_exist_is_a_404_in_the_same_shape(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, error_of(answer)) == (404, f"there is no {path}")


@pytest.mark.parametrize("path", ["/v3", "/v2x", "/v2.0/models"])
def test_paths_beside_it_keep_their_problems(client: TestClient, path: str) -> None:
    assert client.get(path).headers["content-type"] == "application/problem+json"


def test_another_method_is_a_405_in_the_same_shape(client: TestClient) -> None:
    for path, allowed in (("/v2", "GET, HEAD"), ("/v2/models/fruit/ready", "GET, HEAD"), (INFER, "POST")):
        for method in ("PUT", "DELETE", "OPTIONS"):
            answer = client.request(method, path)
            assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
            assert error_of(answer) == f"{method} is not for {path}"


def test_before_the_model_is_loaded_nothing_is_ready() -> None:
    client = TestClient(create_app(Settings()))  # not entered: its start has not happened
    assert client.get("/v2/health/live").status_code == 200
    for path in ("/v2/health/ready", "/v2/models/fruit", "/v2/models/fruit/ready"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert error_of(answer) == "no model is loaded"
    assert infer(client, PHOTO).status_code == 503


def test_a_service_that_stops_is_alive_and_takes_nothing() -> None:
    app = app_with(FixedEngine())
    with TestClient(app) as client:
        app.state.lifecycle.stopping = True
        assert client.get("/v2/health/live").status_code == 200
        for answer in (client.get("/v2/health/ready"), infer(client, PHOTO)):
            assert (answer.status_code, answer.headers["connection"]) == (503, "close")
            assert error_of(answer) == "the service is stopping"


def test_an_unforeseen_error_tells_no_internals(caplog: pytest.LogCaptureFixture) -> None:
    with TestClient(app_with(FailingEngine())) as client, caplog.at_level(logging.ERROR):
        answer = infer(client, PHOTO, PHOTO)
    assert answer.status_code == 500
    assert "secret internals" not in error_of(answer)
    assert "secret internals" in caplog.text


def test_all_images_together_have_the_time_of_one_request() -> None:
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


def test_what_waits_beyond_the_queue_is_a_503_with_a_time_to_come_back() -> None:
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
        assert "requests wait already" in error_of(answer)
        assert outputs_of(infer(client, PHOTO, PHOTO, PHOTO))["num_detections"].tolist() == [2, 2, 2]


def test_the_answer_names_the_model_that_gave_it_though_another_took_over() -> None:
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


def test_a_swap_while_the_body_comes_does_not_answer_for_the_version_that_was_asked_for() -> None:
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
    logged = [record.fields for record in caplog.records if record.name == "app.telemetry"]  # type: ignore[attr-defined]
    assert logged[0]["model"] == "fruit@3"
    assert {"queue_ms", "decode_ms", "inference_ms", "encode_ms"} <= logged[0].keys()
    assert logged[1]["outcome"] == "unknown-image-format"


def test_the_documented_errors_are_said(client: TestClient) -> None:
    answers = client.get("/openapi.json").json()["paths"]["/v2/models/{model_name}/infer"]["post"]["responses"]
    examples = {
        slug: example["value"]
        for answer in answers.values()
        for slug, example in answer["content"]["application/json"].get("examples", {}).items()
    }
    assert not [slug for slug, example in examples.items() if "multipart" in str(example) or "query" in str(example)]
    too_high = json.dumps(json_request(PHOTO, parameters={"score_threshold": 1.5}))
    for slug, answer in (
        ("unsupported-media-type", client.post(INFER, content=PHOTO, headers={"Content-Type": "image/jpeg"})),
        ("invalid-parameter", client.post(INFER, content=too_high)),
        ("invalid-inference", client.post(INFER, json={"inputs": [tensor(2, data=["AAAA"] * 3)]})),
        ("empty-upload", infer(client, PHOTO, b"")),
        ("unknown-image-format", infer(client, PHOTO, b"%PDF-1.7")),
    ):
        assert answer.json() == examples[slug]
    assert examples["broken-image"]["error"].startswith("image 1: the image does not decode: ")
    assert examples["image-too-large"]["error"].startswith("image 1: image has ")
    body, headers = binary_request(PHOTO, parameters={"binary_data_output": True})
    assert set(answers["200"]["headers"]) <= {
        name.title() for name in client.post(INFER, content=body, headers=headers).headers
    }
    assert LENGTH in answers["200"]["headers"]


def test_a_pattern_escapes_no_more_of_a_class_name_than_json_schema_may(client: TestClient) -> None:
    names = ("red apple", "half-pear", "größe", r"^$\.*+?()[]{}|/", "a&b~#")
    document = client.get("/openapi.json").json()
    v2.describe(document, replace(CARD, class_names=names))
    pattern = document["components"]["schemas"]["InferenceParameters"]["properties"]["labels"]["pattern"]
    assert set(re.findall(r"\\(.)", pattern)) == set(r"^$\.*+?()[]{}|/s")
    assert all(re.search(pattern, text) for text in (*names, ",".join(names), " half-pear , red apple"))
    assert not any(re.search(pattern, text) for text in ("", "redapple", "half", "x"))


def on_the_wire(body: bytes, headers: dict[str, str], length: int | None = None) -> bytes:
    lines = [f"POST {INFER} HTTP/1.1", "Host: x", "Connection: close", *(f"{one}: {headers[one]}" for one in headers)]
    lines += [f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def test_on_the_wire_a_client_that_goes_away_costs_no_more_inference() -> None:
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


def test_on_the_wire_one_request_does_not_fill_the_queue() -> None:
    engine = FixedEngine()
    with serving(app_with(engine, queue_size=1)) as port, connect(port) as connection:
        connection.sendall(on_the_wire(*binary_request(*[wide(40)] * 20)))
        answer = read_to_end(connection)
    assert answer.startswith(b"HTTP/1.1 200")
    assert len(engine.images) == 20


def test_on_the_wire_a_body_that_trickles_is_a_408() -> None:
    with serving(app_with(FixedEngine(), upload_timeout_s=0.2)) as port, connect(port) as connection:
        connection.sendall(on_the_wire(b'{"inputs"', {}, length=1000))
        head, _, body = read_to_end(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408")
    assert json.loads(body) == {"error": "the body did not arrive within 0.2 s; 9 bytes came"}
