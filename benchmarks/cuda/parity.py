"""Parity of an engine with torchvision's own network in fp32 on the CPU."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.models.detection import FasterRCNN

from rendersight.detections import Detections, box_iou
from rendersight.images import RgbImage

CLEAR_SCORE = 0.5
"""Score above which objects are compared."""

_SAME_IOU = 0.9


@dataclass(frozen=True)
class Limits:
    """Largest accepted differences between an engine and eager fp32 on the CPU.

    Attributes:
        share: smallest fraction of the clear objects found again, and of the found objects that are in the reference.
        score: largest mean change of a score.
        box_px: largest mean change of a coordinate, px.
    """

    share: float
    score: float
    box_px: float


EXACT = Limits(0.98, 0.001, 0.05)
REDUCED = Limits(0.9, 0.02, 1.0)


@dataclass(frozen=True)
class Parity:
    """An engine's detections compared with the reference.

    Attributes:
        clear: number of objects of the reference with a score above `CLEAR_SCORE`.
        again: number of clear objects that the engine found too: same label, IoU of 0.9 or more.
        new: number of objects that the engine found above `CLEAR_SCORE` and the reference did not find at all.
        score_changes: change of the score of each object found again.
        box_changes_px: largest change of the four coordinates of each object found again.
    """

    clear: int
    again: int
    new: int
    score_changes: NDArray[np.float32]
    box_changes_px: NDArray[np.float32]

    def is_within(self, limits: Limits) -> bool:
        """Return whether the differences are within the limits; False if there is nothing to compare."""
        return (
            self.again >= limits.share * self.clear > 0
            and self.new <= (1 - limits.share) * self.clear
            and float(self.score_changes.mean()) <= limits.score
            and float(self.box_changes_px.mean()) <= limits.box_px
        )


def compare(reference: Sequence[Detections], found: Sequence[Detections]) -> Parity:
    """Compare an engine's detections with the reference's, image by image."""
    clear = again = new = 0
    scores, boxes = [np.zeros(0, np.float32)], [np.zeros(0, np.float32)]
    for exact, other in zip(reference, found, strict=True):
        same = box_iou(exact.boxes_xyxy, other.boxes_xyxy) >= _SAME_IOU
        same &= exact.labels[:, None] == other.labels[None, :]
        is_clear = exact.scores > CLEAR_SCORE
        clear += int(is_clear.sum())
        again += int((is_clear & same.any(axis=1)).sum())
        new += int(((other.scores > CLEAR_SCORE) & ~same.any(axis=0)).sum())
        ours, theirs = np.nonzero(same & is_clear[:, None])
        scores.append(np.abs(exact.scores[ours] - other.scores[theirs]))
        boxes.append(np.abs(exact.boxes_xyxy[ours] - other.boxes_xyxy[theirs]).max(axis=1))
    return Parity(clear, again, new, np.concatenate(scores), np.concatenate(boxes))


@torch.inference_mode()
def eager(network: FasterRCNN, image: RgbImage) -> Detections:
    """Return the reference: the detections of torchvision's own network in fp32 on the CPU."""
    (answer,) = network.eval()([torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255])
    return Detections.of(answer["boxes"].numpy(), answer["labels"].numpy(), answer["scores"].numpy()).by_score()
