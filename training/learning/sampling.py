"""Seeded choice of the anchors and proposals that a step learns from (Faster R-CNN, arXiv:1506.01497, section 3.1.3).

torchvision draws them with the global generator, so each draw depends on all earlier images. Here a draw depends only
on the run's seed, the step and the image. Other processes, the device and interruptions do not change it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from training.seeds import mixed_seed

_ANCHORS, _PROPOSALS = range(2)


class SeededSampler:
    """Seeded replacement for torchvision's `BalancedPositiveNegativeSampler`, with the same counts and balance.

    Attributes:
        batch_size_per_image: largest number of draws per image.
        positive_fraction: largest share of draws on objects; background fills the rest.
        seeds: one seed per image of the next call.
        drawn: number of draws of the last call, over all images.
    """

    def __init__(self, batch_size_per_image: int, positive_fraction: float) -> None:
        self.batch_size_per_image = batch_size_per_image
        self.positive_fraction = positive_fraction
        self.seeds: list[int] = []
        self.drawn = 0

    def __call__(self, matched: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Draw anchors or proposals in each image.

        Args:
            matched: one tensor (N,) per image: above 0 for an object, 0 for background, below 0 for neither.

        Returns:
            Two lists with one uint8 mask (N,) per image: the draws on objects and the draws on background.
        """
        self.drawn = 0
        masks = [self._draw(item, seed) for item, seed in zip(matched, self.seeds, strict=True)]
        return [positive for positive, _ in masks], [negative for _, negative in masks]

    def _draw(self, matched: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        positive, negative = torch.where(matched >= 1)[0], torch.where(matched == 0)[0]
        positives = min(len(positive), int(self.batch_size_per_image * self.positive_fraction))
        negatives = min(len(negative), self.batch_size_per_image - positives)
        self.drawn += positives + negatives
        return _mask(matched, positive, positives, generator), _mask(matched, negative, negatives, generator)


def _mask(matched: Tensor, candidates: Tensor, count: int, generator: torch.Generator) -> Tensor:
    chosen = torch.randperm(len(candidates), generator=generator)[:count]  # drawn on the CPU, so equal on every device
    mask = torch.zeros_like(matched, dtype=torch.uint8)
    mask[candidates[chosen.to(candidates.device)]] = 1
    return mask


class SeededSampling:
    """Seeded samplers of a network's anchors and proposals."""

    def __init__(self, network: FasterRCNN, seed: int) -> None:
        """Replace a network's samplers by seeded ones of the same sizes."""
        self._seed = seed
        rpn, heads = network.rpn, network.roi_heads
        self._anchors, self._proposals = (
            SeededSampler(old.batch_size_per_image, old.positive_fraction)
            for old in (rpn.fg_bg_sampler, heads.fg_bg_sampler)
        )
        rpn.fg_bg_sampler, heads.fg_bg_sampler = self._anchors, self._proposals

    def begin(self, step: int, images: Sequence[int]) -> None:
        """Set the seeds of the next step.

        Args:
            step: number of the step, counted over all epochs.
            images: index in the dataset of each image of the step.
        """
        self._anchors.seeds = [mixed_seed(self._seed, step, image, _ANCHORS) for image in images]
        self._proposals.seeds = [mixed_seed(self._seed, step, image, _PROPOSALS) for image in images]

    def drawn(self) -> dict[str, int]:
        """Return the number of draws that each loss term of the last step was divided by."""
        return {
            "loss_objectness": self._anchors.drawn,
            "loss_rpn_box_reg": self._anchors.drawn,
            "loss_classifier": self._proposals.drawn,
            "loss_box_reg": self._proposals.drawn,
        }
