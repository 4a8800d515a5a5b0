import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.errors import InvalidParameter, TooManyPixels
from app.inference.decoding import EncodedImage
from app.inference.pipeline import DetectOptions, Pipeline
from app.inference.scheduler import Scheduler
from app.observability.metrics import ServiceMetrics
from app.schemas import SelectQuery
from model_store.detector import Detector
from rendersight.detections import Detections
from rendersight.drawing import class_colour
from tests.app.fakes import CARD, FOUND, PHOTO, FixedEngine, app_with, encoded
from tests.app.wire import sample

IMAGE = EncodedImage("photo.jpg", [PHOTO])


def run(test: Callable[[Pipeline], Awaitable[None]]) -> ServiceMetrics:
    """Run a test with a pipeline of its own; return the metrics."""
    metrics = ServiceMetrics()

    async def started() -> None:
        scheduler = Scheduler(Detector(CARD, FixedEngine()), queue_size=8)
        await test(Pipeline(scheduler, metrics, max_pixels=10_000, score_threshold=None))
        assert await scheduler.close(lambda: 20)

    asyncio.run(started())
    return metrics


def options(**query: object) -> DetectOptions:
    return DetectOptions(SelectQuery.model_validate(query), timeout_s=20)


def test_returns_and_counts_the_selected_objects() -> None:
    async def test(pipeline: Pipeline) -> None:
        found = await pipeline.detect(IMAGE, options(labels=["pear"]), pipeline.scheduler.detector)
        assert [item["label"] for item in json.loads(found.body)["detections"]] == ["pear"]
        assert list(found.stages_s) == ["queue", "decode", "inference", "encode"]

    metrics = run(test)
    assert sample(metrics, "detect_images_total") == 1
    assert sample(metrics, "detect_objects_total") == 1


def test_uses_the_given_detector_after_a_swap() -> None:
    async def test(pipeline: Pipeline) -> None:
        served = pipeline.scheduler.detector
        pipeline.scheduler.swap(Detector(replace(CARD, version="4"), FixedEngine()))
        found = await pipeline.detect(IMAGE, options(), served)
        assert json.loads(found.body)["model"]["version"] == CARD.version

    run(test)


def test_rejects_unknown_labels_before_and_after_a_swap() -> None:
    async def test(pipeline: Pipeline) -> None:
        pipeline.check(options(labels=["plum"]))
        with pytest.raises(InvalidParameter, match="'fig'"):
            pipeline.check(options(labels=["fig"]))
        fewer = Detector(replace(CARD, class_names=("apple", "pear")), FixedEngine())
        with pytest.raises(InvalidParameter, match="'plum'"):
            await pipeline.detect(IMAGE, options(labels=["plum"]), fewer)

    run(test)


def test_a_refused_image_is_not_counted() -> None:
    async def test(pipeline: Pipeline) -> None:
        large = EncodedImage("large.png", [encoded(Image.new("1", (200, 200)))])
        with pytest.raises(TooManyPixels):
            await pipeline.detect(large, options(), pipeline.scheduler.detector)

    assert sample(run(test), "detect_images_total") == 0


def test_boxes_are_in_px_of_the_whole_photo(engine: FixedEngine) -> None:
    with TestClient(app_with(engine)) as client:
        answer = client.post("/detect", content=encoded(Image.new("RGB", (4001, 3000)), "JPEG")).json()
    assert [image.shape for image in engine.images] == [(1500, 2001, 3)]
    assert answer["image"] == {"width": 4001, "height": 3000}
    expected = FOUND.above(CARD.score_threshold).boxes_xyxy * 2
    assert [item["box"] for item in answer["detections"]] == expected.tolist()


def test_draws_on_the_whole_photo() -> None:
    engine = FixedEngine(Detections.of([[100, 100, 600, 600]], [2], [0.9]))
    with TestClient(app_with(engine)) as client:
        photo = encoded(Image.new("RGB", (4000, 3000), "gray"), "JPEG")
        answer = client.post("/detect?format=jpeg", content=photo)
    assert engine.images[0].shape == (1500, 2000, 3)
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.size == (4000, 3000)
        red, green, blue = picture.getpixel((700, 1198))  # type: ignore[misc]
    assert np.abs(np.array([red, green, blue]) - class_colour(2)).max() < 90  # the lower edge
