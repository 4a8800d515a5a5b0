import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from benchmarks.cuda.waiting import BatchingEngine
from rendersight.detections import Detections
from rendersight.images import RgbImage


class HeldEngine:
    """Finds one box per image, as wide as the image, but only after its release."""

    name, device, parallel = "torch-fp32", "cpu", 1

    def __init__(self) -> None:
        self.started, self.release = threading.Event(), threading.Event()

    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        self.started.set()
        assert self.release.wait(60)
        if any(image.shape[1] == 13 for image in images):
            raise MemoryError("too much for the device")
        return [Detections.of([[0, 0, image.shape[1], 1]], [1], [0.9]) for image in images]

    def detect_on_every_lane(self, image: RgbImage) -> list[Detections]:
        return self.detect([image])


@pytest.fixture
def held() -> HeldEngine:
    return HeldEngine()


@pytest.fixture
def batching(held: HeldEngine) -> Iterator[BatchingEngine]:
    engine = BatchingEngine(held, 3)
    yield engine
    held.release.set()
    engine.close()


def ask(batching: BatchingEngine, held: HeldEngine, widths: Sequence[int]) -> list[Future[list[Detections]]]:
    """Detect each image on its own thread: first one image, and the others while it is computed."""
    with ThreadPoolExecutor(len(widths)) as threads:
        asked = []
        for width in widths:
            asked.append(threads.submit(batching.detect, [np.zeros((1, width, 3), np.uint8)]))
            assert held.started.wait(60)
        while batching.waiting < len(widths) - 1:
            threading.Event().wait(0.001)
        held.release.set()
    return asked


def test_computes_waiting_images_in_batches(batching: BatchingEngine, held: HeldEngine) -> None:
    asked = ask(batching, held, range(1, 7))
    assert [future.result()[0].boxes_xyxy[0, 2] for future in asked] == [1, 2, 3, 4, 5, 6]
    assert batching.sizes == [1, 3, 2]


def test_failed_batch_fails_only_its_images(batching: BatchingEngine, held: HeldEngine) -> None:
    asked = ask(batching, held, [1, 13, 13, 13, 5])
    assert [type(future.exception()) for future in asked] == [
        type(None),
        MemoryError,
        MemoryError,
        MemoryError,
        type(None),
    ]


def test_parallel_is_twice_the_batch(batching: BatchingEngine) -> None:
    assert batching.parallel == 6
