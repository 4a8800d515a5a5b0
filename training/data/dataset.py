"""Annotated images -> a torch Dataset; class names, split and collate."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from rendersight.annotations import AnnotatedImage, AnnotationError, Fault
from rendersight.annotations.folder import Folder, load_pixels, read_folder
from rendersight.annotations.formats import FORMATS
from rendersight.annotations.tree import name_below
from training.console import Bar, progress_bar
from training.data.transforms import Sample
from training.seeds import mixed_seed


class BrokenDataset(AnnotationError):
    """A dataset that cannot be trained on; the message lists every fault, a line each."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        lines = "\n".join(f"  {fault}" for fault in faults)
        super().__init__(f"{len(faults)} of the dataset's files cannot be used:\n{lines}")


@dataclass(frozen=True)
class LabelledImages:
    """Images with boxes of known classes; label i is `class_names[i - 1]`, 0 the background."""

    images: tuple[AnnotatedImage, ...]
    class_names: tuple[str, ...]

    def select(self, names: Sequence[str]) -> "LabelledImages":
        """Return the images of these names, in the order of the dataset.

        Raises:
            AnnotationError: a name that is not in it.
        """
        wanted = set(names)
        if strangers := sorted(wanted - {image.name for image in self.images}):
            raise AnnotationError(
                f"{len(strangers)} of the images listed are not in the dataset, such as {strangers[0]}"
            )
        return LabelledImages(tuple(image for image in self.images if image.name in wanted), self.class_names)

    def of_split(self, split: str) -> "LabelledImages":
        """Return the images that the dataset's files put into a split.

        Raises:
            AnnotationError: there are none.
        """
        found = tuple(image for image in self.images if split in image.splits)
        if not found:
            known = ", ".join(sorted({name for image in self.images for name in image.splits})) or "none"
            raise AnnotationError(f"no image is in the split {split!r}; the dataset's files name {known}")
        return LabelledImages(found, self.class_names)

    def widened(self, margin: float) -> "LabelledImages":
        """Return the images with boxes that stand off at every side, as people draw them; pixel-tight ones do not.

        Args:
            margin: how far, in shares of the box's own width and height; boxes end at the image's edge.
        """
        if not margin:
            return self
        return LabelledImages(tuple(_widen(image, margin) for image in self.images), self.class_names)

    def label_ids(self, image: AnnotatedImage) -> list[int]:
        """Return the numbers 1..K of an image's labels."""
        return [self.class_names.index(label) + 1 for label in image.labels]

    def fingerprint(self) -> str:
        """Return a sha256 over names, sizes, boxes (to 0.01 px) and labels: equal for equal datasets anywhere."""
        digest = hashlib.sha256("\n".join(self.class_names).encode())
        for image in self.images:
            boxes = [[f"{value:.2f}" for value in box] for box in image.boxes_xyxy.tolist()]
            digest.update(repr((image.name, image.size_wh, boxes, image.labels)).encode())
        return digest.hexdigest()


def with_margin(name: str, margin: float) -> str:
    """Say beside the name of a data set that its boxes are widened."""
    return f"{name}, boxes widened by {margin:.0%} a side" if margin else name


def _widen(image: AnnotatedImage, margin: float) -> AnnotatedImage:
    boxes = image.boxes_xyxy
    room = (boxes[:, 2:] - boxes[:, :2]) * np.float32(margin)
    wide = np.concatenate([boxes[:, :2] - room, boxes[:, 2:] + room], axis=1)
    return replace(image, boxes_xyxy=np.clip(wide, 0, np.array([*image.size_wh] * 2, np.float32)))


def read_dataset(
    folder: Path,
    *,
    class_names: Sequence[str] | None = None,
    format: str | None = None,  # noqa: A002
    bar: Bar = progress_bar,
) -> LabelledImages:
    """Read a dataset for training or evaluation.

    Args:
        folder: in any format, or the file that describes it; see `rendersight.annotations.folder.read_folder`.
        class_names: the classes in their order; None takes those of the data, sorted.
        format: a key of `rendersight.annotations.formats.FORMATS`; None recognises it.
        bar: a progress bar, as tqdm.

    Raises:
        BrokenDataset: files that cannot be used, or labels that are no class; all at once.
        AnnotationError: no such folder, or no image or no class in it.
    """
    found = read_folder(folder, format=format, bar=bar)
    known = tuple(class_names or names_in(found))
    if faults := all_faults(found, known):
        raise BrokenDataset(faults)
    if not found.images:
        raise AnnotationError(f"{folder} holds no images")
    if not known:
        raise AnnotationError(f"{folder} holds no labelled object; name the classes with --labels")
    return LabelledImages(found.images, known)


def names_in(found: Folder) -> list[str]:
    """Return the labels of a folder's images, sorted."""
    return sorted({label for image in found.images for label in image.labels})


def all_faults(found: Folder, class_names: Sequence[str]) -> list[Fault]:
    """Return a folder's faults and its labels that are no class, by file."""
    faults = list(found.faults)
    by_image = not FORMATS[found.format].has_file_each
    for image in found.images:
        for label in sorted(set(image.labels) - set(class_names)):
            path = image.annotation_path
            file = image.name if by_image or path is None else name_below(found.root, path)
            faults.append(Fault(file, f"label {label!r} is no class; the classes are {', '.join(class_names)}"))
    return sorted(faults, key=lambda fault: fault.file)


def split(
    data: LabelledImages, *, hold_out: float, seed: int, group_by: str | None = None
) -> tuple[LabelledImages, LabelledImages]:
    """Divide a dataset into a training and a hold-out part by a seeded permutation.

    Args:
        data: at least two images.
        hold_out: below 1 a fraction of the images, from 1 on a count.
        seed: of the permutation; the last ones of it are held out.
        group_by: regular expression searched in each name; images that match with the same groups (the whole match
            where there are none) stay on one side. Groups are held out until at least `hold_out` images are.

    Returns:
        The training and the hold-out part, neither of them empty, each in the order of the dataset.

    Raises:
        AnnotationError: a part would be empty, or the expression does not match a name.
    """
    wanted = round(len(data.images) * hold_out) if hold_out < 1 else round(hold_out)
    groups: dict[str, list[str]] = {}
    for image in data.images:
        groups.setdefault(_group(image.name, group_by), []).append(image.name)
    order = torch.randperm(len(groups), generator=torch.Generator().manual_seed(seed)).tolist()
    keys = sorted(groups)
    held: set[str] = set()
    for index in reversed(order):
        if len(held) >= wanted:
            break
        held.update(groups[keys[index]])
    if not held or len(held) == len(data.images):
        raise AnnotationError(
            f"hold_out {hold_out:g} of {len(data.images)} images in {len(groups)} groups leaves a part empty"
        )
    rest = [image.name for image in data.images if image.name not in held]
    return data.select(rest), data.select(sorted(held))


def own_split(data: LabelledImages) -> tuple[LabelledImages, LabelledImages] | None:
    """Divide a dataset as its files do into what they call train, and val to hold out; `test` is in neither.

    Returns:
        None where they do not: an image in both is for training, and neither part may be empty.
    """
    train, held = [], []
    for image in data.images:
        if "train" in image.splits or ("trainval" in image.splits and "val" not in image.splits):
            train.append(image)
        elif "val" in image.splits:
            held.append(image)
    if not train or not held:
        return None
    return LabelledImages(tuple(train), data.class_names), LabelledImages(tuple(held), data.class_names)


def without_test(data: LabelledImages) -> LabelledImages:
    """Leave out the images that a dataset's files keep for the test alone."""
    return LabelledImages(tuple(image for image in data.images if image.splits != ("test",)), data.class_names)


def split_by_names(data: LabelledImages, hold_out: Sequence[str]) -> tuple[LabelledImages, LabelledImages]:
    """Divide a dataset into all but the images of some names, and those; neither may be empty.

    Raises:
        AnnotationError: a name that is not in the dataset, or a part would be empty.
    """
    held = data.select(hold_out)
    names = {image.name for image in held.images}
    rest = [image.name for image in data.images if image.name not in names]
    if not rest or not names:
        raise AnnotationError(f"a list of {len(names)} of {len(data.images)} images to hold out leaves a part empty")
    return data.select(rest), held


def _group(name: str, pattern: str | None) -> str:
    if pattern is None:
        return name
    match = re.search(pattern, name)
    if match is None:
        raise AnnotationError(f"group_by {pattern!r} does not match {name!r}")
    return "\0".join(part or "" for part in match.groups()) if match.groups() else match.group()


class DetectionDataset(Dataset[Sample]):
    """Labelled images as samples, each augmented from a seed of its own.

    The augmentation of an image depends on (seed, epoch, index) alone, never on the worker that makes it or on what
    was drawn before, so that a resumed run sees what an uninterrupted one would have seen.
    """

    def __init__(
        self, data: LabelledImages, *, augment: Callable[[Sample], Sample] | None = None, seed: int = 0
    ) -> None:
        self._data = data
        self._augment = augment
        self._seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self._data.images)

    def __getitem__(self, index: int) -> Sample:
        image = self._data.images[index]
        sample = Sample(
            image=torch.from_numpy(load_pixels(image)).permute(2, 0, 1),
            boxes_xyxy=torch.from_numpy(image.boxes_xyxy),
            labels=torch.tensor(self._data.label_ids(image), dtype=torch.int64),
            index=index,
        )
        if self._augment is None:
            return sample
        with torch.random.fork_rng(devices=[]):
            # torch.manual_seed would reset CUDA's generators too, which draw the training's samples of proposals
            torch.default_generator.manual_seed(mixed_seed(self._seed, self.epoch, index))
            return self._augment(sample)


def collate(samples: Sequence[Sample]) -> list[Sample]:
    """Keep a batch as a list: images differ in size."""
    return list(samples)


def to_network(batch: Sequence[Sample], device: torch.device) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Return images, float32 (3, H, W) in 0..1, and targets as torchvision's Faster R-CNN takes them in training."""
    pixels = [sample.image.to(device).float() / 255 for sample in batch]
    targets = [{"boxes": sample.boxes_xyxy.to(device), "labels": sample.labels.to(device)} for sample in batch]
    return pixels, targets
