"""RoIAlign (Mask R-CNN, arXiv:1703.06870, section 3) that runs on all cores of a CPU and equals torchvision's.

torchvision's CPU kernel runs its backward pass on a single core, which takes a quarter of a training step. Here each
output cell is the weighted sum of 16 pixels: 2 x 2 samples with four neighbours each. `embedding_bag` computes the sums
over a channels_last feature map. Its forward and backward passes run in parallel.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torchvision.ops import MultiScaleRoIAlign

_CANONICAL_LEVEL = 4
_CANONICAL_PX = 224
_SAMPLES = 2


class GatheringRoIAlign(MultiScaleRoIAlign):  # type: ignore[misc] # torchvision has no types
    """`MultiScaleRoIAlign` for square outputs with 2 x 2 samples per cell. It has no parameters."""

    def forward(self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]) -> Tensor:
        """Pool the features of each box from the level that fits its size.

        Args:
            x: level name -> float32 (B, C, H, W), finest level first.
            boxes: one float32 (N, 4) per image, x0, y0, x1, y1 in px of the resized image.
            image_shapes: height and width of each resized image, px.

        Returns:
            float32 (total N, C, size, size), in the order of the boxes.
        """
        levels = [level for name, level in x.items() if name in self.featmap_names]
        tallest = max(shape[0] for shape in image_shapes)
        # round: strides are powers of two, but sizes of feature maps are rounded up
        scales = [2.0 ** round(math.log2(level.shape[-2] / tallest)) for level in levels]
        rois = torch.cat(boxes)
        image_of = torch.cat([torch.full((len(item),), i, device=item.device) for i, item in enumerate(boxes)])
        finest, coarsest = (-round(math.log2(scale)) for scale in (scales[0], scales[-1]))
        size = ((rois[:, 2] - rois[:, 0]) * (rois[:, 3] - rois[:, 1])).sqrt()
        # equation 1 of the FPN paper, arXiv:1612.03144
        level_of = torch.floor(_CANONICAL_LEVEL - finest + torch.log2(size / _CANONICAL_PX) + 1e-6)
        level_of = level_of.clamp(0, coarsest - finest)  # two levels of MobileNetV3 have the same stride
        cells = self.output_size[0]
        pooled = levels[0].new_zeros((len(rois), levels[0].shape[1], cells, cells))
        for number, (level, scale) in enumerate(zip(levels, scales, strict=True)):
            chosen = torch.nonzero(level_of == number).squeeze(1)
            if len(chosen):
                part = roi_align(level, rois[chosen], image_of[chosen], scale=scale, cells=cells)
                pooled = pooled.index_copy(0, chosen, part)
        return pooled


def gathering(pool: MultiScaleRoIAlign) -> MultiScaleRoIAlign:
    """Return the gathering equivalent of a pool, or the pool itself if its samples or its shape are not supported."""
    if pool.sampling_ratio != _SAMPLES or pool.output_size[0] != pool.output_size[1]:
        return pool
    return GatheringRoIAlign(pool.featmap_names, pool.output_size, pool.sampling_ratio)


def roi_align(features: Tensor, rois_xyxy: Tensor, image_of: Tensor, *, scale: float, cells: int) -> Tensor:
    """Pool boxes from one level, as torchvision's `roi_align` does with `sampling_ratio=2` and `aligned=False`.

    Args:
        features: float32 (B, C, H, W); fastest in channels_last.
        rois_xyxy: float32 (N, 4), px of the resized image.
        image_of: int64 (N,), index 0..B-1 of each box's image.
        scale: px of the feature map per px of the resized image.
        cells: height and width of the output, in cells.

    Returns:
        float32 (N, C, cells, cells).
    """
    batch, channels, height, width = features.shape
    scaled = rois_xyxy * scale
    rows, row_weights = _taps(scaled[:, 1], scaled[:, 3], cells=cells, length=height)
    columns, column_weights = _taps(scaled[:, 0], scaled[:, 2], cells=cells, length=width)
    # (N, cells, 1, 4, 1) + (N, 1, cells, 1, 4): the 16 taps of each cell
    index = rows[:, :, None, :, None] * width + columns[:, None, :, None, :]
    index = index + (image_of * height * width).reshape(-1, 1, 1, 1, 1)
    weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
    table = features.permute(0, 2, 3, 1).reshape(batch * height * width, channels)
    taps = index.shape[-1] * index.shape[-2]
    summed = F.embedding_bag(
        index.reshape(-1, taps), table, mode="sum", per_sample_weights=weights.reshape(-1, taps).to(table.dtype)
    )
    return summed.reshape(-1, cells, cells, channels).permute(0, 3, 1, 2)


def _taps(low: Tensor, high: Tensor, *, cells: int, length: int) -> tuple[Tensor, Tensor]:
    """Return the pixels that each cell sums along one axis: indices int64 and weights float32, both (N, cells, 4).

    A cell has two samples, at a quarter and at three quarters of its length. Each sample is interpolated between two
    pixels. A sample outside the map counts as zero.
    """
    extent = (high - low).clamp(min=1.0)  # torchvision treats shorter boxes as one pixel long
    offsets = (torch.arange(2 * cells, device=low.device) + 0.5) / (2 * cells)
    at = low[:, None] + extent[:, None] * offsets  # (N, 2 * cells)
    is_inside = (at >= -1.0) & (at <= length)
    at = at.clamp(0, length - 1)
    before = at.floor().long().clamp(max=max(length - 2, 0))
    after = (before + 1).clamp(max=length - 1)
    share = at - before
    index = torch.stack((before, after), dim=2)
    weight = torch.stack((1 - share, share), dim=2) * (is_inside / 2)[:, :, None]  # the mean of the two samples
    return index.reshape(-1, cells, 4), weight.reshape(-1, cells, 4)
