"""The client against the service itself, on a real connection."""

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from app.http.keys import hash_of
from rendersight import AsyncClient, Client
from rendersight.client import DetectResult, InputRefused, KeyRefused, ServiceProblem, ServiceUnreachable
from rendersight.client.calls import AnnotationFormat, PictureFormat
from tests.app.fakes import FOUND, PHOTO, FailingEngine, FixedEngine, app_with
from tests.app.wire import free_port, serving


@pytest.fixture(scope="module")
def engine() -> FixedEngine:
    return FixedEngine()


@pytest.fixture(scope="module")
def client(engine: FixedEngine) -> Iterator[Client]:
    with serving(app_with(engine, max_pixels=10_000)) as port, Client(f"http://127.0.0.1:{port}") as client:
        client.wait_until_ready()
        yield client


def test_detections_arrive_typed(client: Client) -> None:
    found = client.detect(PHOTO)
    assert (found.model.name, found.model.version, found.size_wh, found.score_threshold) == (
        "fruit",
        "3",
        (60, 45),
        0.6,
    )
    assert [(item.label, item.label_id, item.score) for item in found.detections] == [
        ("apple", 1, 0.95),
        ("pear", 2, 0.8),
    ]
    np.testing.assert_array_equal(found.to_detections().boxes_xyxy, FOUND.boxes_xyxy[:2])
    assert len(found.request_id or "") >= 16
    assert 0 < (found.server_timing_s or {})["total"] < 30


def test_what_is_asked_for_is_understood(client: Client) -> None:
    found = client.detect(PHOTO, score_threshold=0.05, labels="pear", max_detections=1)
    assert [(item.label, item.score) for item in found.detections] == [("pear", 0.8)]
    with pytest.raises(InputRefused, match="no such class: 'pare'; accepted: apple, pear, plum") as caught:
        client.detect(PHOTO, labels=["pare"])
    assert [(item.name, item.value) for item in caught.value.errors] == [("labels", "pare")]


def test_pixels_arrive_without_loss(client: Client, engine: FixedEngine, tmp_path: Path) -> None:
    pixels = np.random.default_rng(5).integers(0, 255, (9, 12, 3), np.uint8)
    path = tmp_path / "größer.png"
    Image.fromarray(pixels).save(path)
    for given in (pixels, Image.fromarray(pixels), path, str(path), path.read_bytes()):
        assert client.detect(given).size_wh == (12, 9)
        np.testing.assert_array_equal(engine.images[-1], pixels)


def test_refused_images_are_told_apart(client: Client) -> None:
    found = list(client.detect_many([PHOTO, b"no image", np.zeros((200, 200), np.uint8)], errors="return"))
    assert isinstance(found[0], DetectResult)
    assert [(type(item), item.status) for item in found[1:] if not isinstance(item, DetectResult)] == [
        (InputRefused, 415),
        (InputRefused, 413),
    ]


@pytest.mark.parametrize("picture_format", get_args(PictureFormat))
def test_a_picture_comes_in_every_format(client: Client, picture_format: PictureFormat) -> None:
    with Image.open(io.BytesIO(client.picture(PHOTO, picture_format))) as picture:
        # 60 x 45 px, eight times as large
        assert (picture.format, picture.size) == (picture_format.upper(), (480, 360))


@pytest.mark.parametrize("annotation_format", get_args(AnnotationFormat))
def test_writes_every_annotation_format(client: Client, annotation_format: AnnotationFormat) -> None:
    text = client.annotate(PHOTO, annotation_format, labels="apple")
    assert "apple" in text
    assert text.startswith("label,") == (annotation_format == "csv")


def test_models_and_readiness(client: Client) -> None:
    (model,) = client.models()
    assert (model.name, model.classes, model.default_score_threshold) == ("fruit", ("apple", "pear", "plum"), 0.6)
    assert client.is_ready()


def test_a_key_is_needed_where_there_are_keys(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"alice detect {hash_of('rs_alice')}\n")
    with serving(app_with(FixedEngine(), api_keys_file=keys)) as port:
        url = f"http://127.0.0.1:{port}"
        with Client(url, api_key="rs_alice") as client:
            assert len(client.detect(PHOTO).detections) == 2
        for key in (None, "rs_bob"):
            with Client(url, api_key=key) as client, pytest.raises(KeyRefused, match="401 API key required"):
                client.detect(PHOTO)


def test_a_fault_of_the_service_is_not_tried_again() -> None:
    pauses: list[float] = []
    with (
        serving(app_with(FailingEngine())) as port,
        Client(f"http://127.0.0.1:{port}", sleep=pauses.append) as client,
        pytest.raises(ServiceProblem, match="500 Internal error: the service failed") as caught,
    ):
        client.detect(PHOTO)
    assert type(caught.value) is ServiceProblem
    assert pauses == []


def test_the_async_client_does_the_same(client: Client) -> None:
    async def ask() -> list[object]:
        async with AsyncClient(str(client._url)) as asking:
            await asking.wait_until_ready()
            many = [found async for found in asking.detect_many([PHOTO] * 20, concurrency=5)]
            return [*many, await asking.detect(PHOTO), await asking.models()]

    *many, one, models = asyncio.run(ask())
    assert all(isinstance(found, DetectResult) and len(found.detections) == 2 for found in (*many, one))
    assert models == client.models()


def test_a_service_that_is_not_there() -> None:
    with Client(f"http://127.0.0.1:{free_port()}", retries=0) as client, pytest.raises(ServiceUnreachable):
        client.detect(PHOTO)
