"""Augmentations that move pixels and boxes together. All random draws use torch's global generator."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from io import BytesIO

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F  # noqa: N812

from rendersight import images
from training.config import TrainConfig


@dataclass(frozen=True, eq=False)
class Sample:
    """One image with its targets.

    Attributes:
        image: uint8 (3, H, W), RGB.
        boxes_xyxy: float32 (N, 4), px, inside the image and with a positive area.
        labels: int64 (N,), 1..K.
        index: index of the image in its dataset.
        ignored_xyxy: float32 (M, 4), px: regions that are neither object nor background.
    """

    image: Tensor
    boxes_xyxy: Tensor
    labels: Tensor
    index: int
    ignored_xyxy: Tensor = field(default_factory=lambda: torch.zeros(0, 4))

    def select(self, keep: Tensor) -> "Sample":
        """Return the sample with only the boxes and labels that a bool mask (N,) keeps."""
        return replace(self, boxes_xyxy=self.boxes_xyxy[keep], labels=self.labels[keep])

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width, px."""
        return int(self.image.shape[-2]), int(self.image.shape[-1])


Augmentation = Callable[[Sample], Sample]


def augmentation(config: TrainConfig) -> Augmentation:
    """Return the augmentations of a configuration as one function."""
    steps: list[Augmentation] = []
    if config.scale_jitter != (1.0, 1.0) or config.aspect_jitter > 1 or config.crop_px:
        options = config.network_options()
        zoom = Zoom(
            *config.scale_jitter,
            min_visible=config.min_visible,
            most_stretch=config.aspect_jitter,
            crop_px=config.crop_px,
            input_px=(options.min_size, options.max_size),
        )
        steps.append(zoom)
    if config.horizontal_flip:
        steps.append(Sometimes(config.horizontal_flip, flip_horizontally))
    if config.vertical_flip:
        steps.append(Sometimes(config.vertical_flip, flip_vertically))
    if config.rotate90:
        steps.append(Sometimes(config.rotate90, rotate_by_quarters))
    # the order in which these happen in a camera
    for probability, step in (
        (config.photometric, change_light if config.keep_colours else distort_colours),
        (config.blur, blur),
        (config.noise, add_noise),
        (config.jpeg, compress),
    ):
        if probability:
            steps.append(Sometimes(probability, step))
    return Chain(tuple(steps))


@dataclass(frozen=True)
class Chain:
    """Sequence of augmentations."""

    steps: tuple[Augmentation, ...]

    def __call__(self, sample: Sample) -> Sample:
        """Apply every step in order."""
        for step in self.steps:
            sample = step(sample)
        return sample


@dataclass(frozen=True)
class Sometimes:
    """Augmentation that is applied with a given probability."""

    probability: float
    step: Augmentation

    def __call__(self, sample: Sample) -> Sample:
        """Apply the step at random, or return the sample unchanged."""
        return self.step(sample) if float(torch.rand(())) < self.probability else sample


def flip_horizontally(sample: Sample) -> Sample:
    """Mirror left and right."""
    return _move(sample, F.horizontal_flip)


def flip_vertically(sample: Sample) -> Sample:
    """Mirror top and bottom."""
    return _move(sample, F.vertical_flip)


def rotate_by_quarters(sample: Sample) -> Sample:
    """Rotate counter-clockwise by 90, 180 or 270 degrees, chosen uniformly."""
    return turn(sample, quarters=int(torch.randint(1, 4, ())))


def turn(sample: Sample, *, quarters: int) -> Sample:
    """Rotate counter-clockwise by a number of quarter turns."""
    image = torch.rot90(sample.image, quarters, (1, 2)).contiguous()
    boxes, ignored = (_turn_boxes(item, sample.size_hw, quarters) for item in (sample.boxes_xyxy, sample.ignored_xyxy))
    return replace(sample, image=image, boxes_xyxy=boxes, ignored_xyxy=ignored)


def _turn_boxes(boxes: Tensor, size_hw: tuple[int, int], quarters: int) -> Tensor:
    width = size_hw[1]
    for _ in range(quarters % 4):
        # a point (x, y) of an image `width` wide goes to (y, width - x)
        boxes = torch.stack((boxes[:, 1], width - boxes[:, 2], boxes[:, 3], width - boxes[:, 0]), dim=1)
        width = size_hw[0] if width == size_hw[1] else size_hw[1]
    return boxes


_distort = v2.RandomPhotometricDistort(p=0.5)


def distort_colours(sample: Sample) -> Sample:
    """Change brightness, contrast, saturation, hue and the order of channels, each with probability 0.5."""
    return replace(sample, image=_distort(tv_tensors.Image(sample.image)).as_subclass(Tensor))


_LIGHT = (
    (F.adjust_brightness, 0.875, 1.125),
    (F.adjust_contrast, 0.5, 1.5),
    (F.adjust_saturation, 0.5, 1.5),
    (F.adjust_hue, -0.03, 0.03),
)
"""Changes and their ranges: those of torchvision's RandomPhotometricDistort, with less hue."""


def change_light(sample: Sample) -> Sample:
    """Change brightness, contrast, saturation and hue, each with probability 0.5. Red stays red."""
    image = sample.image
    for change, low, high in _LIGHT:
        if float(torch.rand(())) < 0.5:  # noqa: PLR2004
            image = change(image, _uniform(low, high))
    return replace(sample, image=image)


_MOST_NOISE = 20.0


def blur(sample: Sample) -> Sample:
    """Blur with a Gaussian of sigma 0.3 to 2 px, drawn uniformly."""
    # Pillow's blur takes a third of the time of torchvision's
    picture = _picture(sample.image).filter(ImageFilter.GaussianBlur(_uniform(0.3, 2.0)))
    return replace(sample, image=torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous())


def add_noise(sample: Sample) -> Sample:
    """Add Gaussian noise of sigma 0 to 20 (of 255), drawn uniformly, to every channel of every pixel."""
    sigma = _MOST_NOISE * torch.rand(())
    noisy = sample.image + sigma * torch.randn(sample.image.shape)
    return replace(sample, image=noisy.round().clamp(0, 255).to(torch.uint8))


def compress(sample: Sample) -> Sample:
    """Encode the image as JPEG of quality 25 to 90, drawn uniformly, and decode it again."""
    file = BytesIO()
    _picture(sample.image).save(file, "JPEG", quality=int(torch.randint(25, 91, ())))
    return replace(sample, image=torch.from_numpy(images.decode(file.getvalue())).permute(2, 0, 1).contiguous())


def _picture(image: Tensor) -> Image.Image:
    return Image.fromarray(image.permute(1, 2, 0).numpy())


_WINDOW_TRIES = 4


@dataclass(frozen=True)
class Zoom:
    """Random zoom and stretch: cut a window out of the image, or place the image on a larger plain ground.

    Attributes:
        smallest: smallest zoom; below 1 the whole image is shown on a plain ground.
        largest: largest zoom; above 1 a part of the image is shown.
        min_visible: boxes with a smaller visible share are dropped.
        most_stretch: largest factor by which width and height are stretched apart, as in a photo that was squeezed into
            a square.
        crop_px: side of the square result, px; None keeps the image's size. With `crop_px`, a few windows are drawn,
            and the first one that shows an object is taken, else the last.
        input_px: shorter side and upper limit of the longer side, px, of the finished detector's input. Windows show
            objects at the size that the detector will see, times the zoom.
    """

    smallest: float
    largest: float
    min_visible: float
    most_stretch: float = 1.0
    crop_px: int | None = None
    input_px: tuple[int, int] | None = None

    def __call__(self, sample: Sample) -> Sample:
        """Draw a zoom and a stretch, uniform in their logarithms, and a window position, and apply them."""
        zoom = _log_uniform(self.smallest, self.largest)
        stretch = math.sqrt(_log_uniform(1 / self.most_stretch, self.most_stretch)) if self.most_stretch > 1 else 1.0
        height, width = sample.size_hw
        if self.crop_px and self.input_px:
            zoom *= min(self.input_px[0] / min(height, width), self.input_px[1] / max(height, width))
        out_h, out_w = (self.crop_px, self.crop_px) if self.crop_px else (height, width)
        window_h, window_w = max(1, round(out_h / zoom * stretch)), max(1, round(out_w / zoom / stretch))
        for _ in range(_WINDOW_TRIES if self.crop_px else 1):
            top, left = (
                int(_uniform(min(0, a - b), max(0, a - b))) for a, b in ((height, window_h), (width, window_w))
            )
            middle = (sample.boxes_xyxy[:, :2] + sample.boxes_xyxy[:, 2:]) / 2 - torch.tensor([left, top])
            if ((middle > 0) & (middle < torch.tensor([window_w, window_h]))).all(dim=1).any():
                break
        return zoom_to(
            sample,
            top=top,
            left=left,
            window_hw=(window_h, window_w),
            out_hw=(out_h, out_w),
            min_visible=self.min_visible,
        )


def _log_uniform(low: float, high: float) -> float:
    start, end = torch.log(torch.tensor([low, high]))
    return float(torch.exp(start + (end - start) * torch.rand(())))


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))


def zoom_to(
    sample: Sample,
    *,
    top: int,
    left: int,
    window_hw: tuple[int, int],
    min_visible: float,
    out_hw: tuple[int, int] | None = None,
) -> Sample:
    """Cut out one window and resize it. Parts of the window outside the image get one random colour.

    Args:
        sample: the image and its boxes.
        top: first row of the window, px; negative above the image.
        left: first column of the window, px; negative left of the image.
        window_hw: height and width of the window, px.
        min_visible: boxes with a smaller share of their area in the window are dropped.
        out_hw: height and width of the result, px; None takes the image's own size.
    """
    height, width = sample.size_hw
    out_h, out_w = out_hw or (height, width)
    window_h, window_w = window_hw
    pad = [max(0, -left), max(0, -top), max(0, left + window_w - width), max(0, top + window_h - height)]
    image = sample.image
    if any(pad):
        fill = torch.randint(0, 256, (3,)).tolist()
        image = F.pad(image, pad, fill=fill)
    image = F.resized_crop(image, top + pad[1], left + pad[0], window_h, window_w, [out_h, out_w], antialias=True)
    origin = torch.tensor([left, top, left, top], dtype=torch.float32)
    scale = torch.tensor([out_w / window_w, out_h / window_h] * 2, dtype=torch.float32)
    limits = torch.tensor([out_w, out_h] * 2, dtype=torch.float32)
    whole = (sample.boxes_xyxy - origin) * scale
    visible = torch.minimum(whole.clamp(min=0), limits)
    share = _areas(visible) / _areas(whole)
    ignored = torch.minimum(((sample.ignored_xyxy - origin) * scale).clamp(min=0), limits)
    cut = visible[(share < min_visible) & (share > 0)]  # what is left of an object is no background
    ignored = torch.cat([ignored[_areas(ignored) > 0], cut])
    return replace(sample, image=image, boxes_xyxy=visible, ignored_xyxy=ignored).select(share >= min_visible)


def _areas(boxes_xyxy: Tensor) -> Tensor:
    return (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).clamp(min=0).prod(dim=1)


def _move(sample: Sample, move: Callable[[Tensor], Tensor]) -> Sample:
    boxes, ignored = (
        move(tv_tensors.BoundingBoxes(item, format="XYXY", canvas_size=sample.size_hw)).as_subclass(Tensor)
        for item in (sample.boxes_xyxy, sample.ignored_xyxy)
    )
    return replace(sample, image=move(sample.image), boxes_xyxy=boxes, ignored_xyxy=ignored)
