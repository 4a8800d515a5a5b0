"""The eager torch engine on upright arrays of any size."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models.detection import FasterRCNN

from model_store.engines import DeviceLost
from model_store.engines.torch import TorchEngine
from rendersight.detections import Detections
from rendersight.images import RgbImage

Noise = Callable[..., RgbImage]


@pytest.fixture(scope="module")
def engine(tiny_network: Callable[[], FasterRCNN]) -> TorchEngine:
    return TorchEngine(tiny_network(), "cpu")


def assert_same(a: Detections, b: Detections) -> None:
    np.testing.assert_array_equal(a.boxes_xyxy, b.boxes_xyxy)
    np.testing.assert_array_equal(a.labels, b.labels)
    np.testing.assert_array_equal(a.scores, b.scores)


def test_it_says_what_it_is(engine: TorchEngine) -> None:
    assert (engine.name, engine.device) == ("torch-fp32", "cpu")


def test_alone_or_among_images_of_other_sizes_the_answer_is_the_same(engine: TorchEngine, noise: Noise) -> None:
    sizes = [(64, 96), (30, 200), (200, 33), (128, 128), (7, 9)]
    pictures = [noise(height, width, seed=i) for i, (height, width) in enumerate(sizes)]
    together = engine.detect(pictures)
    assert len(together) == len(pictures)
    assert sum(len(found) for found in together) > 20
    for picture, found in zip(pictures, together, strict=True):
        (alone,) = engine.detect([picture])
        assert_same(alone, found)


def test_the_answer_is_the_network_s_own(
    engine: TorchEngine, tiny_network: Callable[[], FasterRCNN], noise: Noise
) -> None:
    picture = noise(50, 90)
    scaled = np.moveaxis(picture, 2, 0).astype(np.float32) / 255
    with torch.inference_mode():
        (expected,) = tiny_network()([torch.from_numpy(scaled)])
    (found,) = engine.detect([picture])
    assert len(found) == len(expected["scores"]) > 0
    np.testing.assert_allclose(found.boxes_xyxy, expected["boxes"].numpy(), atol=1e-3)
    np.testing.assert_allclose(found.scores, expected["scores"].numpy(), atol=1e-5)
    np.testing.assert_array_equal(found.labels, expected["labels"].numpy())


@pytest.mark.parametrize("size_hw", [(1, 1), (2, 3), (33, 65), (64, 96), (48, 61), (265, 97), (286, 500), (1000, 1500)])
def test_boxes_lie_inside_the_image_best_first(engine: TorchEngine, noise: Noise, size_hw: tuple[int, int]) -> None:
    height, width = size_hw
    (found,) = engine.detect([noise(height, width)])
    assert len(found) > 0
    assert found.boxes_xyxy.min() >= 0
    assert (found.boxes_xyxy[:, 2] <= width).all()
    assert (found.boxes_xyxy[:, 3] <= height).all()
    assert (np.diff(found.scores) <= 0).all()
    assert set(found.labels.tolist()) <= {1, 2, 3}


@pytest.mark.parametrize("size_hw", [(1, 5000), (5000, 1), (3, 4000), (128, 1), (1, 129), (2, 255), (2, 257)])
def test_an_image_too_narrow_for_the_network_is_answered(
    engine: TorchEngine, noise: Noise, size_hw: tuple[int, int]
) -> None:
    height, width = size_hw
    (found,) = engine.detect([noise(height, width)])
    assert found.boxes_xyxy.shape[1] == 4
    assert (found.boxes_xyxy <= (width, height, width, height)).all()
    # 128 px is the longest side: beyond 128 times the shorter one, less than a pixel would be left of that
    if max(size_hw) > 128 * min(size_hw):
        assert len(found) == 0


def test_no_images_no_answers(engine: TorchEngine) -> None:
    assert engine.detect([]) == []


def test_nothing_found_is_an_empty_array_of_boxes(tiny_network: Callable[[], FasterRCNN], noise: Noise) -> None:
    network = tiny_network()
    with torch.no_grad():
        network.roi_heads.box_predictor.cls_score.bias[0] = 1e4  # all is background
    (found,) = TorchEngine(network, "cpu").detect([noise(64, 96)])
    assert (found.boxes_xyxy.shape, found.labels.shape, found.scores.shape) == ((0, 4), (0,), (0,))


def test_a_read_only_or_mirrored_view_is_as_good_as_a_copy(engine: TorchEngine, noise: Noise) -> None:
    picture = noise(64, 96)
    mirrored = picture[:, ::-1]
    frozen = picture.copy()
    frozen.setflags(write=False)
    from_view, from_copy, from_frozen, plain = engine.detect([mirrored, mirrored.copy(), frozen, picture])
    assert_same(from_view, from_copy)
    assert_same(from_frozen, plain)


def test_the_image_is_not_changed(engine: TorchEngine, noise: Noise) -> None:
    picture = noise(64, 96)
    engine.detect([picture])
    np.testing.assert_array_equal(picture, noise(64, 96))


def test_it_infers_with_a_copy_and_leaves_the_network_as_it_was(
    tiny_network: Callable[[], FasterRCNN], engine: TorchEngine, noise: Noise
) -> None:
    network = tiny_network().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    (found,) = TorchEngine(network, "cpu").detect([noise(64, 96)])
    assert_same(found, engine.detect([noise(64, 96)])[0])
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_a_narrow_image_first_spoils_nothing(
    tiny_network: Callable[[], FasterRCNN], engine: TorchEngine, noise: Noise
) -> None:
    """torchvision's pooling would take the pyramid's strides from it, wrongly, and keep them."""
    fresh = TorchEngine(tiny_network(), "cpu")
    fresh.detect([noise(20, 300)])
    assert_same(fresh.detect([noise(64, 96)])[0], engine.detect([noise(64, 96)])[0])


def test_bfloat16_finds_the_same_objects_with_other_scores(
    tiny_network: Callable[[], FasterRCNN], engine: TorchEngine, noise: Noise
) -> None:
    reduced = TorchEngine(tiny_network(), "cpu", "bf16")
    assert reduced.name == "torch-bf16"
    (found,), (exact,) = reduced.detect([noise(64, 96)]), engine.detect([noise(64, 96)])
    assert 0 < np.abs(found.scores[:3] - exact.scores[:3]).max() < 0.1


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any) -> Any:
        raise error

    return fail


def test_too_little_memory_is_a_memory_error(
    tiny_network: Callable[[], FasterRCNN], noise: Noise, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = TorchEngine(tiny_network(), "cpu")
    monkeypatch.setattr(engine, "_detect", raising(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")))
    with pytest.raises(MemoryError, match="CUDA out of memory"):
        engine.detect([noise(8, 8)])


@pytest.mark.parametrize("is_lost", [False, True])
def test_an_error_after_which_the_device_does_not_answer_is_the_end_of_it(
    tiny_network: Callable[[], FasterRCNN], noise: Noise, monkeypatch: pytest.MonkeyPatch, is_lost: bool
) -> None:
    error = RuntimeError("CUDA error: an illegal memory access was encountered\nmore")
    engine = TorchEngine(tiny_network(), "cpu")
    engine.device = "cuda:0"
    monkeypatch.setattr(engine, "_detect", raising(error))
    monkeypatch.setattr(torch.cuda, "synchronize", raising(error) if is_lost else lambda _: None)
    with pytest.raises(RuntimeError) as raised:
        engine.detect([noise(8, 8)])
    assert isinstance(raised.value, DeviceLost) == is_lost
    if is_lost:
        assert str(raised.value) == "cuda:0 is lost: CUDA error: an illegal memory access was encountered"


@pytest.mark.parametrize("name", ["roi_heads.box_predictor.cls_score.bias", "backbone.fpn.layer_blocks.0.0.bias"])
def test_numbers_that_are_not_finite_are_an_error(
    tiny_network: Callable[[], FasterRCNN], noise: Noise, name: str
) -> None:
    network = tiny_network()
    with torch.no_grad():
        network.get_parameter(name).fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="not finite"):
        TorchEngine(network, "cpu").detect([noise(64, 96)])
