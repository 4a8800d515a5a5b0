"""Descriptions of a loaded model, either a release or a bare state dict."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model_store.errors import BrokenStateDict, ReleaseNotFound
from model_store.manifest import InputRule, Manifest, Metrics
from model_store.store import WEIGHTS, Release

DEFAULT_SCORE_THRESHOLD = 0.5
"""Threshold for models without a recommended one."""

MOST_DETECTIONS = 1000
"""Largest accepted number of objects in one image."""

TWINS = {
    "fasterrcnn_mobilenet_v3_large_fpn": ("fasterrcnn_mobilenet_v3_large_320_fpn", 320),
    "fasterrcnn_mobilenet_v3_large_320_fpn": ("fasterrcnn_mobilenet_v3_large_fpn", 800),
}
"""Architecture -> another one with equal tensors, and the shorter side of that one's input, px."""

_log = logging.getLogger(__name__)


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
        one_label_iou: IoU above which boxes of different classes suppress each other; None if they do not.
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
    one_label_iou: float | None = None


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
        one_label_iou=manifest.one_label_iou,
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


def check_has_own(release: Release, *, class_names: Sequence[str] | None, min_size: int | None) -> None:
    """Raise ReleaseNotFound if properties of a bare state dict are given for a release."""
    for what, value in (("class names are", class_names), ("an input size is", min_size)):
        if value is not None:
            raise ReleaseNotFound(f"{what} for a bare state dict; {release.ref} has its own")


def log_assumption(path: Path, facts: NetworkFacts) -> None:
    """Log which of two architectures with equal tensors a bare state dict is taken for, if there is another one."""
    if facts.architecture in TWINS:
        twin, size = TWINS[facts.architecture]
        _log.warning(
            "%s: its tensors fit %s and %s; by its name, it runs as the former, with %d px on the shorter side. "
            "RENDERSIGHT_MIN_SIZE=%d, or --min-size %d, runs it as the latter",
            path.name,
            facts.architecture,
            twin,
            facts.input.min_size,
            size,
            size,
        )
