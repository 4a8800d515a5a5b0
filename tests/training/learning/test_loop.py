import math

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import LinearLR, StepLR

from model_store.architectures import NetworkOptions, build
from training.data.transforms import Sample
from training.learning.loop import NonFiniteLoss, Schedule, WeightAverage, train_one_epoch
from training.learning.sampling import SeededSampling

OPTIONS = NetworkOptions(min_size=64, max_size=64)


def empty_sample(index: int = 0) -> Sample:
    pixels = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    return Sample(pixels, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), index)


def schedule(**changes: object) -> Schedule:
    values = {
        "kind": "step",
        "peak": 0.005,
        "steps_per_epoch": 10,
        "epochs": 10,
        "warmup_steps": 1000,
        "step_epochs": 3,
        "step_gamma": 0.1,
    }
    return Schedule(**{**values, **changes})  # type: ignore[arg-type]


def test_the_step_schedule_is_that_of_the_reference_loop() -> None:
    """In torchvision's references/detection: LinearLR from 1/1000 over min(1000, steps - 1) in epoch 0, and StepLR."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = SGD([parameter], lr=0.005)
    by_epoch = StepLR(optimizer, step_size=3, gamma=0.1)
    expected = []
    for epoch in range(10):
        warmup = LinearLR(optimizer, start_factor=0.001, total_iters=9) if epoch == 0 else None
        for _ in range(10):
            expected.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if warmup is not None:
                warmup.step()
        by_epoch.step()
    assert [schedule().learning_rate(step) for step in range(100)] == pytest.approx(expected, rel=1e-9)


def test_the_cosine_schedule_rises_to_its_peak_and_falls_to_zero() -> None:
    cosine = schedule(kind="cosine", warmup_steps=4, peak=1.0)
    rates = [cosine.learning_rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.001)
    assert max(rates) == pytest.approx(1.0, abs=0.01)
    assert rates.index(max(rates)) == 4
    assert rates[50] == pytest.approx(0.5)
    assert rates[99] < 0.001
    assert cosine.learning_rate(100) == pytest.approx(0.0, abs=1e-12)


def test_an_epoch_of_a_single_step_has_no_warmup() -> None:
    assert schedule(steps_per_epoch=1).learning_rate(0) == 0.005


def test_empty_images_train_without_nan() -> None:
    torch.manual_seed(0)
    network = build("fasterrcnn_mobilenet_v2_fpn", class_count=1, options=OPTIONS).train()
    optimizer = SGD(network.parameters(), lr=0.001)
    batches = [[empty_sample(), empty_sample()], [empty_sample()]]
    steps = list(
        train_one_epoch(
            network,
            batches,
            optimizer,
            schedule(),
            sampling=SeededSampling(network, 0),
            first_step=0,
            clip_norm=1.0,
            average=None,
            image_names=["a.png"],
        )
    )
    assert [step.number for step in steps] == [0, 1]
    assert all(math.isfinite(value) for step in steps for value in step.losses.values())
    assert all(torch.isfinite(parameter).all() for parameter in network.parameters())


def test_a_loss_that_is_not_finite_names_its_terms_and_images_and_spares_the_weights() -> None:
    torch.manual_seed(0)
    network = build("fasterrcnn_mobilenet_v2_fpn", class_count=1, options=OPTIONS).train()
    with torch.no_grad():
        network.roi_heads.box_predictor.cls_score.bias[0] = math.inf
    before = network.backbone.fpn.inner_blocks[0][0].weight.clone()
    epoch = train_one_epoch(
        network,
        [[empty_sample(1)]],
        SGD(network.parameters(), lr=0.001),
        schedule(),
        sampling=SeededSampling(network, 0),
        first_step=7,
        clip_norm=0.0,
        average=None,
        image_names=["a.png", "b.png"],
    )
    with pytest.raises(NonFiniteLoss, match=r"step 7 .*loss_classifier (nan|inf).*images: b\.png"):
        list(epoch)
    assert torch.equal(before, network.backbone.fpn.inner_blocks[0][0].weight)


def test_a_gradient_that_is_not_finite_spares_the_weights() -> None:
    torch.manual_seed(0)
    network = build("fasterrcnn_mobilenet_v2_fpn", class_count=1, options=OPTIONS).train()
    network.rpn.head.cls_logits.bias.register_hook(lambda gradient: gradient * math.inf)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for clip_norm in (0.0, 1.0):
        epoch = train_one_epoch(
            network,
            [[empty_sample(1)]],
            SGD(network.parameters(), lr=0.001),
            schedule(),
            sampling=SeededSampling(network, 0),
            first_step=7,
            clip_norm=clip_norm,
            average=None,
            image_names=["a.png", "b.png"],
        )
        with pytest.raises(NonFiniteLoss, match=r"gradient of step 7 .*loss_objectness .*images: b\.png"):
            list(epoch)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_the_average_follows_the_weights_and_copies_the_buffers() -> None:
    network = torch.nn.BatchNorm1d(1)
    average = WeightAverage(network, decay=0.9)
    with torch.no_grad():
        network.weight.fill_(3.0)
    network.running_mean.fill_(5.0)  # type: ignore[union-attr]
    average.update(network, step=0)  # the first steps count more: 1/10 of the old 1.0 and 9/10 of the new 3.0
    assert average.state["weight"].item() == pytest.approx(2.8)
    assert average.state["running_mean"].item() == 5.0
    average.update(network, step=10_000)
    assert average.state["weight"].item() == pytest.approx(0.9 * 2.8 + 0.1 * 3.0)
