"""What the Open Inference Protocol's endpoints refuse, and in which words."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.app.fakes import PHOTO, FailingEngine, FixedEngine, app_with, encoded
from tests.app.v2_requests import (
    INFER,
    LENGTH,
    binary_request,
    elements,
    error_of,
    infer,
    json_request,
    refused,
    tensor,
    wide,
)


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
        ('{"labels": "apple,fig"}', "labels: no such class: 'fig'; accepted: apple, pear, plum"),
        ('{"labels": ""}', "labels: no such class: ''"),
        ('{"labels": ["apple"]}', "parameters.labels: Input should be class names separated by commas"),
        ('{"treshold": 0.5}', "parameters.treshold: no such parameter; accepted: score_threshold, max_detections"),
        ('{"%s": 0.5}' % ("x" * 10_000), "parameters.xxx"),
        ('{"timeout": 5}', "parameters.timeout: no such parameter"),
        ('{"binary_data_output": 1}', "parameters.binary_data_output: Input should be a valid boolean"),
        ("[]", "parameters: Input should be"),
        ("null", "parameters: Input should be"),
    ],
)  # fmt: skip
def test_rejects_invalid_parameters_by_name(client: TestClient, parameters: str, said: str) -> None:
    body = json.dumps(json_request(PHOTO))[:-1] + f', "parameters": {parameters}}}'
    status, error = refused(client, body)
    assert (status, said in error) == (422, True), error
    assert len(error) < 500


@pytest.mark.parametrize(
    "query", ["score_threshold=0.9", "score_treshold=0.9&x=1", "score_threshold", "%s=1" % ("x" * 999)]
)
def test_rejects_query_parameters(client: TestClient, query: str) -> None:
    for path in (INFER, "/v2/models/fruit/versions/3/infer"):
        answer = client.post(f"{path}?{query}", json=json_request(PHOTO))
        assert answer.status_code == 422
        name = query.partition("=")[0][:100]
        assert error_of(answer).startswith(f"query parameter {name}")
        assert "put parameters into the body's `parameters`" in error_of(answer)
        assert len(error_of(answer)) < 300
    assert client.post(f"{INFER}?", json=json_request(PHOTO)).status_code == 200


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
        ({"inputs": [tensor(1, data=[""])]}, "image 0 is empty"),
        ({"inputs": [tensor(1)]}, "inputs[0]: exactly one of data and parameters.binary_data_size"),
        ({"inputs": [tensor(1, data=["AAAA"], parameters={"binary_data_size": 0})]}, "inputs[0]: exactly one of data"),
        ({"inputs": [tensor(1, parameters={"binary_data_size": -1})]}, "inputs[0].parameters.binary_data_size: "),
        ({"inputs": [tensor(1, parameters={"binary_data_size": 7})]}, "binary_data_size 7, but 0 bytes follow"),
        ({"inputs": [tensor(1, parameters={"shared_memory_region": "r"})]}, "shared_memory_region: no such parameter"),
        ({"inputs": [tensor(1, data=["AAAA"], parameters={"content_type": "str"})]}, "content_type: no such parameter"),
    ],
)  # fmt: skip
def test_names_the_place_of_an_invalid_request(client: TestClient, body: Any, said: str) -> None:
    status, error = refused(client, body if isinstance(body, bytes) else json.dumps(body))
    assert (status, said in error) == (400, True), error
    assert len(error) < 500


@pytest.mark.parametrize(
    ("behind", "size", "count", "said"),
    [
        (b"", 0, 1, "inputs[0].shape: [1], but there are 0 elements"),
        (b"\0\0", 2, 1, "inputs[0]: the data ends within the length of element 0"),
        (b"\xff\xff\xff\xff" + PHOTO, None, 1, f"inputs[0]: element 0 has 4294967295 bytes, {len(PHOTO)} are left"),
        (elements(PHOTO)[:-1], None, 1, f"element 0 has {len(PHOTO)} bytes, {len(PHOTO) - 1} are left"),
        (elements(PHOTO) + b"\0", None, 1, "inputs[0]: the data ends within the length of element 1"),
        (elements(PHOTO, PHOTO), None, 1, "inputs[0].shape: [1], but there are 2 elements"),
        (elements(PHOTO), None, 2, "inputs[0].shape: [2], but there are 1 elements"),
        (elements(*[b""] * 9), None, 3, "inputs[0].shape: [3], but there are 4 elements"),
        (elements(PHOTO, b""), None, 2, "image 1 is empty"),
        (elements(PHOTO), 3, 1, f"binary_data_size 3, but {len(PHOTO) + 4} bytes follow the JSON"),
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


def test_checks_the_json_length_against_the_body(client: TestClient) -> None:
    body, headers = binary_request(PHOTO)
    for wrong, status, said in (
        (str(len(body) + 1), 400, f"header {LENGTH} is {len(body) + 1}, but the body has {len(body)} bytes"),
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
        (PHOTO + bytes(200_001 - len(PHOTO)), 413, "image 1 has 200001 bytes, the limit is 200000"),
    ],
)
def test_names_the_image_that_fails_the_request(client: TestClient, bad: bytes, status: int, said: str) -> None:
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

        assert refused(client, pieces()) == (413, "the body has more bytes than the limit of 3000")
        assert refused(client, pieces(), {LENGTH: "9"}) == (413, "the body has more bytes than the limit of 5000")
        assert refused(client, b"x" * 4000, {LENGTH: "3001"}) == (413, "the JSON has 3001 bytes, the limit is 3000")
        small = wide(8)
        assert infer(client, *[small] * 9).status_code == 200
        body, headers = binary_request(*[small + bytes(700)] * 5)
        assert len(body) > 3000
        assert client.post(INFER, content=body, headers=headers).status_code == 200


def test_bodies_share_one_memory_budget(engine: FixedEngine) -> None:
    app = app_with(engine, max_held_bytes=30_000, max_bytes=20_000)
    with TestClient(app) as client:
        assert infer(client, PHOTO).status_code == 200
        assert app.state.memory.held_bytes == 0
        app.state.memory.held_bytes = 29_990
        answer = infer(client, PHOTO)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "the bodies of all requests" in error_of(answer)
        assert app.state.memory.held_bytes == 29_990


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"Content-Encoding": "gzip"}, "Content-Encoding gzip is not accepted"),
        ({"Content-Encoding": "deflate"}, "Content-Encoding deflate is not accepted"),
        ({"Content-Type": "image/jpeg"}, "Content-Type image/jpeg is not accepted; accepted: application/json, app"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, "Content-Type multipart/form-data is not accepted"),
    ],
)
def test_a_body_of_another_kind_is_a_415(client: TestClient, headers: dict[str, str], said: str) -> None:
    status, error = refused(client, json.dumps(json_request(PHOTO)), headers)
    assert (status, said in error) == (415, True), error


@pytest.mark.parametrize("end", ["", "/ready", "/infer"])
def test_a_model_that_is_not_served_is_a_404(client: TestClient, end: str) -> None:
    method = "POST" if end == "/infer" else "GET"
    for path, said in (("dice", "no model 'dice'"), ("fruit/versions/4", "no version '4'"), ("d/versions/3", "'d'")):
        answer = client.request(method, f"/v2/models/{path}{end}")
        assert answer.status_code == 404
        assert said in error_of(answer)


@pytest.mark.parametrize("path", ["/v2/none", "/v2/models", "/v2/models/", "/v2/models/fruit/", "/v2/health", "/v2//"])
def test_unknown_path_is_a_404_in_the_protocols_shape(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, error_of(answer)) == (404, f"no such path: {path}")


@pytest.mark.parametrize("path", ["/v3", "/v2x", "/v2.0/models"])
def test_paths_beside_it_keep_their_problems(client: TestClient, path: str) -> None:
    assert client.get(path).headers["content-type"] == "application/problem+json"


def test_wrong_method_is_a_405_in_the_protocols_shape(client: TestClient) -> None:
    for path, allowed in (("/v2", "GET, HEAD"), ("/v2/models/fruit/ready", "GET, HEAD"), (INFER, "POST")):
        for method in ("PUT", "DELETE", "OPTIONS"):
            answer = client.request(method, path)
            assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
            assert error_of(answer) == f"{path} does not accept {method}"


def test_unexpected_error_shows_no_internals(caplog: pytest.LogCaptureFixture) -> None:
    with TestClient(app_with(FailingEngine())) as client, caplog.at_level(logging.ERROR):
        answer = infer(client, PHOTO, PHOTO)
    assert answer.status_code == 500
    assert "secret internals" not in error_of(answer)
    assert "secret internals" in caplog.text


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
        said = answer.text.replace(", HEIF", "")  # named where the plugin that reads it is installed
        assert json.loads(said) == examples[slug]
    assert examples["broken-image"]["error"].startswith("image 1: the image does not decode: ")
    assert examples["image-too-large"]["error"].startswith("image 1: image has ")
    body, headers = binary_request(PHOTO, parameters={"binary_data_output": True})
    assert set(answers["200"]["headers"]) <= {
        name.title() for name in client.post(INFER, content=body, headers=headers).headers
    }
    assert LENGTH in answers["200"]["headers"]
