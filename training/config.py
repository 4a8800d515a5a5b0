"""TrainConfig: every hyperparameter of a training and the only home of its default.

The defaults are for a few hundred to a few thousand images; `training/configs/` holds a TOML for each run worth
repeating, which says only what differs.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
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

from model_store.architectures import ARCHITECTURES, NetworkOptions
from training.errors import TrainingError
from training.presets import CONFIGS, preset_names

Probability = float


class ConfigError(TrainingError, ValueError):
    """A hyperparameter or a preset that does not exist or is out of range; the message names all of them."""


class TrainConfig(BaseModel):
    """Everything that decides a training beside its images.

    Attributes:
        architecture: a key of `model_store.architectures.ARCHITECTURES`.
        weights: `coco`, `imagenet`, `none`, or a file or release to begin from.
        frozen_stages: so many of the backbone's stages, from the input on, are not trained.
        rois_per_image: proposals that the box head learns from in each image, a quarter of them on objects.
        rpn_proposals: proposals that stay in training after suppression in each image; as many from each level before.
        min_size: shorter side of the network's input, px; None takes the architecture's.
        max_size: the most for the longer side, px; None takes the architecture's.
        optimizer: `adamw` or `sgd`.
        learning_rate: the peak.
        momentum: of SGD.
        weight_decay: on weights of two and more dimensions; with `decay_all` on every parameter.
        decay_all: decay biases too, as the reference loop of 2021 does.
        schedule: `cosine` falls to zero at the last step; `step` multiplies by `step_gamma` every `step_epochs`.
        warmup_steps: the learning rate rises linearly over so many optimizer steps, at most over the first epoch.
        clip_norm: gradients are scaled down to this norm; 0 leaves them.
        ema_decay: the averaged weights keep this share at each step; 0 keeps no average.
        epochs: passes over the training images.
        batch_size: images for one optimizer step.
        horizontal_flip: probability.
        vertical_flip: probability.
        rotate90: probability of a turn by 90, 180 or 270 degrees.
        photometric: probability of a change in brightness, contrast, saturation, hue and channels.
        blur: probability of a Gaussian blur, sigma 0.3 to 2 px.
        noise: probability of Gaussian noise, sigma up to 20 of 255.
        jpeg: probability of a JPEG compression, quality 25 to 90.
        scale_jitter: smallest and largest zoom; (1, 1) leaves the size of things as it is.
        aspect_jitter: width and height are stretched apart by up to this factor; 1 leaves the shape of things.
        crop_px: train on square windows of this side, mostly on some with objects in them, instead of whole images:
            more objects for each second of training. The network's input rule still holds for finished detectors.
        box_margin: boxes are widened at every side by this share of their width and height, for training and for the
            hold-out alike: rendered ones are pixel-tight, those that people draw are not.
        min_visible: of a box cut by the zoom at least this share must remain, or the box goes.
        precision: `bf16` runs convolutions and linear layers in bfloat16 where the machine has it, `fp32` does not.
        channels_last: memory format of the convolutions.
        fold_norm: compute each frozen batch norm inside the convolution before it; the same arithmetic, faster.
        gather_rois: on a CPU, pool proposals with `roi_align.py`; the same numbers, faster.
        seed: of everything random.
        hold_out: images kept from training: below 1 a fraction, from 1 on a count; with groups, about as many.
        group_by: regular expression on image names; images with the same groups (or match) stay on one side.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    architecture: str = "fasterrcnn_resnet50_fpn"
    weights: str = "coco"
    frozen_stages: NonNegativeInt = 0
    rois_per_image: PositiveInt = 512
    rpn_proposals: PositiveInt = 2000
    min_size: PositiveInt | None = None
    max_size: PositiveInt | None = None
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
    blur: Probability = Field(0.0, ge=0, le=1)
    noise: Probability = Field(0.0, ge=0, le=1)
    jpeg: Probability = Field(0.0, ge=0, le=1)
    scale_jitter: tuple[PositiveFloat, PositiveFloat] = (0.7, 1.5)
    aspect_jitter: float = Field(1.0, ge=1, le=4)
    crop_px: PositiveInt | None = None
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
        if self.architecture not in ARCHITECTURES:
            raise ValueError(f"architecture {self.architecture!r} is unknown; known: {', '.join(ARCHITECTURES)}")
        if self.scale_jitter[0] > self.scale_jitter[1]:
            raise ValueError(f"scale_jitter {self.scale_jitter} is not smallest, largest")
        try:
            re.compile(self.group_by or "")
        except re.error as error:
            raise ValueError(f"group_by {self.group_by!r} is no regular expression: {error}") from None
        return self

    def network_options(self) -> NetworkOptions:
        """Return the network's options: the architecture's own with this configuration's sizes."""
        sizes = {"min_size": self.min_size, "max_size": self.max_size}
        given = {key: value for key, value in sizes.items() if value is not None}
        if self.min_size is not None and self.max_size is None:
            own = ARCHITECTURES[self.architecture].options
            given["max_size"] = max(own.max_size, self.min_size)
        return ARCHITECTURES[self.architecture].options.model_copy(update=given)


def resolve(preset: str | None, overrides: Mapping[str, Any]) -> TrainConfig:
    """Build a configuration: defaults, then a preset, then single values.

    Args:
        preset: a name from `preset_names`, or the path of a TOML file; None for the defaults alone.
        overrides: field -> value; text is read as the field's type.

    Raises:
        ConfigError: an unknown preset or field, or a value out of range; all of them in one message.
    """
    return validate({**(_read_preset(preset) if preset else {}), **overrides})


def validate(values: Mapping[str, Any]) -> TrainConfig:
    """Build a configuration from field -> value.

    Raises:
        ConfigError: as `resolve`.
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
    """Read `field=value` texts as the command line gives them; the value is TOML, else plain text.

    Raises:
        ConfigError: no `=` in it.
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
