"""Every hyperparameter of a training run and its default, in `TrainConfig`.

The defaults suit a few hundred to a few thousand images. `training/configs/` holds a TOML file for each run worth
repeating. A TOML file sets only the values that differ from the defaults.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from model_store import store
from model_store.architectures import ARCHITECTURES, NetworkOptions, recognise
from model_store.errors import ModelError, ReleaseNotFound
from model_store.model_info import MOST_DETECTIONS
from model_store.state_dict import read_state_dict
from model_store.store import DEFAULT_ROOT, Release
from training.errors import TrainingError
from training.presets import CONFIGS, preset_names

Probability = float

AUTO = "auto"
ARCHITECTURE_FOR = {"cpu": "fasterrcnn_mobilenet_v2_fpn", "cuda": "fasterrcnn_resnet50_fpn"}
"""The architecture that `auto` means, by the kind of device. ResNet-50 takes minutes for a step on a CPU."""

_INPUT = ("min_size", "max_size")


class ConfigError(TrainingError, ValueError):
    """An unknown hyperparameter or preset, or a value out of range. The message names every fault."""


class TrainConfig(BaseModel):
    """The settings that, together with the images, determine a training run.

    Attributes:
        architecture: a key of `model_store.architectures.ARCHITECTURES`. `resolve` replaces `auto` by the architecture
            of the release in `weights`, else by one that suits the device.
        weights: initial weights: `coco`, `imagenet`, `none`, a file, or a release. `resolve` replaces `auto` by `coco`,
            or by `imagenet` if the architecture has no COCO weights.
        frozen_stages: number of backbone stages, counted from the input, that are not trained.
        rois_per_image: proposals per image that the box head learns from.
        object_share: largest share of those that lies on objects; background fills the rest.
        rpn_proposals: most proposals per image that training keeps after suppression. The same limit applies to each
            feature level before suppression.
        min_size: shorter side of the network's input, px; None takes the architecture's.
        max_size: upper limit of the longer side, px; None takes the architecture's.
        detections_per_image: most objects that the network reports in an image; None takes the architecture's, 100.
            More objects need more proposals: the network gets at least twice as many.
        one_label_per_object: classes exclude each other: of boxes of different classes that overlap, the finished
            detector reports only the best one. Training itself does not change.
        optimizer: `adamw` or `sgd`.
        learning_rate: peak learning rate.
        momentum: momentum of SGD.
        weight_decay: decay of parameters with two or more dimensions; with `decay_all`, of every parameter.
        decay_all: decay biases too, as the preset `notebook-2021` does.
        schedule: `cosine` falls to zero at the last step; `step` multiplies by `step_gamma` every `step_epochs`.
        warmup_steps: optimizer steps over which the learning rate rises linearly; at most the first epoch.
        clip_norm: largest gradient norm; larger gradients are scaled down. 0 disables clipping.
        ema_decay: share of the averaged weights that each step keeps; 0 disables averaging.
        epochs: passes over the training images.
        batch_size: images per optimizer step.
        horizontal_flip: probability of a left-right flip.
        vertical_flip: probability of a top-bottom flip.
        rotate90: probability of a rotation by 90, 180 or 270 degrees.
        photometric: probability of a change in brightness, contrast, saturation, hue and the order of channels.
        keep_colours: the objects' colours belong to them: `photometric` leaves the order of channels alone.
        blur: probability of a Gaussian blur, sigma 0.3 to 2 px.
        noise: probability of Gaussian noise, sigma up to 20 of 255.
        jpeg: probability of JPEG compression, quality 25 to 90.
        scale_jitter: smallest and largest zoom; (1, 1) keeps the size of objects.
        aspect_jitter: largest factor by which width and height are stretched apart; 1 keeps the shape of objects.
        crop_px: side of square windows to train on instead of whole images. Windows with objects are preferred, so
            each second of training sees more objects. Finished detectors still follow the network's input rule.
        composites: windows per epoch that are composed from cut-outs (`training.synthetic.composites`), beside the
            images of the dataset. Needs `crop_px` and a folder of cut-outs.
        anchor_sizes: sides of the square anchors of each feature level, px of the network's input; None takes the
            architecture's.
        box_margin: share of a box's width and height by which each side moves outwards, in training and hold-out
            images. Rendered boxes are pixel-tight; boxes drawn by people are not.
        min_visible: smallest share of a box that the zoom must leave visible; other boxes are dropped.
        precision: `bf16` runs convolutions and linear layers in bfloat16 if the machine supports it natively; `fp32`
            never does.
        channels_last: store images and convolution weights in the channels_last memory format.
        fold_norm: compute each frozen batch norm inside the convolution before it; equivalent but faster.
        gather_rois: pool proposals with `roi_align.py` on a CPU; equivalent but faster.
        seed: seed of all random draws.
        hold_out: images excluded from training; a fraction below 1, a count from 1 on. With `group_by`, whole groups
            are held out until at least this many images are.
        group_by: regular expression on image names. Images whose capture groups match the same text stay in one part;
            without capture groups, the whole match counts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    architecture: str = AUTO
    weights: str = AUTO
    frozen_stages: NonNegativeInt = 0
    rois_per_image: PositiveInt = 512
    object_share: float = Field(0.25, gt=0, lt=1)
    rpn_proposals: PositiveInt = 2000
    min_size: PositiveInt | None = None
    max_size: PositiveInt | None = None
    detections_per_image: int | None = Field(None, ge=1, le=MOST_DETECTIONS)
    one_label_per_object: bool = False
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: PositiveFloat = 3e-4
    momentum: NonNegativeFloat = 0.9
    weight_decay: NonNegativeFloat = 0.01
    decay_all: bool = False
    schedule: Literal["cosine", "step"] = "cosine"
    step_epochs: PositiveInt = 3
    step_gamma: PositiveFloat = 0.1
    warmup_steps: NonNegativeInt = 100
    clip_norm: NonNegativeFloat = 10.0
    ema_decay: NonNegativeFloat = Field(0.998, lt=1)
    epochs: PositiveInt = 30
    batch_size: PositiveInt = 4
    horizontal_flip: Probability = Field(0.5, ge=0, le=1)
    vertical_flip: Probability = Field(0.0, ge=0, le=1)
    rotate90: Probability = Field(0.0, ge=0, le=1)
    photometric: Probability = Field(0.5, ge=0, le=1)
    keep_colours: bool = False
    blur: Probability = Field(0.0, ge=0, le=1)
    noise: Probability = Field(0.0, ge=0, le=1)
    jpeg: Probability = Field(0.0, ge=0, le=1)
    scale_jitter: tuple[PositiveFloat, PositiveFloat] = (0.7, 1.5)
    aspect_jitter: float = Field(1.0, ge=1, le=4)
    crop_px: PositiveInt | None = None
    composites: NonNegativeInt = 0
    anchor_sizes: tuple[tuple[PositiveInt, ...], ...] | None = None
    box_margin: NonNegativeFloat = Field(0.0, lt=1)
    min_visible: float = Field(0.4, gt=0, le=1)
    precision: Literal["bf16", "fp32"] = "bf16"
    channels_last: bool = True
    fold_norm: bool = True
    gather_rois: bool = True
    seed: NonNegativeInt = 0
    hold_out: PositiveFloat = 0.2
    group_by: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.architecture not in (AUTO, *ARCHITECTURES):
            raise ValueError(f"architecture {self.architecture!r} is unknown; known: auto, {', '.join(ARCHITECTURES)}")
        if self.scale_jitter[0] > self.scale_jitter[1]:
            raise ValueError(f"scale_jitter {self.scale_jitter} is not smallest, largest")
        if self.composites and self.crop_px is None:
            raise ValueError("composites need crop_px")
        try:
            re.compile(self.group_by or "")
        except re.error as error:
            raise ValueError(f"group_by {self.group_by!r} is no regular expression: {error}") from None
        return self

    def network_options(self) -> NetworkOptions:
        """Return the architecture's network options, with those of this configuration if set."""
        options = ARCHITECTURES[self.architecture].options
        if self.min_size is not None:
            options = options.resized(self.min_size)
        given = {
            "max_size": self.max_size,
            "anchor_sizes": self.anchor_sizes,
            "one_label_per_object": self.one_label_per_object,
        }
        options = options.model_copy(update={name: value for name, value in given.items() if value is not None})
        return options if self.detections_per_image is None else options.reporting(self.detections_per_image)


def resolve(
    preset: str | None, overrides: Mapping[str, Any], *, device: str = "cpu", store_root: Path = DEFAULT_ROOT
) -> TrainConfig:
    """Build a configuration from the defaults, a preset and single values; the later ones win.

    If `weights` is a release, its architecture, input sizes, anchors, maximum number of detections and whether objects
    have one label replace the defaults. If `weights` is the state dict of a detector, its architecture does.

    Args:
        preset: a name from `preset_names`, or the path of a TOML file; None takes the defaults alone.
        overrides: field -> value; text is converted to the field's type.
        device: device to train on, `cpu` or `cuda:N`; it chooses the architecture if nothing else does.
        store_root: folder of the model store.

    Raises:
        ConfigError: a preset or field is unknown, or a value is out of range. The message names every fault.
        BrokenRelease: the release in `weights` is invalid.
    """
    values = {**(_read_preset(preset) if preset else {}), **overrides}
    config = validate(values)
    chosen: dict[str, Any] = {}
    origin = _origin(config.weights, store_root)
    release = origin if isinstance(origin, Release) else None
    if config.architecture == AUTO:
        known = origin.manifest.architecture if isinstance(origin, Release) else _architecture_of(origin)
        chosen["architecture"] = known or ARCHITECTURE_FOR[device.partition(":")[0]]
    architecture = chosen.get("architecture", config.architecture)
    if release and release.manifest.architecture == architecture:
        manifest = release.manifest
        brought: dict[str, Any] = {
            "detections_per_image": manifest.detections_per_image,
            "anchor_sizes": manifest.options.get("anchor_sizes"),
            "one_label_per_object": manifest.one_label_iou is not None,
        }
        if not set(_INPUT) & values.keys():
            brought |= {name: getattr(manifest.input, name) for name in _INPUT}
        chosen |= {name: value for name, value in brought.items() if name not in values}
    if config.weights == AUTO:
        chosen["weights"] = "imagenet" if architecture == ARCHITECTURE_FOR["cpu"] else "coco"
    return validate({**values, **chosen})


def _origin(weights: str, store_root: Path) -> Release | Path | None:
    """Return the release or file that initial weights name; None for other weights, and for what does not exist."""
    for root in (store_root, DEFAULT_ROOT):  # `load_initial_weights` looks there too, and reports what is missing
        with suppress(ReleaseNotFound):
            return store.locate(root, weights)
    return None


def _architecture_of(path: Path | None) -> str | None:
    """Return the architecture of a detector's state dict; None for other files, such as those of a backbone."""
    try:
        return None if path is None else recognise(read_state_dict(path), file_name=path.name).name
    except (ModelError, OSError):  # `load_initial_weights` reports it
        return None


def validate(values: Mapping[str, Any]) -> TrainConfig:
    """Build a configuration from a mapping of field names to values.

    Raises:
        ConfigError: a field is unknown, or a value is out of range.
    """
    try:
        return TrainConfig.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(item) for item in error.errors())) from None


def _explain(item: Mapping[str, Any]) -> str:
    name = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"{name} is no hyperparameter; there are {', '.join(TrainConfig.model_fields)}"
    return f"{name} is {item['input']!r}: {item['msg']}" if name else str(item["msg"])


def _read_preset(preset: str) -> dict[str, Any]:
    path = Path(preset) if preset.endswith(".toml") else CONFIGS / f"{preset}.toml"
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError:
        raise ConfigError(
            f"preset {preset!r} is unknown; there are {', '.join(preset_names())}, or the path of a TOML file"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from None


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """Parse `field=value` arguments. A value that is not valid TOML is taken as plain text.

    Raises:
        ConfigError: an argument has no `=`.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"{assignment!r} is not of the form hyperparameter=value")
        try:
            values[name.strip()] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            values[name.strip()] = text
    return values
