"""Training samples from two sources: images of a dataset, and composites that are drawn anew in each epoch."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from training.config import ConfigError, TrainConfig
from training.data.dataset import DetectionDataset
from training.data.transforms import Augmentation, Sample, augmentation
from training.seeds import mixed_seed
from training.synthetic.composites.backgrounds import PREFIX
from training.synthetic.composites.compositor import Composite, CompositeOptions, Compositor, Pixels
from training.synthetic.composites.cutouts import read_cutouts
from training.synthetic.composites.parts import BACKDROPS, CLUTTER, OBJECTS

_STREAM = 3


class WithComposites(DetectionDataset):
    """A dataset's images followed by composites. Sample i of an epoch depends only on (seed, epoch, i)."""

    def __init__(
        self, images: DetectionDataset, folder: Path, class_names: tuple[str, ...], config: TrainConfig
    ) -> None:
        """Read the cut-outs and backdrops.

        Args:
            images: the dataset's images with their augmentation.
            folder: has the folders `objects`, `backdrops` and `clutter`; the last two may be missing.
            class_names: label i is `class_names[i - 1]`.
            config: training configuration with `composites` and `crop_px`.

        Raises:
            ConfigError: there are no cut-outs, or some are of no class.
        """
        cv2.setNumThreads(1)  # reader processes are forked: OpenCV's threads would be missing there, and waited for
        self._images, self._config, self._class_names = images, config, class_names
        self._count = config.composites
        self._compositor = open_compositor(folder, class_names, config)
        self._camera = camera_of(config)
        self.epoch = 0

    @property
    def names(self) -> list[str]:
        """Name of each sample, for messages."""
        return [*self._images.names, *(f"composite {number}" for number in range(self._count))]

    def __len__(self) -> int:
        return len(self._images) + self._count

    def __getitem__(self, index: int) -> Sample:
        if index < len(self._images):
            self._images.epoch = self.epoch
            return self._images[index]
        seed = mixed_seed(self._config.seed, self.epoch, index, _STREAM)
        sample = sample_of(self._compositor.draw(seed), self._class_names, index=index)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return self._camera(sample)


def camera_of(config: TrainConfig) -> Augmentation:
    """Return what a camera does to a composite, which has its size already."""
    as_they_are = {"scale_jitter": (1.0, 1.0), "aspect_jitter": 1.0, "crop_px": None}
    return augmentation(config.model_copy(update=as_they_are))


def sample_of(composite: Composite, class_names: Sequence[str], *, index: int) -> Sample:
    """Return a composite as a training sample; label i is `class_names[i - 1]`."""
    return Sample(
        image=torch.from_numpy(composite.pixels).permute(2, 0, 1).contiguous(),
        boxes_xyxy=torch.from_numpy(composite.boxes_xyxy),
        labels=torch.tensor([class_names.index(label) + 1 for label in composite.labels], dtype=torch.int64),
        index=index,
        ignored_xyxy=torch.from_numpy(composite.ignored_xyxy),
    )


def open_compositor(folder: Path, class_names: tuple[str, ...], config: TrainConfig) -> Compositor:
    """Read the cut-outs and backdrops of a folder; arguments and errors are those of `WithComposites`."""
    assert config.crop_px is not None
    objects = read_cutouts(folder / OBJECTS)
    if not objects:
        raise ConfigError(f"{folder / OBJECTS} holds no cut-outs; make them with: python -m training cutouts")
    if strangers := sorted({cutout.label for cutout in objects} - set(class_names)):
        raise ConfigError(
            f"{folder} has cut-outs of {', '.join(strangers)}, which are not classes; "
            f"the classes are {', '.join(class_names)}"
        )
    options = CompositeOptions(size_px=config.crop_px, picture_px=config.network_options().min_size)
    return Compositor(objects, read_backdrops(folder / BACKDROPS), options, clutter=read_cutouts(folder / CLUTTER))


def read_backdrops(folder: Path) -> list[Pixels]:
    """Read rendered backdrops and the user's photos; together the photos are about as likely as the renders."""
    paths = sorted(folder.glob("*.jpg"))
    photos = [path for path in paths if path.name.startswith(PREFIX)]
    backdrops = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    if photos:
        of_photos = [pixels for path, pixels in zip(paths, backdrops, strict=True) if path in photos]
        backdrops += of_photos * max(0, (len(paths) - len(photos)) // len(photos) - 1)
    return backdrops
