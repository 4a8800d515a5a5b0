import pytest
import torch
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops import roi_align as reference

from model_store.architectures import build
from training.learning.roi_align import GatheringRoIAlign, gathering, roi_align


def boxes(count: int, *, reach: float, seed: int) -> Tensor:
    """Boxes of all sizes, some partly or wholly outside the image, some without area."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * reach * 1.4 - 0.2 * reach
    side = torch.rand(count, 2, generator=generator) ** 2 * reach
    side[: count // 10] = 0
    return torch.cat((corner, corner + side), dim=1)


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scale", [0.25, 1.0])
@pytest.mark.parametrize("shape", [(2, 5, 16, 24), (1, 3, 2, 2), (1, 3, 1, 7)])
def test_one_level_equals_torchvisions(shape: tuple[int, int, int, int], scale: float) -> None:
    torch.manual_seed(0)
    features = torch.randn(shape, dtype=torch.float64)
    rois = boxes(60, reach=shape[3] / scale, seed=1).double()
    image_of = torch.arange(60) % shape[0]
    expected = reference(
        features, torch.cat((image_of[:, None].double(), rois), dim=1), 7, scale, sampling_ratio=2, aligned=False
    )
    close(roi_align(features, rois, image_of, scale=scale, cells=7), expected)


@pytest.mark.parametrize(
    "sizes",
    [
        {"0": (64, 48), "1": (32, 24), "2": (16, 12), "pool": (8, 6)},
        {"0": (8, 6), "1": (8, 6), "pool": (4, 3)},  # as MobileNetV3: two levels of one stride, and no "2"
    ],
)
def test_all_levels_and_their_gradients_equal_torchvisions(sizes: dict[str, tuple[int, int]]) -> None:
    torch.manual_seed(0)
    features = {name: torch.randn(2, 6, *size, requires_grad=True) for name, size in sizes.items()}
    rois = [boxes(50, reach=500, seed=2), boxes(30, reach=120, seed=3)]
    shapes = [(256, 190), (250, 192)]
    names = ["0", "1", "2"]
    theirs = MultiScaleRoIAlign(names, 7, 2)(features, rois, shapes)
    ours = GatheringRoIAlign(names, 7, 2)(features, rois, shapes)
    close(ours, theirs)
    weight = torch.randn_like(ours)
    levels = [features[name] for name in names if name in features]
    for a, b in zip(
        torch.autograd.grad((ours * weight).sum(), levels, materialize_grads=True),
        torch.autograd.grad((theirs * weight).sum(), levels, materialize_grads=True),
        strict=True,
    ):
        close(a, b)


def test_no_proposals_give_no_features() -> None:
    features = {"0": torch.randn(1, 6, 8, 8)}
    pooled = GatheringRoIAlign(["0"], 7, 2)(features, [torch.zeros(0, 4)], [(32, 32)])
    assert pooled.shape == (0, 6, 7, 7)


def test_only_a_pool_of_the_same_sampling_is_replaced() -> None:
    own = build("fasterrcnn_mobilenet_v2_fpn", class_count=1).roi_heads.box_roi_pool
    assert isinstance(gathering(own), GatheringRoIAlign)
    other = MultiScaleRoIAlign(["0"], 7, 0)
    assert gathering(other) is other
