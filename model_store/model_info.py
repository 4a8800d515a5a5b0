"""Descriptions of a loaded model, either a release or a bare state dict."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model_store.errors import BrokenStateDict
from model_store.manifest import InputRule, Manifest, Metrics
from model_store.store import WEIGHTS

DEFAULT_SCORE_THRESHOLD = 0.5
"""Threshold for models without a recommended one."""


@dataclass(frozen=True)
class NetworkFacts:
    """Properties of a network, from its tensors and its options.

    Attributes:
        architecture: a key of `ARCHITECTURES`.
        class_count: K, without the background.
        score_floor: the network returns nothing at or below this score.
        detections_per_image: maximum number of detections that the network returns.
        input: conversion of an image into the network's input.
    """

    architecture: str
    class_count: int
    score_floor: float
    detections_per_image: int
    input: InputRule


@dataclass(frozen=True)
class ModelInfo:
    """The description of a loaded model, either a release or a bare state dict.

    Attributes:
        name: the release's name, or the file's stem.
        version: the release's number as text; for a bare state dict the first 12 digits of its sha256.
        architecture: a key of `ARCHITECTURES`.
        class_names: K names; label i is `class_names[i - 1]`.
        sha256: sha256 of the state dict's file.
        score_floor: the network returns nothing at or below this score.
        score_threshold: the recommended threshold.
        detections_per_image: maximum number of detections that the network returns.
        input: conversion of an image into the network's input.
        metrics: figures of the release; empty for a bare state dict.
    """

    name: str
    version: str
    architecture: str
    class_names: tuple[str, ...]
    sha256: str
    score_floor: float
    score_threshold: float
    detections_per_image: int
    input: InputRule
    metrics: tuple[Metrics, ...] = ()


def release_info(manifest: Manifest) -> ModelInfo:
    """Return the description of a release's model."""
    return ModelInfo(
        name=manifest.name,
        version=str(manifest.version),
        architecture=manifest.architecture,
        class_names=manifest.class_names,
        sha256=manifest.files[WEIGHTS],
        score_floor=manifest.score_floor,
        score_threshold=manifest.score_threshold,
        detections_per_image=manifest.detections_per_image,
        input=manifest.input,
        metrics=manifest.metrics,
    )


def state_dict_info(path: Path, sha256: str, facts: NetworkFacts, class_names: Sequence[str] | None) -> ModelInfo:
    """Return the description of a bare state dict.

    Args:
        path: the state dict's file.
        sha256: sha256 of the file.
        facts: properties of the network.
        class_names: K names, in the order of the labels; None names the classes `class_1`...

    Raises:
        BrokenStateDict: the number of names is not K, or a name is repeated.
    """
    count = facts.class_count
    names = tuple(class_names or (f"class_{i}" for i in range(1, count + 1)))
    if len(names) != count or len(set(names)) != count:
        raise BrokenStateDict(f"{path}: the network has {count} classes, but the names are {', '.join(names)}")
    return ModelInfo(
        name=path.stem,
        version=sha256[:12],
        architecture=facts.architecture,
        class_names=names,
        sha256=sha256,
        score_floor=facts.score_floor,
        score_threshold=DEFAULT_SCORE_THRESHOLD,
        detections_per_image=facts.detections_per_image,
        input=facts.input,
    )
