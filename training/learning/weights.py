"""What a training begins from: COCO or ImageNet weights, a file, or a release to continue."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

from torch import Tensor
from torchvision.models import MobileNet_V2_Weights, MobileNet_V3_Large_Weights, ResNet50_Weights, WeightsEnum
from torchvision.models.detection import (
    FasterRCNN,
    FasterRCNN_MobileNet_V3_Large_FPN_Weights,
    FasterRCNN_ResNet50_FPN_V2_Weights,
    FasterRCNN_ResNet50_FPN_Weights,
)

from model_store.architectures import StateDict, rename_old_keys
from model_store.errors import ModelError
from model_store.manifest import FILE_NAME
from model_store.network import load_network
from model_store.state_dict import read_state_dict
from training.records.run_folder import RUN

_COCO: dict[str, WeightsEnum] = {
    "fasterrcnn_resnet50_fpn": FasterRCNN_ResNet50_FPN_Weights.COCO_V1,
    "fasterrcnn_resnet50_fpn_v2": FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1,
    "fasterrcnn_mobilenet_v3_large_fpn": FasterRCNN_MobileNet_V3_Large_FPN_Weights.COCO_V1,
}
_IMAGENET: dict[str, WeightsEnum] = {
    "fasterrcnn_resnet50_fpn": ResNet50_Weights.IMAGENET1K_V1,
    "fasterrcnn_resnet50_fpn_v2": ResNet50_Weights.IMAGENET1K_V1,
    "fasterrcnn_mobilenet_v3_large_fpn": MobileNet_V3_Large_Weights.IMAGENET1K_V1,
    "fasterrcnn_mobilenet_v2_fpn": MobileNet_V2_Weights.IMAGENET1K_V1,
}
_PREDICTOR = "roi_heads.box_predictor."


class WeightsNotFound(ModelError):
    """The weights to begin from are not there, cannot be downloaded, or fit no tensor of the network."""


@dataclass(frozen=True)
class Loaded:
    """What was loaded into a network.

    Attributes:
        source: `coco`, `imagenet`, a file's name, behind its run's if it is one's, or a release as
            name@version; None for random weights.
        loaded: so many of its tensors.
        total: tensors that the network has.
        missing: names of those that stayed random.
        unused: names of those from the source that had no use.
    """

    source: str | None
    loaded: int
    total: int
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        text = f"weights: {self.loaded} of {self.total} tensors from {self.source or 'nothing'}"
        for label, names in (("random", self.missing), ("unused", self.unused)):
            if names:
                text += f"; {label}: {', '.join(names[:4])}{f' and {len(names) - 4} more' if len(names) > 4 else ''}"  # noqa: PLR2004
        return text


def load_initial_weights(
    network: FasterRCNN, weights: str, *, architecture: str, class_names: Sequence[str], store_root: Path
) -> Loaded:
    """Load into a network what fits by name and shape.

    Args:
        network: changed in place.
        weights: `coco`, `imagenet`, `none`, the file of a backbone's or a detector's state dict, a release's folder,
            or a reference into the model store.
        architecture: of the network.
        class_names: of the training; the box predictor of a release with other classes is not taken.
        store_root: the model store.

    Raises:
        WeightsNotFound: nothing there, no download, or nothing that fits.
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
    if not fitting:
        raise WeightsNotFound(f"weights {weights!r} have no tensor that fits {architecture}")
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


def _source(weights: str, *, architecture: str, class_names: Sequence[str], store_root: Path) -> tuple[str, StateDict]:
    if weights in ("coco", "imagenet"):
        return weights, _download(weights, architecture)
    path = Path(weights)
    if path.is_file():
        is_of_run = (path.parent / RUN).is_file()  # the best weights of every run are called best.pt
        name = f"{path.resolve().parent.name}/{path.name}" if is_of_run else path.name
        return name, read_state_dict(path)
    if path.is_dir() and not (path / FILE_NAME).is_file():
        raise WeightsNotFound(f"weights {weights!r} is a folder without {FILE_NAME}; a run's best weights are best.pt")
    loaded = load_network(weights, store_root=store_root)
    ref = f"{loaded.card.name}@{loaded.card.version}"
    state_dict: StateDict = loaded.network.state_dict()
    if loaded.card.class_names == tuple(class_names):
        return ref, state_dict
    return ref, {name: tensor for name, tensor in state_dict.items() if not name.startswith(_PREDICTOR)}


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
    """Return the ways to read a state dict: a detector, torchvision's classifier, or the body of a backbone."""
    return [
        rename_old_keys(source),
        {f"backbone.body.{name.removeprefix('features.')}": tensor for name, tensor in source.items()},
        {f"backbone.{name}": tensor for name, tensor in source.items()},
    ]


def _matching(source: StateDict, target: StateDict) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in source.items() if name in target and target[name].shape == tensor.shape}
