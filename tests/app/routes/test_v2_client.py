"""Triton's own client of the Open Inference Protocol against a running service."""

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from app.http.keys import hash_of
from tests.app.fakes import PHOTO, FailingEngine, FixedEngine, app_with
from tests.app.wire import serving

OUTPUTS = ("boxes", "labels", "scores", "num_detections")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(app_with(FixedEngine())) as port:
        yield port


@pytest.fixture
def triton(port: int) -> Iterator[InferenceServerClient]:
    client = InferenceServerClient(f"127.0.0.1:{port}", concurrency=4)
    yield client
    client.close()


def images_of(*images: bytes, binary: bool = True) -> InferInput:
    made = InferInput("images", [len(images)], "BYTES")
    elements = images if binary else [base64.b64encode(one) for one in images]
    made.set_data_from_numpy(np.array(elements, dtype=object), binary_data=binary)
    return made


def test_it_finds_the_server_and_the_model(triton: InferenceServerClient) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("fruit")
    assert triton.is_model_ready("fruit", "3")
    assert not triton.is_model_ready("fruit", "4")
    assert not triton.is_model_ready("nuts")
    assert "binary_tensor_data" in triton.get_server_metadata()["extensions"]
    described = triton.get_model_metadata("fruit", "3")
    assert (described["name"], described["versions"]) == ("fruit", ["3"])
    assert [one["name"] for one in described["outputs"]] == list(OUTPUTS)


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_it_reads_what_detect_answers(
    triton: InferenceServerClient, port: int, binary_in: bool, binary_out: bool
) -> None:
    expected = httpx.post(f"http://127.0.0.1:{port}/detect?score_threshold=0.1", content=PHOTO).json()["detections"]
    answer = triton.infer(
        "fruit",
        [images_of(PHOTO, PHOTO, binary=binary_in)],
        request_id="7",
        outputs=[InferRequestedOutput(name, binary_data=binary_out) for name in OUTPUTS],
        parameters={"score_threshold": 0.1},
    )
    found = {name: answer.as_numpy(name) for name in OUTPUTS}
    assert [str(one.dtype) for one in found.values()] == ["float32", "int64", "float32", "int32"]
    for index in range(2):
        np.testing.assert_array_equal(found["boxes"][index], np.float32([one["box"] for one in expected]))
        np.testing.assert_array_equal(found["scores"][index], np.float32([one["score"] for one in expected]))
        assert found["labels"][index].tolist() == [one["label_id"] for one in expected]
    assert found["num_detections"].tolist() == [4, 4]
    response = answer.get_response()
    assert (response["model_name"], response["model_version"], response["id"]) == ("fruit", "3", "7")


def test_returns_all_outputs_by_default(triton: InferenceServerClient) -> None:
    answer = triton.infer("fruit", [images_of(PHOTO)], model_version="3")
    assert [one["parameters"]["binary_data_size"] for one in answer.get_response()["outputs"]] == [32, 16, 8, 4]
    assert answer.as_numpy("scores").tolist() == np.float32([[0.95, 0.8]]).tolist()
    assert "id" not in answer.get_response()


def test_it_asks_for_several_at_a_time(triton: InferenceServerClient) -> None:
    asked = [triton.async_infer("fruit", [images_of(*[PHOTO] * count)]) for count in (1, 5, 2, 4)]
    assert [one.get_result().as_numpy("num_detections").tolist() for one in asked] == [
        [2] * count for count in (1, 5, 2, 4)
    ]


@pytest.mark.parametrize(
    ("images", "options", "status", "said"),
    [
        ((PHOTO, b"no image"), {}, "415", "image 1: no signature"),
        ((PHOTO, b""), {}, "400", "image 1 is empty"),
        ((PHOTO,), {"model_version": "4"}, "404", "no version '4'"),
        ((PHOTO,), {"parameters": {"score_threshold": 2}}, "422", "parameters.score_threshold"),
        ((PHOTO,), {"parameters": {"treshold": 0.5}}, "422", "parameters.treshold: no such parameter"),
        ((PHOTO,), {"timeout": 1000}, "422", "parameters.timeout: no such parameter"),
        ((PHOTO,), {"sequence_id": 1}, "422", "parameters.sequence_id: no such parameter"),
        ((PHOTO,), {"request_compression_algorithm": "gzip"}, "415", "Content-Encoding gzip is not accepted"),
        ((PHOTO,), {"request_compression_algorithm": "deflate"}, "415", "Content-Encoding deflate is not accepted"),
    ],
)  # fmt: skip
def test_it_understands_what_is_refused(
    triton: InferenceServerClient, images: tuple[bytes, ...], options: dict[str, Any], status: str, said: str
) -> None:
    with pytest.raises(InferenceServerException) as told:
        triton.infer("fruit", [images_of(*images)], **options)
    assert told.value.status() == status
    assert said in told.value.message()


def test_ignores_a_request_for_compression(triton: InferenceServerClient) -> None:
    answer = triton.infer("fruit", [images_of(PHOTO)], response_compression_algorithm="gzip")
    assert answer.as_numpy("num_detections").tolist() == [2]


def test_it_carries_a_key(tmp_path: Any) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"mine detect {hash_of('rs_mine')}")
    with serving(app_with(FixedEngine(), api_keys_file=keys)) as port:
        client = InferenceServerClient(f"127.0.0.1:{port}")
        assert client.is_model_ready("fruit")
        with pytest.raises(InferenceServerException, match="an API key with the scope detect is required") as told:
            client.infer("fruit", [images_of(PHOTO)])
        assert told.value.status() == "401"
        answer = client.infer("fruit", [images_of(PHOTO)], headers={"Authorization": "Bearer rs_mine"})
        assert answer.as_numpy("num_detections").tolist() == [2]
        client.close()


def test_a_fault_of_the_service_reads_as_one() -> None:
    with serving(app_with(FailingEngine())) as port:
        client = InferenceServerClient(f"127.0.0.1:{port}")
        with pytest.raises(InferenceServerException, match="the service failed") as told:
            client.infer("fruit", [images_of(PHOTO)])
        assert told.value.status() == "500"
        client.close()
