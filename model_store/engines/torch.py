"""The torch engine: runs the state dict's own network on a CPU or a CUDA GPU, in float32, bfloat16 or float16."""

import copy
import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torchvision.models.detection import FasterRCNN
from torchvision.ops import FrozenBatchNorm2d

from model_store.cpu import usable_cores
from model_store.engines import DeviceLost, detections_in
from model_store.errors import EngineNotAvailable
from model_store.manifest import InputRule
from rendersight.detections import Detections
from rendersight.images import RgbImage

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchEngine:
    """An engine for a `FasterRCNN`; see `model_store.engines.Engine`.

    On CUDA, images with the same resized shape run as one batch.

    Attributes:
        parallel: 1; torch spreads each image over all cores.
    """

    parallel = 1

    def __init__(self, network: FasterRCNN, device: str, precision: str = "fp32") -> None:
        """Prepare a copy of a network for inference on a device from `choose_device`.

        Args:
            network: the network from `model_store.architectures.build`, which is not changed.
            device: `cpu` or `cuda:N`.
            precision: `fp32`, `bf16` or `fp16`, for backbone and heads; proposals and boxes are always fp32.

        Raises:
            EngineNotAvailable: fp16 on a CPU, which has no fast arithmetic for it.
        """
        if precision == "fp16" and device == "cpu":
            raise EngineNotAvailable("engine torch-fp16 needs CUDA; on a CPU use torch-bf16")
        self.name = f"torch-{precision}"
        self.device = device
        prepared = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
        fold_batch_norms(prepared)
        fix_strides(prepared)
        sizes = prepared.transform
        self._rule = InputRule(
            min_size=sizes.min_size[-1], max_size=sizes.max_size, mean=sizes.image_mean, std=sizes.image_std
        )
        self._network = prepared.to(device, memory_format=torch.channels_last)
        if precision != "fp32":
            reduce_precision(self._network, torch.device(device).type, _DTYPES[precision])
        self._are_finite: list[Tensor] = []
        for head in (self._network.rpn.head, self._network.roi_heads.box_predictor):
            head.register_forward_hook(self._watch)
        if device == "cpu":
            torch.set_num_threads(usable_cores())

    def _watch(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        """Record whether a head's output is finite, because torchvision's score filter silently drops NaN."""
        tensors = [item for part in output for item in (part if isinstance(part, list) else [part])]
        self._are_finite += [torch.isfinite(item).all() for item in tensors]

    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        """Find objects; see `model_store.engines.Engine.detect`."""
        try:
            return self._detect(images)
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise MemoryError(str(error)) from error
        except RuntimeError as error:
            if self.device != "cpu" and _is_lost(self.device):
                raise DeviceLost(f"{self.device} is lost: {str(error).splitlines()[0]}") from error
            raise

    def detect_on_every_lane(self, image: RgbImage) -> list[Detections]:
        """Find objects in one image; the engine has one lane."""
        return self.detect([image])

    @torch.inference_mode()
    def _detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        found: dict[int, Detections] = {}
        for numbers in self._batches(images):
            # a copy: a read-only or mirrored view of another array cannot become a tensor
            pixels = [torch.from_numpy(np.array(images[number], order="C")).to(self.device) for number in numbers]
            self._are_finite.clear()
            answers = self._network([item.permute(2, 0, 1).float() / 255 for item in pixels])
            if not torch.stack(self._are_finite).all():
                raise FloatingPointError("the network computed a value that is not finite")
            found.update(
                {number: self._found(images[number], answer) for number, answer in zip(numbers, answers, strict=True)}
            )
        return [found.get(number, Detections.of([], [], [])) for number in range(len(images))]

    def _found(self, image: RgbImage, answer: dict[str, Tensor]) -> Detections:
        boxes, labels, scores = (answer[name].cpu().numpy() for name in ("boxes", "labels", "scores"))
        height, width = image.shape[:2]
        one_label_iou = self._network.roi_heads.one_label_iou
        return detections_in((height, width), boxes, labels, scores, one_label_iou=one_label_iou).by_score()

    def _batches(self, images: Sequence[RgbImage]) -> list[list[int]]:
        """Group indices into batches; leave out images that resizing would make less than 1 px wide or high."""
        by_shape: dict[Any, list[int]] = defaultdict(list)
        for number, image in enumerate(images):
            shape = self._rule.resized_hw(*image.shape[:2])
            if min(shape) >= 1:
                # padding one image to another's size would change the detections near its edges
                by_shape[shape if self.device != "cpu" else number].append(number)
        return list(by_shape.values())


def _is_lost(device: str) -> bool:
    """Return whether an error has broken the CUDA context; every later call of the process would fail too."""
    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return True
    return False


@torch.inference_mode()
def fix_strides(network: FasterRCNN) -> None:
    """Run a square image through the box head's pooling, so that it computes the pyramid's strides correctly.

    torchvision's `MultiScaleRoIAlign` keeps the strides that it derives from its first image. It derives wrong strides
    from an image that is much narrower than its padding.
    """
    maps = network.backbone(torch.zeros(1, 3, 128, 128))
    network.roi_heads.box_roi_pool(maps, [torch.zeros(1, 4)], [(128, 128)])


def fold_batch_norms(network: nn.Module) -> None:
    """Merge each batch norm with constant statistics into the convolution before it."""
    for parent in list(network.modules()):
        for (_, conv), (name, norm) in itertools.pairwise(list(parent.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d | FrozenBatchNorm2d):
                mean, variance = norm.running_mean, norm.running_var
                assert mean is not None
                assert variance is not None
                conv.weight, bias = fuse_conv_bn_weights(
                    conv.weight, conv.bias, mean, variance, norm.eps, norm.weight, norm.bias
                )
                conv.bias = nn.Parameter(bias.detach(), requires_grad=False)
                setattr(parent, name, nn.Identity())


def reduce_precision(network: FasterRCNN, device_type: str, dtype: torch.dtype) -> None:
    """Run backbone, proposal head and box head in a smaller type and convert their outputs to float32.

    Anchors, proposals and suppression stay in float32: a bfloat16 coordinate of 500 px is off by up to 2 px.
    """
    for module in (network.backbone, network.rpn.head, network.roi_heads.box_head):
        module.forward = _autocast(module.forward, device_type, dtype)


def _autocast(forward: Callable[..., Any], device_type: str, dtype: torch.dtype) -> Callable[..., Any]:
    def run(*inputs: Any) -> Any:
        with torch.autocast(device_type, dtype=dtype):
            return _float32(forward(*inputs))

    return run


def _float32(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float()
    if isinstance(value, dict):
        return {key: _float32(item) for key, item in value.items()}
    return type(value)(_float32(item) for item in value)
