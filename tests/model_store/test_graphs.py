"""OpenVINO's graphs find what torchvision's network finds."""

from collections.abc import Callable

import numpy as np
import openvino as ov
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from openvino import opset13 as op
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.ops import roi_align

from model_store.architectures import ARCHITECTURES, build
from model_store.engines.openvino import OpenVinoEngine
from model_store.engines.torch import TorchEngine
from model_store.graphs import convert, pool_windows
from model_store.manifest import InputRule
from model_store.network import input_rule
from rendersight.detections import Detections
from rendersight.images import RgbImage

Noise = Callable[..., RgbImage]


def assert_alike(found: Detections, expected: Detections) -> None:
    assert len(expected) > 0
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    np.testing.assert_allclose(found.boxes_xyxy, expected.boxes_xyxy, atol=0.01)
    np.testing.assert_array_equal(found.labels, expected.labels)


@pytest.fixture(scope="module")
def engine(tiny_network: Callable[[], FasterRCNN]) -> OpenVinoEngine:
    network = tiny_network()
    rule = InputRule(min_size=64, max_size=128, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    return OpenVinoEngine(convert(network), "openvino-fp32", rule=rule)


@pytest.mark.parametrize(("height", "width"), [(64, 96), (64, 64), (33, 57), (200, 130), (20, 300), (500, 40)])
def test_every_size_gives_what_torch_gives(
    engine: OpenVinoEngine, tiny_network: Callable[[], FasterRCNN], noise: Noise, height: int, width: int
) -> None:
    picture = noise(height, width, seed=height)
    (found,) = engine.detect([picture])
    (expected,) = TorchEngine(tiny_network(), "cpu").detect([picture])
    assert_alike(found, expected)


@pytest.mark.long
@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_every_architecture_gives_what_torch_gives(name: str, noise: Noise) -> None:
    torch.manual_seed(3)
    options = ARCHITECTURES[name].options.model_copy(update={"min_size": 160, "max_size": 256})
    network = build(name, class_count=4, options=options).eval()
    with torch.no_grad():
        for module in network.modules():  # deep networks of random weights would overflow
            if isinstance(module, nn.Conv2d):
                module.weight.mul_(0.7)
        network.rpn.head.cls_logits.weight.mul_(30)
        network.roi_heads.box_predictor.cls_score.weight.mul_(30)
    picture = noise(180, 240)
    (found,) = OpenVinoEngine(convert(network), "openvino-fp32", rule=input_rule(options)).detect([picture])
    (expected,) = TorchEngine(network, "cpu").detect([picture])
    assert_alike(found, expected)


CHANNELS, STRIDE, HEIGHT, WIDTH = 3, 8, 20, 24


@pytest.fixture(scope="module")
def pooling() -> Callable[..., np.ndarray]:
    item = op.parameter([1, CHANNELS, -1, -1], ov.Type.f32)
    rois = op.parameter([-1, 4], ov.Type.f32)
    graph = ov.Model([pool_windows(item.output(0), rois.output(0), stride=STRIDE)], [item, rois])
    compiled = ov.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda maps, boxes: compiled([maps, boxes])[0].copy()


@st.composite
def rois_in_the_map(draw: st.DrawFn) -> np.ndarray:
    def side(limit: int) -> tuple[float, float]:
        start = draw(st.floats(0, limit * STRIDE))
        length = draw(st.floats(0, min(14 * STRIDE, limit * STRIDE - start)))
        return start, start + length

    rows = [(side(WIDTH), side(HEIGHT)) for _ in range(draw(st.integers(0, 5)))]
    return np.array([(x0, y0, x1, y1) for (x0, x1), (y0, y1) in rows], np.float32).reshape(-1, 4)


@settings(max_examples=60, deadline=None)
@given(rois_in_the_map())
def test_windows_pool_as_roi_align_does(pooling: Callable[..., np.ndarray], rois: np.ndarray) -> None:
    maps = np.random.default_rng(0).standard_normal((1, CHANNELS, HEIGHT, WIDTH)).astype(np.float32)
    expected = roi_align(torch.from_numpy(maps), [torch.from_numpy(rois)], 7, 1 / STRIDE, 2)
    np.testing.assert_allclose(pooling(maps, rois), expected.numpy(), atol=2e-5)
