"""The size of a network's input, computed in float32, is the one that torchvision computes in float64."""

import numpy as np
import onnx
import onnxruntime
import openvino as ov
import pytest
from onnx import TensorProto, helper

from model_store.manifest import InputRule
from training.releasing.onnx_nodes import Nodes
from training.releasing.onnx_sizes import resized

LIMITS = [(800, 1333), (640, 1066), (320, 640), (64, 128)]


def model(min_size: int, max_size: int) -> onnx.ModelProto:
    nodes = Nodes()
    out = resized(nodes, "size_hw", min_size=min_size, max_size=max_size)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("size_hw", out)]
    graph = helper.make_graph(nodes.nodes, "sizes", values[:1], values[1:], nodes.constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def sizes() -> list[tuple[int, int]]:
    """Random sizes, sizes with a common factor, for which float64 may round down, and the longest ones."""
    rng = np.random.default_rng(0)
    common = rng.integers(1, 60, (1000, 2)) * rng.integers(1, 120, (1000, 1))
    found = [*rng.integers(1, 4100, (2000, 2)), *common, *rng.integers(1, 16384, (500, 2))]
    return [(1, 1), (1, 4000), (16384, 1), (16384, 16384), *((int(h), int(w)) for h, w in found)]


def rule(min_size: int, max_size: int) -> InputRule:
    return InputRule(min_size=min_size, max_size=max_size, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))


@pytest.mark.parametrize(("min_size", "max_size"), LIMITS)
def test_onnx_runtime_computes_the_sizes_of_torchvision(min_size: int, max_size: int) -> None:
    session = onnxruntime.InferenceSession(
        model(min_size, max_size).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    expected = rule(min_size, max_size)
    wrong = {
        (size, tuple(found.astype(int)))
        for size in sizes()
        if tuple(found := session.run(None, {"size_hw": np.array(size, np.float32)})[0]) != expected.resized_hw(*size)
    }
    assert wrong == set()


@pytest.mark.parametrize(("min_size", "max_size"), LIMITS)
def test_openvino_computes_the_sizes_of_torchvision(min_size: int, max_size: int) -> None:
    """Its CPU plugin divides by multiplying with a reciprocal, and has neither float64 nor int64."""
    core = ov.Core()
    graph = core.read_model(model(min_size, max_size).SerializeToString())
    compiled = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})
    expected = rule(min_size, max_size)
    wrong = {
        (size, tuple(found.astype(int)))
        for size in sizes()[::3]
        if tuple(found := compiled([np.array(size, np.float32)])[0]) != expected.resized_hw(*size)
    }
    assert wrong == set()


def test_no_tensor_has_more_numbers_than_tensorrt_takes_for_shapes() -> None:
    inferred = onnx.shape_inference.infer_shapes(model(800, 1333), strict_mode=True)
    constants = {item.name: int(np.prod(item.dims)) for item in inferred.graph.initializer}
    others = {
        item.name: int(np.prod([side.dim_value or 2 for side in item.type.tensor_type.shape.dim]))
        for item in inferred.graph.value_info
    }
    assert max({**constants, **others}.values()) <= 64
