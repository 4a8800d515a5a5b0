"""OpenVINO's graphs find what torchvision's network finds."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from torchvision.models.detection import FasterRCNN

from model_store.architectures import ARCHITECTURES
from model_store.engines.graphs import convert
from model_store.engines.openvino import OpenVinoEngine, graphs_in
from model_store.engines.torch import TorchEngine
from model_store.manifest import InputRule
from model_store.network import input_rule
from rendersight.detections import Detections
from rendersight.images import RgbImage

Noise = Callable[..., RgbImage]

RULE = InputRule(min_size=64, max_size=128, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def assert_alike(found: Detections, expected: Detections, *, max_px: float = 0.01, max_score: float = 1e-4) -> None:
    """Compare them box by box: those of almost equal scores may come in another order."""
    assert len(expected) > 0
    np.testing.assert_allclose(found.scores, expected.scores, atol=max_score)
    distance = np.abs(found.boxes_xyxy[:, None] - expected.boxes_xyxy).max(axis=2)
    distance[found.labels[:, None] != expected.labels] = np.inf
    distance[np.abs(found.scores[:, None] - expected.scores) > max_score] = np.inf
    nearest = distance.argmin(axis=1)
    assert sorted(nearest) == list(range(len(expected)))
    assert distance.min(axis=1).max() <= max_px


@pytest.fixture(scope="module")
def engine(tiny_graphs: Path, tiny_cache: Path) -> OpenVinoEngine:
    return OpenVinoEngine(graphs_in(tiny_graphs), "openvino-fp32", rule=RULE, cores=1, cache_dir=tiny_cache)


@pytest.fixture(scope="module")
def torch_engine(tiny_network: Callable[[], FasterRCNN]) -> TorchEngine:
    return TorchEngine(tiny_network(), "cpu")


@pytest.mark.parametrize(("height", "width"), [(64, 96), (64, 64), (33, 57), (200, 130), (20, 300), (500, 40)])
def test_every_size_gives_what_torch_gives(
    engine: OpenVinoEngine, torch_engine: TorchEngine, noise: Noise, height: int, width: int
) -> None:
    picture = noise(height, width, seed=height)
    (found,) = engine.detect([picture])
    (expected,) = torch_engine.detect([picture])
    assert_alike(found, expected)


def test_image_too_narrow_to_resize_has_no_objects(engine: OpenVinoEngine) -> None:
    (found,) = engine.detect([np.zeros((1, 2000, 3), np.uint8)])
    assert len(found) == 0


def test_more_callers_than_streams_wait_and_find_the_same(
    tiny_graphs: Path, engine: OpenVinoEngine, noise: Noise
) -> None:
    pictures = [noise(64, 60 + seed, seed) for seed in range(12)]
    alone = engine.detect(pictures)
    two_streams = OpenVinoEngine(graphs_in(tiny_graphs), "openvino-fp32", rule=RULE, cores=2, streams=2)
    for streams, parallel in enumerate((engine, two_streams), start=1):
        assert parallel.parallel == streams
        with ThreadPoolExecutor(6) as callers:
            found = [one for (one,) in callers.map(lambda picture: parallel.detect([picture]), pictures)]  # noqa: B023
        for one, expected in zip(found, alone, strict=True):
            assert_alike(one, expected)


def test_a_large_image_is_resized_in_whole_levels(
    engine: OpenVinoEngine, torch_engine: TorchEngine, noise: Noise
) -> None:
    """Which rounds by half a level of 255 at most, and spares the memory of a large image in float32."""
    picture = noise(64, 96).repeat(8, axis=0).repeat(8, axis=1)
    (found,) = engine.detect([picture])
    (expected,) = torch_engine.detect([picture])
    assert_alike(found.above(0.5), expected.above(0.5), max_px=4, max_score=0.05)


@pytest.mark.long
@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_every_architecture_gives_what_torch_gives(
    random_network: Callable[..., FasterRCNN], noise: Noise, name: str
) -> None:
    options = ARCHITECTURES[name].options.model_copy(update={"min_size": 160, "max_size": 256})
    network = random_network(name, options)
    picture = noise(180, 240)
    (found,) = OpenVinoEngine(convert(network), "openvino-fp32", rule=input_rule(options)).detect([picture])
    (expected,) = TorchEngine(network, "cpu").detect([picture])
    assert_alike(found, expected, max_px=0.1, max_score=1e-3)  # rounding grows in a deep network
