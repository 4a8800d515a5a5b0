"""The parameter `tiles` of the endpoints that detect."""

import io
import json
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image, ImageDraw

from rendersight.detections import Detections
from rendersight.images import RgbImage
from rendersight.tiles import ACCEPTED
from tests.app.fakes import PHOTO, FixedEngine, app_with, encoded
from tests.app.v2_requests import infer, outputs_of
from tests.app.v2_requests import refused as refused_by_v2
from tests.app.wire import sample

SIZE = (2000, 1700)
SQUARES = ((300, 200), (980, 840), (1500, 1500), (1940, 1000))
"""Left upper corners of squares of 40 px. The second one lies where 2 x 2 tiles overlap."""

BOXES = [[x, y, x + 40, y + 40] for x, y in SQUARES]


class SquareEngine(FixedEngine):
    """Finds bright squares on black in whatever it is shown; a smaller part has a lower score."""

    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        super().detect(images)
        return [self._squares(image) for image in images]

    def _squares(self, image: RgbImage) -> Detections:
        count, _, stats, _ = cv2.connectedComponentsWithStats((image[..., 0] > 128).astype(np.uint8))
        found = stats[1:count].tolist()
        boxes = [[x, y, x + w, y + h] for x, y, w, h, _ in found]
        return Detections.of(boxes, [1] * len(boxes), [0.6 + min(area, 1600) / 4000 for *_, area in found]).by_score()


def photo(image_format: str = "JPEG", **options: Any) -> bytes:
    image = Image.new("RGB", SIZE)
    for x, y in SQUARES:
        ImageDraw.Draw(image).rectangle((x, y, x + 39, y + 39), fill="white")
    return encoded(image, image_format, **options)


@pytest.fixture
def engine() -> SquareEngine:
    return SquareEngine()


def boxes_of(answer: Any) -> list[list[float]]:
    return sorted(item["box"] for item in answer["detections"])


def test_finds_each_object_once_in_px_of_the_photo(engine: SquareEngine) -> None:
    with TestClient(app_with(engine)) as client:
        answer = client.post("/detect?tiles=4", content=photo()).json()
    assert answer["tiles"] == 4
    assert answer["image"] == {"width": 2000, "height": 1700}
    np.testing.assert_allclose(boxes_of(answer), sorted(BOXES), atol=1)
    # the JPEG is not decoded at a reduced size
    assert sorted(image.shape[:2] for image in engine.images)[-1] == (1700, 2000)
    assert len(engine.images) == 5


def test_decodes_at_a_reduced_size_without_tiles(engine: SquareEngine) -> None:
    with TestClient(app_with(engine)) as client:
        for query in ("", "?tiles=off", "?tiles=1"):
            answer = client.post(f"/detect{query}", content=photo()).json()
            assert answer["tiles"] == 0
    assert [image.shape[:2] for image in engine.images] == [(850, 1000)] * 3


def test_turned_photos_are_tiled_upright(engine: SquareEngine) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with TestClient(app_with(engine)) as client:
        answer = client.post("/detect?tiles=3", content=photo(exif=exif)).json()
    assert answer["image"] == {"width": 1700, "height": 2000}
    assert answer["tiles"] == len(engine.images) - 1 > 0
    turned = sorted([1700 - y1, x0, 1700 - y0, x1] for x0, y0, x1, y1 in BOXES)
    np.testing.assert_allclose(boxes_of(answer), turned, atol=1)


def test_auto_tiles_only_large_photos_and_may_be_the_default(engine: SquareEngine) -> None:
    with TestClient(app_with(engine, tiles="auto")) as client:
        assert client.post("/detect", content=PHOTO).json()["tiles"] == 0
        assert client.post("/detect", content=photo()).json()["tiles"] > 0
        assert client.post("/detect?tiles=off", content=photo()).json()["tiles"] == 0


def test_the_limits_of_the_answer_apply_after_the_merge(engine: SquareEngine) -> None:
    with TestClient(app_with(engine)) as client:
        answer = client.post("/detect?tiles=4&max_detections=3&score_threshold=0.99", content=photo()).json()
        assert len(answer["detections"]) == 3
        assert client.post("/detect?tiles=4&labels=pear", content=photo()).json()["detections"] == []


def test_draws_and_writes_files_of_photos_in_tiles(engine: SquareEngine) -> None:
    with TestClient(app_with(engine)) as client:
        picture = client.post("/detect?tiles=4&format=jpeg", content=photo())
        with Image.open(io.BytesIO(picture.content)) as image:
            assert image.size == SIZE
        assert len(client.post("/detect?tiles=4&format=labelme", content=photo()).json()["shapes"]) == len(BOXES)


@pytest.mark.parametrize("path", ["/detect", "/detect/batch"])
@pytest.mark.parametrize("value", ["0", "-1", "1000", "abc", "", "4.5"])
def test_names_the_accepted_values(client: TestClient, path: str, value: str) -> None:
    answer = client.post(path, params={"tiles": value}, files={"image": PHOTO})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["detail"] == f"query parameter tiles: Input should be {ACCEPTED}"
    assert [item["name"] for item in problem["errors"]] == ["tiles"]
    assert problem["errors"][0]["value"] == value


@pytest.mark.parametrize("query", ["tiles=4&tiles=4", "tile=4"])
def test_rejects_a_repeated_or_misspelt_parameter(client: TestClient, query: str) -> None:
    assert client.post(f"/detect?{query}", content=PHOTO).status_code == 422


def test_a_broken_photo_keeps_its_own_problem(client: TestClient) -> None:
    for data, status in ((b"no image", 415), (PHOTO[:300], 422), (encoded(Image.new("1", (200, 200))), 413)):
        answer = client.post("/detect?tiles=auto", content=data)
        assert (answer.status_code, answer.json()) == (status, client.post("/detect", content=data).json() | {
            "request_id": answer.json()["request_id"]
        })  # fmt: skip


def test_a_batch_of_photos_in_tiles_does_not_fill_the_queue(engine: SquareEngine) -> None:
    files = [("image", (f"{number}.jpg", photo())) for number in range(4)]
    files.insert(1, ("image", ("none.jpg", b"no image")))
    with TestClient(app_with(engine, queue_size=4)) as client:
        answer = client.post("/detect/batch?tiles=4", files=files)
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["result"]["tiles"] if "result" in line else line["problem"]["status"] for line in lines] == [
        4, 415, 4, 4, 4,
    ]  # fmt: skip
    assert len({json.dumps(line["result"]) for line in lines if "result" in line}) == 1


def test_the_inference_protocol_takes_tiles_too(engine: SquareEngine) -> None:
    with TestClient(app_with(engine)) as client:
        outputs = outputs_of(infer(client, photo(), PHOTO, parameters={"tiles": 4}))
        assert outputs["num_detections"].tolist()[0] == len(BOXES)
        status, said = refused_by_v2(client, parameters={"tiles": 0})
    assert status == 422
    assert f"Input should be {ACCEPTED}" in said


def test_counts_and_logs_tiles(engine: SquareEngine, caplog: pytest.LogCaptureFixture) -> None:
    app = app_with(engine)
    with TestClient(app) as client, caplog.at_level("INFO"):
        client.post("/detect?tiles=4", content=photo())
        client.post("/detect", content=photo())
    metrics = app.state.metrics
    assert sample(metrics, "detect_images_total") == 2
    assert sample(metrics, "detect_batches_total") == 6
    assert sample(metrics, "detect_tiles_total") == 4
    fields = [record.__dict__["fields"] for record in caplog.records if record.message == "request"]
    assert [item.get("tiles") for item in fields] == [4, None]
