"""Ignored regions in training: boxes that are neither object nor background.

Anchors and proposals that lie in an ignored box are taken out of the losses, unless they match an object. The network
itself stays torchvision's; only its training methods are wrapped. pycocotools treats crowds the same way (iscrowd).
"""

from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.transform import resize_boxes
from torchvision.ops import box_area

KEY = "ignored"
"""Key of the ignored boxes in a target, float32 (M, 4), px; the key may be missing."""

MIN_INSIDE = 0.5
"""Smallest share of an anchor's or proposal's area inside an ignored box that takes it out of the loss."""

_BACKGROUND, _NEITHER = 0, -1


def ignore_regions(network: FasterRCNN) -> None:
    """Make a network in training mode leave out the ignored boxes of its targets."""
    resize, to_anchors = network.transform.resize, network.rpn.assign_targets_to_anchors
    select = network.roi_heads.select_training_samples
    to_proposals = network.roi_heads.assign_targets_to_proposals
    current: list[Tensor | None] = []

    def resize_all(image: Tensor, target: dict[str, Tensor] | None = None) -> Any:
        before = [int(side) for side in image.shape[-2:]]
        image, target = resize(image, target)
        if target is not None and KEY in target:
            target[KEY] = resize_boxes(target[KEY], before, [int(side) for side in image.shape[-2:]])
        return image, target

    def assign_anchors(anchors: list[Tensor], targets: list[dict[str, Tensor]]) -> Any:
        labels, boxes = to_anchors(anchors, targets)
        for label, anchor, target in zip(labels, anchors, targets, strict=True):
            _leave_out(label, anchor, target.get(KEY))
        return labels, boxes

    def select_samples(proposals: list[Tensor], targets: list[dict[str, Tensor]]) -> Any:
        current[:] = [target.get(KEY) for target in targets]
        return select(proposals, targets)

    def assign_proposals(proposals: list[Tensor], boxes: list[Tensor], names: list[Tensor]) -> Any:
        matched, labels = to_proposals(proposals, boxes, names)
        for label, proposal, ignored in zip(labels, proposals, current, strict=True):
            _leave_out(label, proposal, ignored)
        return matched, labels

    network.transform.resize = resize_all
    network.rpn.assign_targets_to_anchors = assign_anchors
    network.roi_heads.select_training_samples = select_samples
    network.roi_heads.assign_targets_to_proposals = assign_proposals


def _leave_out(labels: Tensor, boxes: Tensor, ignored: Tensor | None) -> None:
    """Set the label of each background box inside an ignored box to "neither", in place."""
    if ignored is None or not len(ignored):
        return
    inside = shares_inside(boxes, ignored).amax(dim=1) > MIN_INSIDE
    labels[inside & (labels == _BACKGROUND)] = _NEITHER


def shares_inside(boxes_xyxy: Tensor, regions_xyxy: Tensor) -> Tensor:
    """Return the share of each box's area inside each region, float32 (N, M)."""
    low = torch.maximum(boxes_xyxy[:, None, :2], regions_xyxy[None, :, :2])
    high = torch.minimum(boxes_xyxy[:, None, 2:], regions_xyxy[None, :, 2:])
    shares: Tensor = (high - low).clamp(min=0).prod(dim=2) / box_area(boxes_xyxy).clamp(min=1e-6)[:, None]
    return shares
