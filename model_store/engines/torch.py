"""The eager torch engine: the state dict's own network, on a CPU or a CUDA GPU, in fp32."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torchvision.models.detection import FasterRCNN

from model_store.errors import DeviceNotAvailable
from rendersight.detections import Detections
from rendersight.images import RgbImage


class TorchEngine:
    """Runs a `FasterRCNN` image by image; see `model_store.engines.Engine`."""

    def __init__(self, network: FasterRCNN, device: str) -> None:
        """Move the network to a device that `choose_device` returned and switch it to inference."""
        self.name = "torch-fp32"
        self.device = device
        self._network = network.eval().requires_grad_(requires_grad=False).to(device)
        _fix_strides(self._network, device)

    @torch.inference_mode()
    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        """Find objects; see `model_store.engines.Engine.detect`.

        Raises:
            FloatingPointError: the network answered with something that is not finite.
        """
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: RgbImage) -> Detections:
        if self._is_too_narrow(image):
            return Detections.of([], [], [])
        # a copy: an array that is a read-only or mirrored view of another cannot become a tensor
        pixels = torch.from_numpy(np.array(image, order="C")).to(self.device).permute(2, 0, 1)  # (3, H, W)
        (answer,) = self._network([pixels.float() / 255])
        boxes = answer["boxes"].float().cpu().numpy()
        scores = answer["scores"].float().cpu().numpy()
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise FloatingPointError("the network answered with a box or a score that is not finite")
        height, width = image.shape[:2]
        boxes = boxes.clip(0, (width, height, width, height))  # scaling back may end a rounding error outside
        has_area = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        found = Detections.of(boxes[has_area], answer["labels"].cpu().numpy()[has_area], scores[has_area])
        return found.by_score()

    def _is_too_narrow(self, image: RgbImage) -> bool:
        """Tell whether the network's own resizing would leave no pixel across, which torch refuses."""
        rule = self._network.transform
        shorter, longer = sorted(image.shape[:2])
        scale = min(rule.min_size[-1] / shorter, rule.max_size / longer)
        return bool(math.floor(shorter * scale) < 1)


@torch.inference_mode()
def _fix_strides(network: FasterRCNN, device: str) -> None:
    """Let the pooling of boxes learn the strides of the feature maps from a square.

    torchvision's `MultiScaleRoIAlign` keeps what it concludes from the first image it sees, and concludes wrongly from
    one that is much narrower than the padding around it.
    """
    pool = network.roi_heads.box_roi_pool
    pool.scales = pool.map_levels = None
    pool(network.backbone(torch.zeros(1, 3, 128, 128, device=device)), [torch.zeros(1, 4, device=device)], [(128, 128)])


def choose_device(asked: str) -> str:
    """Turn `auto`, `cpu`, `cuda` or `cuda:N` into the device to use: `auto` is CUDA where there is one, else the CPU.

    Raises:
        DeviceNotAvailable: a CUDA device that is not on this machine, or something that names no device.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "cpu" or (asked == "auto" and count == 0):
        return "cpu"
    kind, _, index = asked.partition(":")
    if asked != "auto" and (kind != "cuda" or not (index.isdecimal() or asked == "cuda")):
        raise DeviceNotAvailable(f"device {asked!r} is unknown; accepted: auto, cpu, cuda, cuda:N")
    number = int(index or 0)
    if number >= count:
        raise DeviceNotAvailable(f"device {asked!r} is not available: this machine has {count} CUDA devices")
    return f"cuda:{number}"
