"""Labelled images as a torch Dataset: reading, class names, batches and collation."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from rendersight.annotations import AnnotatedImage, AnnotationError, Fault, ReadOptions, summary
from rendersight.annotations.dataset import AnnotatedDataset, load_pixels, read_annotations
from rendersight.annotations.formats import FORMATS
from rendersight.annotations.index import name_below
from training.console import Bar, progress_bar, say
from training.data.findings import counted
from training.data.transforms import Sample
from training.seeds import mixed_seed

_MOST_NAMED = 20


class BrokenDataset(AnnotationError):
    """A dataset with faulty files. The message lists every fault, one per line."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        count = len({fault.file for fault in faults})
        lines = "\n".join(f"  {line}" for line in summary(faults))
        super().__init__(f"{count} of the dataset's files cannot be used:\n{lines}")


@dataclass(frozen=True)
class LabelledImages:
    """Images with boxes of known classes. Label i is `class_names[i - 1]`; label 0 is background."""

    images: tuple[AnnotatedImage, ...]
    class_names: tuple[str, ...]

    def select(self, names: Sequence[str]) -> "LabelledImages":
        """Return the images with these names, in the order of the dataset.

        Raises:
            AnnotationError: a name is not in the dataset.
        """
        wanted = set(names)
        if strangers := sorted(wanted - {image.name for image in self.images}):
            raise AnnotationError(
                f"{len(strangers)} of the listed images are not in the dataset, such as {strangers[0]}"
            )
        return LabelledImages(tuple(image for image in self.images if image.name in wanted), self.class_names)

    def of_split(self, split: str) -> "LabelledImages":
        """Return the images that the dataset's files assign to a split.

        Raises:
            AnnotationError: no image is in the split.
        """
        found = tuple(image for image in self.images if split in image.splits)
        if not found:
            known = ", ".join(sorted({name for image in self.images for name in image.splits})) or "none"
            raise AnnotationError(f"no image is in the split {split!r}; the dataset's splits: {known}")
        return LabelledImages(found, self.class_names)

    def widened(self, margin: float) -> "LabelledImages":
        """Return the images with every side of each box moved outwards, to turn pixel-tight boxes into hand-drawn ones.

        Ignored boxes grow too: a detector that learns such boxes gives them to hidden objects as well.

        Args:
            margin: distance as a share of the box's own width and height. Boxes are clipped to the image.
        """
        if not margin:
            return self
        return LabelledImages(tuple(_widen(image, margin) for image in self.images), self.class_names)

    def label_ids(self, image: AnnotatedImage) -> list[int]:
        """Return the label ids 1..K of an image's boxes."""
        return [self.class_names.index(label) + 1 for label in image.labels]

    def fingerprint(self) -> str:
        """Return a sha256 of class names, image names, sizes, boxes (to 0.01 px) and labels, equal on any machine.

        Ignored boxes enter it only if an image has some, so that older runs of datasets without them resume.
        """
        digest = hashlib.sha256("\n".join(self.class_names).encode())
        for image in self.images:
            digest.update(repr((image.name, image.size_wh, _rounded(image.boxes_xyxy), image.labels)).encode())
            if image.ignored:
                digest.update(repr(_rounded(image.ignored_xyxy)).encode())
        return digest.hexdigest()


def _rounded(boxes_xyxy: NDArray[np.float32]) -> list[list[str]]:
    return [[f"{value:.2f}" for value in box] for box in boxes_xyxy.tolist()]


def with_margin(name: str, margin: float) -> str:
    """Return the name of a data set, with a note if its boxes are widened."""
    return f"{name}, boxes widened by {margin:.0%} a side" if margin else name


def _widen(image: AnnotatedImage, margin: float) -> AnnotatedImage:
    def widened(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        room = (boxes[:, 2:] - boxes[:, :2]) * np.float32(margin)
        wide = np.concatenate([boxes[:, :2] - room, boxes[:, 2:] + room], axis=1)
        inside: NDArray[np.float32] = np.clip(wide, 0, np.array([*image.size_wh] * 2, np.float32))
        return inside

    ignored = zip(image.ignored, widened(image.ignored_xyxy).tolist(), strict=True)
    return replace(
        image,
        boxes_xyxy=widened(image.boxes_xyxy),
        ignored=tuple(replace(item, box_xyxy=tuple(box)) for item, box in ignored),
    )


def read_dataset(
    folder: Path,
    *,
    class_names: Sequence[str] | None = None,
    reading: ReadOptions | None = None,
    decode: bool = True,
    bar: Bar = progress_bar,
) -> LabelledImages:
    """Read a dataset for training or evaluation.

    Args:
        folder: a folder in any format, or the file that describes a dataset; see
            `rendersight.annotations.dataset.read_annotations`.
        class_names: class names in label order; None takes the labels of the data, sorted. They also name the numbers
            of label files that have no names.
        reading: how the files are read; None detects the format and takes nothing for granted.
        decode: whether to decode every image, see `read_annotations`.
        bar: a progress bar with the interface of tqdm.

    Raises:
        BrokenDataset: files cannot be used or are not understood, or labels are not among the classes. The message
            lists every fault.
        AnnotationError: the folder does not exist, or holds no image or no class.
    """
    reading = reading or ReadOptions()
    if class_names and not all(name.isdecimal() for name in class_names):  # such names are the numbers themselves
        reading = replace(reading, class_names=reading.class_names or tuple(class_names))
    found = read_annotations(folder, reading, decode=decode, bar=bar)
    known = tuple(class_names or names_in(found))
    if faults := all_faults(found, known):
        raise BrokenDataset(faults)
    if found.unlabelled:
        say(_unlabelled(folder, found.unlabelled))
    if not found.images:
        raise AnnotationError(f"{folder} holds no images")
    if not known:
        raise AnnotationError(f"{folder} holds no labelled object and no label file that is read; see docs/datasets.md")
    return LabelledImages(found.images, known)


def _unlabelled(folder: Path, names: Sequence[str]) -> str:
    told = ", ".join(names[:_MOST_NAMED])
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    count = counted(len(names), "image")
    return (
        f"not used: {count} of {folder} without a label file, unlike the others: {told}{more}. If they show no object, "
        "pass --negatives or add empty label files"
    )


def names_in(found: AnnotatedDataset) -> list[str]:
    """Return the distinct labels of a folder's images, sorted; by number if all of them are numbers."""
    labels = {label for image in found.images for label in image.labels}
    return sorted(labels, key=int if all(label.isdecimal() for label in labels) else None)


def all_faults(found: AnnotatedDataset, class_names: Sequence[str]) -> list[Fault]:
    """Return a folder's faults, including a fault for each label that is not a class, sorted by file."""
    faults = list(found.faults)
    by_image = not FORMATS[found.format].has_file_each
    for image in found.images:
        for label in sorted(set(image.labels) - set(class_names)):
            path = image.annotation_path
            file = image.name if by_image or path is None else name_below(found.root, path)
            faults.append(Fault(file, f"label {label!r} is not a class; accepted: {', '.join(map(repr, class_names))}"))
    return sorted(faults, key=lambda fault: fault.file)


class DetectionDataset(Dataset[Sample]):
    """Labelled images as samples, each augmented with its own seed.

    The augmentation of an image depends only on (seed, epoch, index), not on the worker or on earlier draws. A resumed
    run therefore sees the same samples as an uninterrupted one.
    """

    def __init__(
        self, data: LabelledImages, *, augment: Callable[[Sample], Sample] | None = None, seed: int = 0
    ) -> None:
        self._data = data
        self._augment = augment
        self._seed = seed
        self.epoch = 0

    @property
    def names(self) -> list[str]:
        """Name of each sample, for messages."""
        return [image.name for image in self._data.images]

    def __len__(self) -> int:
        return len(self._data.images)

    def __getitem__(self, index: int) -> Sample:
        image = self._data.images[index]
        sample = Sample(
            image=torch.from_numpy(load_pixels(image)).permute(2, 0, 1),
            boxes_xyxy=torch.from_numpy(image.boxes_xyxy),
            labels=torch.tensor(self._data.label_ids(image), dtype=torch.int64),
            index=index,
            ignored_xyxy=torch.from_numpy(image.ignored_xyxy),
        )
        if self._augment is None:
            return sample
        with torch.random.fork_rng(devices=[]):
            # torch.manual_seed would reset CUDA's generators too
            torch.default_generator.manual_seed(mixed_seed(self._seed, self.epoch, index))
            return self._augment(sample)


def epoch_order(count: int, *, seed: int, epoch: int) -> list[int]:
    """Return the order in which an epoch visits `count` images; it is the same in every process."""
    generator = torch.Generator().manual_seed(mixed_seed(seed, epoch))
    order: list[int] = torch.randperm(count, generator=generator).tolist()
    return order


def epoch_batches(count: int, *, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Divide the order of an epoch into batches. The last batch may be smaller."""
    order = epoch_order(count, seed=seed, epoch=epoch)
    return [order[first : first + batch_size] for first in range(0, count, batch_size)]


def batch_part(batch: Sequence[int], *, rank: int, size: int) -> list[int]:
    """Return the part of a batch that process `rank` of `size` computes.

    The parts are disjoint, make up the batch, and differ in length by at most one. A part is empty if the batch has
    fewer images than there are processes.
    """
    return list(batch[rank::size])


def collate(samples: Sequence[Sample]) -> list[Sample]:
    """Return a batch as a list, because its images differ in size."""
    return list(samples)


def to_network(batch: Sequence[Sample], device: torch.device) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Return the input of torchvision's Faster R-CNN in training.

    Returns:
        Images, float32 (3, H, W) in 0..1, and targets with `boxes`, float32 (N, 4) in px, `labels`, int64 (N,), and
        `ignored`, float32 (M, 4) in px.
    """
    pixels = [sample.image.to(device).float() / 255 for sample in batch]
    targets = [
        {
            "boxes": sample.boxes_xyxy.to(device),
            "labels": sample.labels.to(device),
            "ignored": sample.ignored_xyxy.to(device),
        }
        for sample in batch
    ]
    return pixels, targets
