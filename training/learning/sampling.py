"""Which anchors and proposals a step learns from: drawn for each image by a seed of its own.

torchvision draws them with the global generator, so that they depend on all images before. Here they depend on the
run's seed, the step and the image alone: on no other process, device or interruption. Faster R-CNN, arXiv:1506.01497,
section 3.1.3.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from training.seeds import mixed_seed

_ANCHORS, _PROPOSALS = range(2)


class SeededSampler:
    """Takes the place of torchvision's `BalancedPositiveNegativeSampler`: as many, balanced alike, drawn by seeds.

    Attributes:
        batch_size_per_image: the most to draw in an image.
        positive_fraction: the most of them on objects; background fills up the rest.
        seeds: of the images of the next call, one each.
        drawn: how many the last call drew in all images.
    """

    def __init__(self, batch_size_per_image: int, positive_fraction: float) -> None:
        self.batch_size_per_image = batch_size_per_image
        self.positive_fraction = positive_fraction
        self.seeds: list[int] = []
        self.drawn = 0

    def __call__(self, matched: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Draw in each image.

        Args:
            matched: for each image (N,): above 0 on an object, 0 background, below 0 neither.

        Returns:
            For each image two uint8 masks (N,), of the objects' and of the background's that were drawn.
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
    chosen = torch.randperm(len(candidates), generator=generator)[:count]  # on the CPU: the same on every device
    mask = torch.zeros_like(matched, dtype=torch.uint8)
    mask[candidates[chosen.to(candidates.device)]] = 1
    return mask


class SeededSampling:
    """Both draws of a network, of anchors and of proposals, and how many there were."""

    def __init__(self, network: FasterRCNN, seed: int) -> None:
        """Put seeded samplers into a network, with the sizes of those that it has."""
        self._seed = seed
        rpn, heads = network.rpn, network.roi_heads
        self._anchors, self._proposals = (
            SeededSampler(old.batch_size_per_image, old.positive_fraction)
            for old in (rpn.fg_bg_sampler, heads.fg_bg_sampler)
        )
        rpn.fg_bg_sampler, heads.fg_bg_sampler = self._anchors, self._proposals

    def begin(self, step: int, images: Sequence[int]) -> None:
        """Tell which step comes, counted over all epochs, and the index in the dataset of each of its images."""
        self._anchors.seeds = [mixed_seed(self._seed, step, image, _ANCHORS) for image in images]
        self._proposals.seeds = [mixed_seed(self._seed, step, image, _PROPOSALS) for image in images]

    def drawn(self) -> dict[str, int]:
        """Return by how many draws the last step divided each of its loss terms."""
        return {
            "loss_objectness": self._anchors.drawn,
            "loss_rpn_box_reg": self._anchors.drawn,
            "loss_classifier": self._proposals.drawn,
            "loss_box_reg": self._proposals.drawn,
        }
