"""Loading of torch networks with their weights, from a reference or a file."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torchvision.models.detection import FasterRCNN

from model_store import store
from model_store.architectures import IMAGENET_MEAN, IMAGENET_STD, NetworkOptions, Recognised, recognise
from model_store.errors import BrokenRelease, BrokenStateDict, UnknownArchitecture
from model_store.manifest import InputRule
from model_store.model_info import ModelInfo, NetworkFacts, check_has_own, log_assumption, release_info, state_dict_info
from model_store.state_dict import read_state_dict


@dataclass(frozen=True)
class LoadedNetwork:
    """A network with its weights, on the CPU, and its description; `release` is None for a bare state dict."""

    info: ModelInfo
    options: NetworkOptions
    network: FasterRCNN
    release: store.Release | None
    facts: NetworkFacts


def load_network(
    ref: str, *, store_root: Path, class_names: Sequence[str] | None = None, min_size: int | None = None
) -> LoadedNetwork:
    """Load a network by a path or a reference into the store.

    Args:
        ref: a release folder, a state dict's file, or a reference into the store (`dice`, `dice@6`).
        store_root: the model store.
        class_names: K names for a bare state dict; None names its classes `class_1`...; must be None for a release.
        min_size: shorter side of a bare state dict's input, px; None takes the architecture's; must be None for a
            release.

    Raises:
        ModelError: nothing is found, or the model must not be served; the message says what and where.
    """
    return load(store.locate(store_root, ref), class_names, min_size=min_size)


def load(
    found: store.Release | Path,
    class_names: Sequence[str] | None = None,
    *,
    min_size: int | None = None,
    detections_per_image: int | None = None,
) -> LoadedNetwork:
    """Load a release or file from `store.locate`.

    Args:
        found: the release, or the state dict's file.
        class_names: as for `load_network`.
        min_size: as for `load_network`.
        detections_per_image: maximum number of detections in one image; None takes the model's.

    Raises:
        ModelError: as `load_network`.
    """
    if isinstance(found, Path):
        return _load_bare(found, class_names, min_size, detections_per_image)
    check_has_own(found, class_names=class_names, min_size=min_size)
    return _load_release(found, detections_per_image)


def _load_release(release: store.Release, detections_per_image: int | None) -> LoadedNetwork:
    release.verify()
    manifest = release.manifest
    try:
        options = NetworkOptions.model_validate(manifest.options)
    except ValueError as error:
        raise BrokenRelease(f"{release.folder}: options of the network: {error}") from error
    _check_told_twice(release, options)
    info = release_info(manifest)
    if detections_per_image is not None:
        options = options.reporting(detections_per_image)
        info = replace(info, detections_per_image=detections_per_image)
    recognised = Recognised(
        manifest.architecture,
        class_count=len(manifest.class_names),
        options=options,
        state_dict=read_state_dict(release.folder / store.WEIGHTS),
    )
    try:
        network = recognised.build()
    except UnknownArchitecture as error:
        raise BrokenRelease(f"{release.folder}: {error}") from error
    return LoadedNetwork(info, options, network, release, facts_of(recognised))


def _check_told_twice(release: store.Release, options: NetworkOptions) -> None:
    """Raise if the manifest's fields contradict the options that build the network."""
    manifest = release.manifest
    pairs = {
        "input.min_size": (manifest.input.min_size, options.min_size),
        "input.max_size": (manifest.input.max_size, options.max_size),
        "input.mean": (manifest.input.mean, IMAGENET_MEAN),
        "input.std": (manifest.input.std, IMAGENET_STD),
        "score_floor": (manifest.score_floor, options.score_floor),
        "detections_per_image": (manifest.detections_per_image, options.detections_per_image),
        "one_label_iou": (manifest.one_label_iou, options.one_label_iou),
    }
    for field, (told, used) in pairs.items():
        if told != used:
            raise BrokenRelease(f"{release.folder}: the manifest's {field} is {told}, but its network has {used}")


def input_rule(options: NetworkOptions) -> InputRule:
    """Return the input rule of a network with these options."""
    return InputRule(min_size=options.min_size, max_size=options.max_size, mean=IMAGENET_MEAN, std=IMAGENET_STD)


def _load_bare(
    path: Path, class_names: Sequence[str] | None, min_size: int | None, detections_per_image: int | None
) -> LoadedNetwork:
    try:
        state_dict = read_state_dict(path)
    except OSError as error:
        raise BrokenStateDict(f"{path}: {error.strerror}") from error
    try:
        recognised = recognise(state_dict, file_name=path.name, min_size=min_size)
        if detections_per_image is not None:
            recognised = replace(recognised, options=recognised.options.reporting(detections_per_image))
        network = recognised.build()
    except UnknownArchitecture as error:
        raise UnknownArchitecture(f"{path}: {error}") from error
    facts = facts_of(recognised)
    if min_size is None:
        log_assumption(path, facts)
    return LoadedNetwork(
        state_dict_info(path, store.sha256_of(path), facts, class_names), recognised.options, network, None, facts
    )


def facts_of(recognised: Recognised) -> NetworkFacts:
    """Return the properties needed to run a network without torch."""
    options = recognised.options
    return NetworkFacts(
        architecture=recognised.name,
        class_count=recognised.class_count,
        score_floor=options.score_floor,
        detections_per_image=options.detections_per_image,
        input=input_rule(options),
    )
