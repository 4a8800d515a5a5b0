"""An ONNX model finds what torchvision's network finds."""

import copy
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import openvino as ov
import pytest
from onnx import TensorProto
from torchvision.models.detection import FasterRCNN

from model_store.architectures import ARCHITECTURES, NetworkOptions
from model_store.engines.torch import TorchEngine, fold_batch_norms
from rendersight.detections import Detections
from rendersight.images import RgbImage
from tests.model_store.engines.test_graphs import assert_alike
from training.releasing.onnx_graph import convert

Noise = Callable[..., RgbImage]
Detect = Callable[[RgbImage], Detections]


def converted(network: FasterRCNN, one_label_iou: float | None = None) -> onnx.ModelProto:
    folded = copy.deepcopy(network)
    fold_batch_norms(folded)
    return convert(folded, one_label_iou=one_label_iou)


def on_onnx_runtime(model: onnx.ModelProto) -> Detect:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda image: Detections.of(*session.run(["boxes", "labels", "scores"], {"image": image}))


def on_openvino(model: onnx.ModelProto) -> Detect:
    core = ov.Core()
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", config)
    names = ("boxes", "labels", "scores")

    def detect(image: RgbImage) -> Detections:
        answer = compiled([image])
        return Detections.of(*(answer[name] for name in names))

    return detect


@pytest.fixture(scope="module")
def tiny(tiny_network: Callable[[], FasterRCNN]) -> onnx.ModelProto:
    return converted(tiny_network())


@pytest.fixture(scope="module", params=[on_onnx_runtime, on_openvino])
def detect(request: pytest.FixtureRequest, tiny: onnx.ModelProto) -> Detect:
    run: Detect = request.param(tiny)
    return run


@pytest.fixture(scope="module")
def torch_engine(tiny_network: Callable[[], FasterRCNN]) -> TorchEngine:
    return TorchEngine(tiny_network(), "cpu")


@pytest.mark.parametrize(
    ("height", "width"), [(64, 96), (64, 64), (33, 57), (200, 130), (20, 300), (500, 40), (1, 1), (3, 2), (640, 480)]
)
def test_every_size_gives_what_torch_gives(
    detect: Detect, torch_engine: TorchEngine, noise: Noise, height: int, width: int
) -> None:
    picture = noise(height, width, seed=height)
    (expected,) = torch_engine.detect([picture])
    assert_alike(detect(picture), expected)


def test_an_image_too_narrow_to_resize_has_no_objects(detect: Detect) -> None:
    assert len(detect(np.zeros((1, 2000, 3), np.uint8))) == 0


def test_an_image_without_an_object_gives_empty_arrays(tiny_network: Callable[[], FasterRCNN], noise: Noise) -> None:
    network = tiny_network()
    network.roi_heads.score_thresh = 0.9999999
    network.rpn.score_thresh = 0.9999999  # not even a proposal
    for run in (on_onnx_runtime, on_openvino):
        found = run(converted(network))(noise(40, 60))
        assert found.boxes_xyxy.shape == (0, 4)
        assert found.labels.shape == found.scores.shape == (0,)


def test_an_object_has_one_label(tiny_network: Callable[[], FasterRCNN], noise: Noise) -> None:
    network = tiny_network()
    network.roi_heads.one_label_iou = 0.3
    (expected,) = TorchEngine(network, "cpu").detect([noise(64, 96)])
    network.roi_heads.one_label_iou = None
    (without,) = TorchEngine(network, "cpu").detect([noise(64, 96)])
    assert len(expected) < len(without)
    for run in (on_onnx_runtime, on_openvino):
        assert_alike(run(converted(network, 0.3))(noise(64, 96)), expected)


def test_the_checker_and_shape_inference_accept_it(tiny: onnx.ModelProto) -> None:
    onnx.checker.check_model(tiny, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(tiny, check_type=True, strict_mode=True, data_prop=True)
    shown = {
        item.name: (
            TensorProto.DataType.Name(item.type.tensor_type.elem_type),
            [side.dim_value or side.dim_param for side in item.type.tensor_type.shape.dim],
        )
        for item in (*inferred.graph.input, *inferred.graph.output)
    }
    assert shown == {
        "image": ("UINT8", ["height", "width", 3]),
        "boxes": ("FLOAT", ["n", 4]),
        "labels": ("INT64", ["n"]),
        "scores": ("FLOAT", ["n"]),
    }


def test_no_tensor_is_float64(tiny: onnx.ModelProto) -> None:
    """TensorRT and OpenVINO would compute it in float32."""
    inferred = onnx.shape_inference.infer_shapes(tiny, check_type=True, strict_mode=True)
    types = {item.type.tensor_type.elem_type for item in inferred.graph.value_info}
    types |= {item.data_type for item in tiny.graph.initializer}
    assert types <= {TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL, TensorProto.UINT8}


def test_the_bytes_of_the_image_are_only_cast(tiny: onnx.ModelProto) -> None:
    """TensorRT has no other use for bytes."""
    assert [node.op_type for node in tiny.graph.node if "image" in node.input] == ["Cast"]


@pytest.mark.long
@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_every_architecture_gives_what_torch_gives(
    random_network: Callable[..., FasterRCNN], noise: Noise, name: str
) -> None:
    options: NetworkOptions = ARCHITECTURES[name].options.model_copy(update={"min_size": 160, "max_size": 256})
    network = random_network(name, options)
    (expected,) = TorchEngine(network, "cpu").detect([noise(180, 240)])
    for run in (on_onnx_runtime, on_openvino):
        found = run(converted(network))(noise(180, 240))
        assert_alike(found, expected, max_px=0.1, max_score=1e-3)  # rounding grows in a deep network
