"""The interface of engines: an engine takes upright images of mixed sizes and returns boxes in each image's pixels."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rendersight.detections import Detections
from rendersight.images import RgbImage

ENGINES = ("openvino-int8", "openvino-bf16", "torch-fp16", "torch-bf16", "openvino-fp32", "torch-fp32")
"""Engine names, runtime and arithmetic, fastest first on the devices where they run."""


class DeviceLost(RuntimeError):
    """A device that this process can no longer use for any work."""


class Engine(Protocol):
    """One loaded network on one device.

    Attributes:
        name: one of `ENGINES`.
        device: `cpu` or `cuda:N`.
        parallel: number of threads that may call `detect` at once; further threads wait.
    """

    name: str
    device: str
    parallel: int

    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        """Find objects in upright uint8 (H, W, 3) RGB images.

        Returns:
            For each image, in order, the detections above the network's floor, best first, boxes in px of that image.

        Raises:
            FloatingPointError: a network output is not finite.
            MemoryError: the device lacks memory for these images; smaller or fewer images may fit.
            DeviceLost: the device cannot be used any more.
        """
        ...

    def detect_on_every_lane(self, image: RgbImage) -> list[Detections]:
        """Return the detections in one image from each lane, a separately compiled or allocated copy of the network.

        Nothing else may run meanwhile.

        Raises:
            FloatingPointError: as `detect`.
        """
        ...


def detections_in(
    size_hw: tuple[int, int],
    boxes: NDArray[Any],
    labels: NDArray[Any],
    scores: NDArray[Any],
    *,
    one_label_iou: float | None = None,
) -> Detections:
    """Build detections in an image from what an engine's network returned.

    Args:
        size_hw: height and width of the image, px.
        boxes: (N, 4), px of the image; boxes that rounding moved outside are clipped.
        labels: (N,), 1..K.
        scores: (N,).
        one_label_iou: of boxes with a larger intersection over union, whatever their classes, only the best one stays;
            None keeps all.

    Raises:
        FloatingPointError: a value is not finite.
    """
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise FloatingPointError("the network returned a box or a score that is not finite")
    height, width = size_hw
    boxes = boxes.clip(0, (width, height, width, height))
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    found = Detections.of(boxes[has_area], labels[has_area], scores[has_area])
    return found if one_label_iou is None else found.suppressed(one_label_iou, class_agnostic=True)
