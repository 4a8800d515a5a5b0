"""What makes a training step fast without changing what it learns: folded batch norm; whether bfloat16 does."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torchvision.ops import FrozenBatchNorm2d


def fold_frozen_norms(network: nn.Module) -> int:
    """Let each convolution apply the frozen batch norm that follows it, in the forward pass; returns how many do.

    w * scale is a convolution's weight, so norm(conv(x, w)) = conv(x, w * scale) + shift: one pass over the pixels
    where there were three. Parameters, buffers and their names stay, and w gets the same gradient.
    """
    count = 0
    for parent in list(network.modules()):
        children = list(parent.children())
        for conv, norm in itertools.pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, FrozenBatchNorm2d) and conv.bias is None:
                conv.forward = _folded(conv, norm)  # type: ignore[method-assign, assignment]
                norm.forward = _same
                count += 1
    return count


def _folded(conv: nn.Conv2d, norm: FrozenBatchNorm2d) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        shift = norm.bias - norm.running_mean * scale
        weight = conv.weight * scale.reshape(-1, 1, 1, 1)
        return F.conv2d(x, weight, shift, conv.stride, conv.padding, conv.dilation, conv.groups)

    return forward


def _same(x: Tensor) -> Tensor:
    return x


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether bfloat16 is computed natively, so that it is faster and not only smaller."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # without mkldnn, on a Mac say, its operators do not exist
    has_mkldnn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_mkldnn and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
