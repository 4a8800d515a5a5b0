"""Initial weights of a training: COCO or ImageNet weights, a state dict file, or a release."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

from torch import Tensor
from torchvision.models import MobileNet_V2_Weights, MobileNet_V3_Large_Weights, ResNet50_Weights, WeightsEnum
from torchvision.models.detection import (
    FasterRCNN,
    FasterRCNN_MobileNet_V3_Large_320_FPN_Weights,
    FasterRCNN_MobileNet_V3_Large_FPN_Weights,
    FasterRCNN_ResNet50_FPN_V2_Weights,
    FasterRCNN_ResNet50_FPN_Weights,
)

from model_store.architectures import StateDict, recognise, rename_old_keys
from model_store.errors import ModelError, ReleaseNotFound, UnknownArchitecture
from model_store.manifest import FILE_NAME
from model_store.network import LoadedNetwork, load_network
from model_store.state_dict import read_state_dict
from model_store.store import DEFAULT_ROOT
from training.records.run_folder import RUN

_COCO: dict[str, WeightsEnum] = {
    "fasterrcnn_resnet50_fpn": FasterRCNN_ResNet50_FPN_Weights.COCO_V1,
    "fasterrcnn_resnet50_fpn_v2": FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1,
    "fasterrcnn_mobilenet_v3_large_fpn": FasterRCNN_MobileNet_V3_Large_FPN_Weights.COCO_V1,
    "fasterrcnn_mobilenet_v3_large_320_fpn": FasterRCNN_MobileNet_V3_Large_320_FPN_Weights.COCO_V1,
}
_IMAGENET: dict[str, WeightsEnum] = {
    "fasterrcnn_resnet50_fpn": ResNet50_Weights.IMAGENET1K_V1,
    "fasterrcnn_resnet50_fpn_v2": ResNet50_Weights.IMAGENET1K_V1,
    "fasterrcnn_mobilenet_v3_large_fpn": MobileNet_V3_Large_Weights.IMAGENET1K_V1,
    "fasterrcnn_mobilenet_v3_large_320_fpn": MobileNet_V3_Large_Weights.IMAGENET1K_V1,
    "fasterrcnn_mobilenet_v2_fpn": MobileNet_V2_Weights.IMAGENET1K_V1,
}
_PREDICTOR = "roi_heads.box_predictor."
_FEWEST = 0.5
"""Smallest share of the tensors of the weights, or of the network, that must fit. Fewer come from another network."""


class WeightsNotFound(ModelError):
    """Initial weights that do not exist, cannot be downloaded, or fit no tensor of the network."""


@dataclass(frozen=True)
class Loaded:
    """Summary of the weights loaded into a network.

    Attributes:
        source: `coco`, `imagenet`, a file name, run/file for a file of a run, or a release as name@version; None for
            random weights.
        loaded: number of tensors loaded.
        total: number of tensors of the network.
        missing: names of the network's tensors that stayed random.
        unused: names of the source's tensors that were not used.
    """

    source: str | None
    loaded: int
    total: int
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        if self.source is None:
            return "random weights"
        text = f"weights: {self.loaded} of {self.total} tensors from {self.source}"
        for label, names in (("random", self.missing), ("unused", self.unused)):
            if names:
                text += f"; {label}: {', '.join(names[:4])}{f' and {len(names) - 4} more' if len(names) > 4 else ''}"  # noqa: PLR2004
        return text


def load_initial_weights(
    network: FasterRCNN, weights: str, *, architecture: str, class_names: Sequence[str], store_root: Path
) -> Loaded:
    """Load the weights that fit a network by name and shape.

    Args:
        network: the network, changed in place.
        weights: `coco`, `imagenet`, `none`, a state dict file of a backbone or detector, a release folder, or a
            release reference such as name@version.
        architecture: architecture of the network.
        class_names: classes of the training. If a release has other classes, its box predictor is left out.
        store_root: folder of the model store. Releases that it lacks are looked up among those of the program.

    Raises:
        WeightsNotFound: the weights do not exist, cannot be downloaded, or fit few of the tensors.
        ModelError: the file or release cannot be read.
    """
    target = network.state_dict()
    if weights == "none":
        return Loaded(None, 0, len(target), (), ())
    name, source = _source(weights, architecture=architecture, class_names=class_names, store_root=store_root)
    fitting = max(
        (_matching(candidate, target) for candidate in _readings(source)),
        key=len,
    )
    if not fitting or len(fitting) < _FEWEST * min(len(source), len(target)):
        raise WeightsNotFound(_mismatch(weights, source, len(fitting), architecture, len(target)))
    network.load_state_dict({**target, **fitting})
    used = {tensor.data_ptr() for tensor in fitting.values()}
    return Loaded(
        name,
        len(fitting),
        len(target),
        missing=tuple(name for name in target if name not in fitting and not name.endswith("num_batches_tracked")),
        unused=tuple(
            name
            for name, tensor in source.items()
            if tensor.data_ptr() not in used and not name.endswith("num_batches_tracked")
        ),
    )


def _mismatch(weights: str, source: StateDict, fitting: int, architecture: str, count: int) -> str:
    text = f"weights {weights!r} fit {fitting} of the {count} tensors of {architecture}"
    try:
        name = recognise(source).name
    except UnknownArchitecture:
        return f"{text}; accepted: weights of that network or of its backbone"
    return f"{text}; they are weights of {name}: choose --architecture {name}, or other weights"


def _source(weights: str, *, architecture: str, class_names: Sequence[str], store_root: Path) -> tuple[str, StateDict]:
    if weights in ("coco", "imagenet"):
        return weights, _download(weights, architecture)
    path = Path(weights)
    if path.is_file():
        is_of_run = (path.parent / RUN).is_file()  # the file name says little: it is best.pt in every run
        name = f"{path.resolve().parent.name}/{path.name}" if is_of_run else path.name
        return name, read_state_dict(path)
    if path.is_dir() and not (path / FILE_NAME).is_file():
        raise WeightsNotFound(f"weights {weights!r} is a folder without {FILE_NAME}; a run's best weights are best.pt")
    loaded = _of_release(weights, store_root)
    ref = f"{loaded.info.name}@{loaded.info.version}"
    state_dict: StateDict = loaded.network.state_dict()
    if loaded.info.class_names == tuple(class_names):
        return ref, state_dict
    return ref, {name: tensor for name, tensor in state_dict.items() if not name.startswith(_PREDICTOR)}


def _of_release(weights: str, store_root: Path) -> LoadedNetwork:
    """Load a release of the model store, else one of the releases that come with the program."""
    try:
        return load_network(weights, store_root=store_root)
    except ReleaseNotFound:
        with suppress(ReleaseNotFound):
            return load_network(weights, store_root=DEFAULT_ROOT)
        raise


def _download(kind: str, architecture: str) -> StateDict:
    entry = {"coco": _COCO, "imagenet": _IMAGENET}[kind].get(architecture)
    if entry is None:
        raise WeightsNotFound(f"there are no {kind} weights for {architecture}; use imagenet, none or a file")
    try:
        return dict[str, Tensor](entry.get_state_dict(progress=False, check_hash=True))
    except (URLError, OSError, RuntimeError) as error:
        raise WeightsNotFound(
            f"weights {kind!r} could not be downloaded from {entry.url}: {error}; "
            "without a network give a file (--weights PATH) or --weights none"
        ) from error


def _readings(source: StateDict) -> list[StateDict]:
    """Return a state dict with its keys read in each possible way: as a detector, a classifier, or a backbone."""
    return [
        rename_old_keys(source),
        {f"backbone.body.{name.removeprefix('features.')}": tensor for name, tensor in source.items()},
        {f"backbone.{name}": tensor for name, tensor in source.items()},
    ]


def _matching(source: StateDict, target: StateDict) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in source.items() if name in target and target[name].shape == tensor.shape}
