"""How a detector is run. An engine takes upright images of mixed sizes and answers in each image's own pixels."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rendersight.detections import Detections
from rendersight.images import RgbImage

ENGINES = ("openvino-int8", "openvino-bf16", "torch-fp16", "torch-bf16", "openvino-fp32", "torch-fp32")
"""Runtime and arithmetic, fastest first on the devices where they run."""


class DeviceLost(RuntimeError):
    """The device cannot be used any more by this process, whatever is asked of it next."""


class Engine(Protocol):
    """One loaded network on one device.

    Attributes:
        name: one of `ENGINES`.
        device: `cpu` or `cuda:N`.
        parallel: so many threads may call `detect` at once; more of them wait.
    """

    name: str
    device: str
    parallel: int

    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        """Find objects in upright uint8 (H, W, 3) RGB images.

        Returns:
            For each image, in order, what scored above the network's floor, best first, boxes in px of that image.

        Raises:
            FloatingPointError: the network answered with something that is not finite.
            MemoryError: the device has not enough memory for these images; others may do.
            DeviceLost: it cannot go on at all.
        """
        ...

    def detect_on_every_lane(self, image: RgbImage) -> list[Detections]:
        """Return what each part that is compiled or keeps memory of its own finds in one image; nothing else may run.

        Raises:
            FloatingPointError: as `detect`.
        """
        ...


def detections_in(
    size_hw: tuple[int, int], boxes: NDArray[Any], labels: NDArray[Any], scores: NDArray[Any]
) -> Detections:
    """Take what was found in an image of this height and width, px, boxes (N, 4), which rounding may have moved out.

    Raises:
        FloatingPointError: something is not finite.
    """
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise FloatingPointError("the network answered with a box or a score that is not finite")
    height, width = size_hw
    boxes = boxes.clip(0, (width, height, width, height))
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return Detections.of(boxes[has_area], labels[has_area], scores[has_area])
