import pytest
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from model_store.architectures import ARCHITECTURES, NetworkOptions, build
from model_store.engines.torch import reduce_precision
from training.learning.folding import fold_frozen_norms


def randomise_norms(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.weight.uniform_(0.5, 1.5)
            module.bias.uniform_(-0.5, 0.5)
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 1.5)


@pytest.mark.parametrize("name", ["fasterrcnn_resnet50_fpn", "fasterrcnn_mobilenet_v2_fpn"])
def test_folding_changes_neither_features_nor_gradients_nor_names(name: str) -> None:
    torch.manual_seed(0)
    backbone = build(name, class_count=2).backbone.double()
    randomise_norms(backbone)
    pixels = torch.rand(1, 3, 32, 64, dtype=torch.float64)
    first = next(backbone.parameters())

    def features_and_gradient() -> tuple[torch.Tensor, torch.Tensor]:
        backbone.zero_grad()
        features = torch.cat([level.flatten() for level in backbone(pixels).values()])
        features.square().mean().backward()
        assert first.grad is not None
        return features.detach().clone(), first.grad.clone()

    names = list(backbone.state_dict())
    before = features_and_gradient()
    norms = sum(isinstance(module, FrozenBatchNorm2d) for module in backbone.modules())
    assert fold_frozen_norms(backbone) == norms > 30
    for old, new in zip(before, features_and_gradient(), strict=True):
        torch.testing.assert_close(new, old, rtol=1e-8, atol=1e-10)
    assert list(backbone.state_dict()) == names


def test_a_batch_norm_that_learns_is_not_folded() -> None:
    options = ARCHITECTURES["fasterrcnn_mobilenet_v2_fpn"].options.model_copy(
        update={"norm": "batch", "norm_eps": None}
    )
    assert fold_frozen_norms(build("fasterrcnn_mobilenet_v2_fpn", class_count=1, options=options)) == 0


def test_bfloat16_hands_float32_to_what_computes_coordinates() -> None:
    torch.manual_seed(0)
    network = build("fasterrcnn_mobilenet_v2_fpn", class_count=2, options=NetworkOptions(min_size=64, max_size=64))
    pixels = torch.rand(1, 3, 64, 64)
    exact = network.backbone(pixels)
    reduce_precision(network, "cpu", torch.bfloat16)
    features = network.backbone(pixels)
    assert {level.dtype for level in features.values()} == {torch.float32}
    assert not torch.equal(features["0"], exact["0"])
    torch.testing.assert_close(features["0"], exact["0"], rtol=0.1, atol=0.05)
    objectness, deltas = network.rpn.head(list(features.values()))
    assert {tensor.dtype for tensor in (*objectness, *deltas)} == {torch.float32}
    losses = network(
        [torch.rand(3, 64, 64)],
        [{"boxes": torch.tensor([[4.0, 4.0, 40.0, 40.0]]), "labels": torch.tensor([1])}],
    )
    sum(losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
