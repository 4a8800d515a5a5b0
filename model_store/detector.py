"""A model ready to serve: found, verified, loaded, warmed up and checked; then images in, detections out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torchvision.models.detection import FasterRCNN

from model_store import golden, store
from model_store.architectures import IMAGENET_MEAN, IMAGENET_STD, NetworkOptions, Recognised, recognise
from model_store.engines import Engine
from model_store.engines.torch import TorchEngine, choose_device
from model_store.errors import (
    BrokenRelease,
    BrokenStateDict,
    EngineNotAvailable,
    GoldenMismatch,
    ReleaseNotFound,
    UnknownArchitecture,
)
from model_store.manifest import FILE_NAME, Manifest, Metrics
from model_store.state_dict import read_state_dict
from rendersight import images
from rendersight.detections import Detections
from rendersight.images import RgbImage

DEFAULT_SCORE_THRESHOLD = 0.5
"""Where no release recommends one."""


@dataclass(frozen=True)
class ModelCard:
    """What is known of a loaded model, be it a release or a bare state dict.

    Attributes:
        name: the release's name, or the file's stem.
        version: the release's number as text; for a bare state dict the first 12 digits of its sha256.
        architecture: a key of `ARCHITECTURES`.
        class_names: K names; label i is `class_names[i - 1]`.
        sha256: of the state dict's file.
        score_floor: the network returns nothing at or below this score.
        score_threshold: the recommended one.
        detections_per_image: the most that the network returns.
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
    metrics: tuple[Metrics, ...] = ()


class Detector:
    """A loaded model; `detect` is not safe for two threads at once.

    Attributes:
        card: what it is.
        engine: what runs it.
    """

    def __init__(self, card: ModelCard, engine: Engine) -> None:
        self.card = card
        self.engine = engine

    def detect(self, uploads: Sequence[RgbImage]) -> list[Detections]:
        """Find objects in upright uint8 (H, W, 3) RGB images; see `model_store.engines.Engine.detect`."""
        return self.engine.detect(uploads)


@dataclass(frozen=True)
class LoadedNetwork:
    """A network with its weights, on the CPU, and what is known of it; `release` is None for a bare state dict."""

    card: ModelCard
    options: NetworkOptions
    network: FasterRCNN
    release: store.Release | None


def load_network(ref: str, *, store_root: Path, class_names: Sequence[str] | None = None) -> LoadedNetwork:
    """Load a network from wherever a person may point to.

    Args:
        ref: a release folder, a state dict's file, or a reference into the store (`dice`, `dice@2`).
        store_root: the model store.
        class_names: K names for a bare state dict; None names its classes `class_1`...; must be None for a release.

    Raises:
        ModelError: nothing there, or something that must not be served; the message says what and where.
    """
    path = Path(ref)
    if path.is_file():
        return _load_bare(path, class_names)
    if class_names is not None:
        raise ReleaseNotFound(f"class names are for a bare state dict, but {ref!r} is no file; a release has its own")
    if (path / FILE_NAME).is_file():
        return _load_release(store.open_release(path))
    if "/" in ref or "\\" in ref:  # else a name: a data set's folder `dice` does not hide the release `dice`
        raise ReleaseNotFound(f"{ref!r} is neither a state dict's file nor a folder with a {FILE_NAME}")
    return _load_release(store.find(store_root, ref))


def _load_release(release: store.Release) -> LoadedNetwork:
    release.verify()
    manifest = release.manifest
    try:
        options = NetworkOptions.model_validate(manifest.options)
    except ValueError as error:
        raise BrokenRelease(f"{release.folder}: options of the network: {error}") from error
    _check_told_twice(release, options)
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
    return LoadedNetwork(card_of(manifest), options, network, release)


def _check_told_twice(release: store.Release, options: NetworkOptions) -> None:
    """Refuse a manifest that promises its readers something else than the options that build its network."""
    manifest = release.manifest
    pairs = {
        "input.min_size": (manifest.input.min_size, options.min_size),
        "input.max_size": (manifest.input.max_size, options.max_size),
        "input.mean": (manifest.input.mean, IMAGENET_MEAN),
        "input.std": (manifest.input.std, IMAGENET_STD),
        "score_floor": (manifest.score_floor, options.score_floor),
        "detections_per_image": (manifest.detections_per_image, options.detections_per_image),
    }
    for field, (told, used) in pairs.items():
        if told != used:
            raise BrokenRelease(f"{release.folder}: the manifest's {field} is {told}, but its network has {used}")


def card_of(manifest: Manifest) -> ModelCard:
    """Return what a manifest says of its model."""
    return ModelCard(
        name=manifest.name,
        version=str(manifest.version),
        architecture=manifest.architecture,
        class_names=manifest.class_names,
        sha256=manifest.files[store.WEIGHTS],
        score_floor=manifest.score_floor,
        score_threshold=manifest.score_threshold,
        detections_per_image=manifest.detections_per_image,
        metrics=manifest.metrics,
    )


def _load_bare(path: Path, class_names: Sequence[str] | None) -> LoadedNetwork:
    try:
        state_dict = read_state_dict(path)
    except OSError as error:
        raise BrokenStateDict(f"{path}: {error.strerror}") from error
    try:
        recognised = recognise(state_dict)
        network = recognised.build()
    except UnknownArchitecture as error:
        raise UnknownArchitecture(f"{path}: {error}") from error
    count = recognised.class_count
    names = tuple(class_names or (f"class_{i}" for i in range(1, count + 1)))
    if len(names) != count or len(set(names)) != count:
        raise BrokenStateDict(f"{path}: the network has {count} classes, but the names are {', '.join(names)}")
    sha256 = store.sha256_of(path)
    card = ModelCard(
        name=path.stem,
        version=sha256[:12],
        architecture=recognised.name,
        class_names=names,
        sha256=sha256,
        score_floor=recognised.options.score_floor,
        score_threshold=DEFAULT_SCORE_THRESHOLD,
        detections_per_image=recognised.options.detections_per_image,
    )
    return LoadedNetwork(card, recognised.options, network, None)


ENGINES = {"torch-fp32": TorchEngine}
"""Name -> what runs a network on a device."""


def open_detector(
    ref: str, *, store_root: Path, device: str = "auto", engine: str = "auto", class_names: Sequence[str] | None = None
) -> Detector:
    """Load a model, move it to its device, warm it up and hold it against its golden image.

    Args:
        ref: as `load_network` takes it.
        store_root: the model store.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        engine: `auto` or a key of `ENGINES`.
        class_names: as `load_network` takes it.

    Raises:
        ModelError: it cannot be served; the message says why.
    """
    chosen = choose_device(device)
    run = ENGINES.get("torch-fp32" if engine == "auto" else engine)
    if run is None:
        raise EngineNotAvailable(f"engine {engine!r} is unknown; accepted: auto, {', '.join(ENGINES)}")
    loaded = load_network(ref, store_root=store_root, class_names=class_names)
    runner = run(loaded.network, chosen)
    if loaded.release is None:
        runner.detect([np.zeros((loaded.options.min_size, loaded.options.min_size, 3), np.uint8)])
    else:
        check_golden(runner, loaded.release)
    return Detector(loaded.card, runner)


def check_golden(engine: Engine, release: store.Release) -> None:
    """Run the golden image through an engine and compare with the release's manifest; it warms the engine up too.

    Raises:
        GoldenMismatch: something else was found, or something that is not finite.
        BrokenRelease: the golden image does not decode.
    """
    path = release.folder / store.GOLDEN_IMAGE
    try:
        image = images.read(path)
    except (OSError, images.ImageError) as error:
        raise BrokenRelease(f"{path}: {error}") from error
    try:
        (found,) = engine.detect([image])
    except FloatingPointError as error:
        raise GoldenMismatch(f"golden image: {error}") from error
    golden.check(found, release.manifest.golden, score_threshold=release.manifest.score_threshold)
