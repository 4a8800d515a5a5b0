from collections.abc import Callable
from typing import Any

import numpy as np
import openvino as ov
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from openvino import opset13 as op
from torchvision.ops import roi_align

from model_store.engines.graph_pooling import pool_any, pool_windows

CHANNELS, STRIDE, HEIGHT, WIDTH = 3, 8, 20, 24


def compiled(pool: Callable[..., Any]) -> Callable[..., np.ndarray]:
    item = op.parameter([1, -1, -1, CHANNELS], ov.Type.f32)
    rois = op.parameter([-1, 4], ov.Type.f32)
    graph = ov.Model([pool(item, rois, stride=STRIDE)], [item, rois])
    runs = ov.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda maps, boxes: runs([maps, boxes])[0].copy()


@pytest.fixture(scope="module")
def pooling() -> Callable[..., np.ndarray]:
    return compiled(pool_windows)


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
    assert_pooled(pooling, HEIGHT, WIDTH, rois)


@pytest.mark.parametrize("count", [0, 1, 200])
def test_long_rois_are_pooled_as_well_however_many(count: int) -> None:
    """Few of them by windows, many by OpenVINO's operator."""
    start = np.random.default_rng(1).uniform(0, 100, (count, 2))
    size = np.random.default_rng(2).uniform(100, 400, (count, 2))
    rois = np.concatenate([start, start + size], axis=1).astype(np.float32)
    assert_pooled(compiled(pool_any), 64, 64, rois)


def assert_pooled(pooling: Callable[..., np.ndarray], height: int, width: int, rois: np.ndarray) -> None:
    maps = np.random.default_rng(0).standard_normal((1, height, width, CHANNELS)).astype(np.float32)
    expected = roi_align(torch.from_numpy(maps).permute(0, 3, 1, 2), [torch.from_numpy(rois)], 7, 1 / STRIDE, 2)
    np.testing.assert_allclose(pooling(maps, rois), expected.permute(0, 2, 3, 1).numpy(), atol=2e-5)
