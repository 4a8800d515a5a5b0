"""Ignored regions give no loss."""

import torch
from torchvision.models.detection import FasterRCNN

from model_store import architectures
from training.learning.ignoring import ignore_regions, shares_inside

IMAGE = torch.rand(3, 128, 128, generator=torch.Generator().manual_seed(1))


def network() -> FasterRCNN:
    torch.manual_seed(0)
    options = architectures.ARCHITECTURES["fasterrcnn_mobilenet_v2_fpn"].options
    built = architectures.build(
        "fasterrcnn_mobilenet_v2_fpn",
        class_count=2,
        options=options.model_copy(update={"min_size": 256, "max_size": 256}),
    )
    ignore_regions(built)
    return built.train()


def labels_of(built: FasterRCNN, target: dict[str, torch.Tensor], anchors: torch.Tensor) -> list[float]:
    labels, _ = built.rpn.assign_targets_to_anchors([anchors], [target])
    return labels[0].tolist()


def test_anchor_inside_ignored_box_is_neither_object_nor_background() -> None:
    anchors = torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60], [80, 80, 120, 120]])
    target = {
        "boxes": torch.tensor([[80.0, 80, 120, 120]]),
        "labels": torch.tensor([1]),
        "ignored": torch.tensor([[45.0, 45, 65, 65]]),
    }

    assert labels_of(network(), target, anchors) == [0, -1, 1]


def test_object_inside_ignored_box_stays_an_object() -> None:
    anchors = torch.tensor([[80.0, 80, 120, 120], [0, 0, 8, 8]])
    target = {
        "boxes": torch.tensor([[80.0, 80, 120, 120]]),
        "labels": torch.tensor([1]),
        "ignored": torch.tensor([[70.0, 70, 128, 128]]),
    }

    assert labels_of(network(), target, anchors) == [1, 0]


def test_proposal_inside_ignored_box_gives_no_loss() -> None:
    built = network()
    proposals = [torch.tensor([[50.0, 50, 60, 60], [0, 0, 10, 10]])]
    target = {
        "boxes": torch.tensor([[80.0, 80, 120, 120]]),
        "labels": torch.tensor([2]),
        "ignored": torch.tensor([[45.0, 45, 65, 65]]),
    }
    kept, _, labels, _ = built.roi_heads.select_training_samples(proposals, [target])

    assert sorted(labels[0].tolist()) == [0, 2]
    assert [50.0, 50, 60, 60] not in kept[0].tolist()


def test_ignored_boxes_are_resized_with_the_image() -> None:
    target = {
        "boxes": torch.tensor([[8.0, 8, 24, 24]]),
        "labels": torch.tensor([1]),
        "ignored": torch.tensor([[32.0, 32, 64, 64]]),
    }
    _, targets = network().transform([IMAGE], [target])

    assert targets[0]["ignored"].tolist() == [[64.0, 64, 128, 128]]


def test_target_without_ignored_boxes_trains_as_before() -> None:
    target = {"boxes": torch.tensor([[8.0, 8, 60, 60]]), "labels": torch.tensor([1])}
    losses = network()([IMAGE], [target])

    assert all(torch.isfinite(value) for value in losses.values())


def test_shares_inside_by_hand() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 20, 10]])
    regions = torch.tensor([[5.0, 0, 30, 30], [100, 100, 110, 110]])

    assert shares_inside(boxes, regions).tolist() == [[0.5, 0.0], [0.75, 0.0]]
