"""How a detector is run. An engine takes upright images of mixed sizes and answers in each image's own pixels."""

from collections.abc import Sequence
from typing import Protocol

from rendersight.detections import Detections
from rendersight.images import RgbImage

ENGINES = ("openvino-int8", "openvino-bf16", "torch-fp16", "torch-bf16", "openvino-fp32", "torch-fp32")
"""Runtime and arithmetic, fastest first on the devices where they run."""


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
        """
        ...
