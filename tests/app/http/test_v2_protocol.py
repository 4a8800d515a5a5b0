"""Bytes to images, and what was found in them to tensors."""

import base64
import json
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import errors
from app.http.v2_protocol import LENGTH_HEADER, OUTPUTS, ParsedRequest, inference_response, read_request
from app.http.v2_schemas import InferenceRequest
from tests.app.fakes import CARD
from tests.app.v2_requests import binary_request, elements, json_request, outputs_of, tensor

MAX_IMAGES, MAX_BYTES = 8, 2000


def read(body: bytes, json_bytes: int | None = None) -> ParsedRequest:
    return read_request(body, json_bytes, max_images=MAX_IMAGES, max_bytes=MAX_BYTES)


def asked(**members: Any) -> InferenceRequest:
    return read(json.dumps(json_request(b"image", **members)).encode()).request


images = st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=MAX_IMAGES)


@given(images)
def test_images_arrive_unchanged_as_json_and_binary(made: list[bytes]) -> None:
    body, headers = binary_request(*made)
    behind = read(body, int(headers[LENGTH_HEADER]))
    within = read(json.dumps(json_request(*made)).encode())
    assert [image.data for image in behind.images] == [image.data for image in within.images] == made
    assert behind.request.inputs[0].shape == [len(made)]


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_both_alphabets_of_base64_are_read(encode: Any) -> None:
    data = bytes(range(256))
    assert b"+" in encode(data) or b"-" in encode(data)
    text = json.dumps({"inputs": [tensor(1, data=[encode(data).decode()])]})
    assert read(text.encode()).images[0].data == data
    assert read(text.replace("/", "\\/").encode()).images[0].data == data


def test_accepts_whole_numbers_with_a_point() -> None:
    behind = elements(b"image")
    inputs = {"inputs": [tensor(1, parameters={"binary_data_size": float(len(behind))})]}
    inputs["inputs"][0]["shape"] = [1.0]
    text = json.dumps({**inputs, "parameters": {"max_detections": 3.0}}).encode()
    assert read(text + behind, len(text)).request.parameters.max_detections == 3


def outcome(body: bytes, json_bytes: int | None = None) -> int:
    """Return the status that reading ends with; whatever is read has images."""
    try:
        found = read(body, json_bytes)
    except errors.ServiceError as error:
        return error.status if len(error.detail) < 3000 else -1
    return 200 if found.images and all(image.data for image in found.images) else -1


@given(
    made=images,
    at=st.integers(0, 400),
    put=st.binary(max_size=12),
    cut=st.integers(0, 12),
    json_bytes=st.none() | st.integers(0, 500),
)
@settings(max_examples=300)
def test_damaged_body_is_read_or_refused(
    made: list[bytes], at: int, put: bytes, cut: int, json_bytes: int | None
) -> None:
    behind, headers = binary_request(*made)
    for body, told in ((behind, int(headers[LENGTH_HEADER])), (json.dumps(json_request(*made)).encode(), None)):
        damaged = body[:at] + put + body[at + cut :]
        assert {outcome(damaged, told), outcome(damaged, json_bytes)} <= {200, 400, 413, 422}


members = st.sampled_from(["name", "shape", "datatype", "data", "parameters", "inputs", "outputs", "id"])
values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(members, inner),
)


@given(values)
def test_any_json_is_read_or_refused(value: Any) -> None:
    for document in (value, {"inputs": value}, {"inputs": [value]}, json_request(b"image", parameters=value)):
        assert outcome(json.dumps(document).encode()) in (200, 400, 413, 422)


def test_rejects_long_json_before_parsing() -> None:
    with pytest.raises(errors.UploadTooLarge, match="the JSON has 2001 bytes, the limit is 2000"):
        read(b" " * 2001)
    few = {**json_request(b"image"), "of no meaning": [{}] * 100}
    assert len(read(json.dumps(few, separators=(",", ":")).encode()).images) == 1
    with pytest.raises(errors.InvalidInference, match="the JSON has 20001 values, the limit is 10000"):
        read_request(b"[" + b"{}," * 10_000, None, max_images=1, max_bytes=10**6)


def test_the_errors_are_no_longer_than_twenty() -> None:
    with pytest.raises(errors.InvalidParameter) as told:
        asked(parameters={f"p{at}": at for at in range(60)})
    assert told.value.detail.count("no such parameter") == errors.MAX_FAULTS


@pytest.mark.parametrize(
    "value", ['"%s"' % ("x\\n" * 999), "9" * 4300, "-" + "9" * 4300, "null", "-1e400", '"\\u0000"']
)
def test_shows_short_values(value: str) -> None:
    for spaces in (0, 2**16):
        text = f'{{"inputs": [{{"shape": [0], "datatype": {value}{" " * spaces}}}]}}'.encode()
        with pytest.raises(errors.InvalidInference) as told:
            read_request(text, None, max_images=1, max_bytes=10**6)
        assert told.value.detail.isprintable()
        assert len(told.value.detail) < 400
        said = [fault.partition("but it is ")[2] for fault in told.value.detail.split("; ")]
        assert said[0] == ""  # the name is missing, so there is nothing to tell
        assert [bool(one) for one in said[1:]] == [spaces == 0] * 2, said
        assert said[1] in ("0", "")


def rows(*values: tuple[float, ...]) -> bytes:
    return np.array(values, np.float64).tobytes()


def test_an_answer_worked_out_by_hand() -> None:
    found = [rows((1, 2, 3.5, 4, 2, 0.5)), rows(), rows((0, 0, 1, 1, 1, 0.75), (5, 6, 7, 8, 3, 0.25))]
    response = inference_response(asked(id="i"), found, replace(CARD, name="n", version="v"))
    assert json.loads(response.body) == {
        "model_name": "n",
        "model_version": "v",
        "id": "i",
        "outputs": [
            {
                "name": "boxes",
                "datatype": "FP32",
                "shape": [3, 2, 4],
                "data": [1, 2, 3.5, 4, 0, 0, 0, 0] + [0] * 8 + [0, 0, 1, 1, 5, 6, 7, 8],
            },
            {"name": "labels", "datatype": "INT64", "shape": [3, 2], "data": [2, 0, 0, 0, 1, 3]},
            {"name": "scores", "datatype": "FP32", "shape": [3, 2], "data": [0.5, 0, 0, 0, 0.75, 0.25]},
            {"name": "num_detections", "datatype": "INT32", "shape": [3], "data": [1, 0, 2]},
        ],
    }
    empty = json.loads(inference_response(asked(), [rows(), rows()], CARD).body)["outputs"]
    assert [output["data"] for output in empty] == [[], [], [], [0, 0]]
    behind = inference_response(asked(parameters={"binary_data_output": True}), found, CARD)
    end = int(behind.headers[LENGTH_HEADER])
    labels, scores = struct.pack("<6q", 2, 0, 0, 0, 1, 3), struct.pack("<6f", 0.5, 0, 0, 0, 0.75, 0.25)
    assert bytes(behind.body[end + 96 :]) == labels + scores + struct.pack("<3i", 1, 0, 2)
    assert [output["parameters"] for output in json.loads(behind.body[:end])["outputs"]] == [
        {"binary_data_size": size} for size in (96, 48, 24, 12)
    ]


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=5), st.booleans(), st.permutations([one.name for one in OUTPUTS])
)
def test_outputs_match_the_metadata(counts: list[int], binary: bool, names: list[str]) -> None:
    class Answer:
        """What `outputs_of` reads of a response."""

        def __init__(self, response: Any) -> None:
            self.status_code, self.headers, self.content = response.status_code, response.headers, bytes(response.body)

    made = np.random.default_rng(0).random((max(counts), 6))
    request = asked(outputs=[{"name": name} for name in names], parameters={"binary_data_output": binary})
    found = outputs_of(Answer(inference_response(request, [made[:count].tobytes() for count in counts], CARD)))
    assert list(found) == names
    for described in OUTPUTS:
        shape = found[described.name].shape
        free = [len(counts), max(counts)]
        assert list(shape) == [size if size > 0 else free[at] for at, size in enumerate(described.shape)]
    assert found["num_detections"].tolist() == counts
    for at, count in enumerate(counts):
        np.testing.assert_array_equal(found["boxes"][at, :count], np.float32(made[:count, :4]))
        assert not found["boxes"][at, count:].any()
