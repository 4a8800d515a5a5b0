"""How a detector is run. An engine takes upright images of mixed sizes and answers in each image's own pixels."""

from collections.abc import Sequence
from typing import Protocol

from rendersight.detections import Detections
from rendersight.images import RgbImage


class Engine(Protocol):
    """One loaded network on one device; not safe for use by two threads at once.

    Attributes:
        name: runtime and arithmetic, such as `torch-fp32`.
        device: `cpu` or `cuda:N`.
    """

    name: str
    device: str

    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        """Find objects in upright uint8 (H, W, 3) RGB images.

        Returns:
            For each image, in order, what scored above the network's floor, best first, boxes in px of that image.
        """
        ...
