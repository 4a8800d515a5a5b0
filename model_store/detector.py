"""Loaded models: `open_detector` finds, verifies, loads, warms up and checks a model; a `Detector` then runs it."""

import json
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from model_store import cpu, golden, store
from model_store.devices import choose_device
from model_store.engine_choice import SkippedEngine, by_speed, consequence
from model_store.engines import ENGINES, Engine, detections_in
from model_store.errors import BrokenRelease, EngineNotAvailable, GoldenMismatch, ModelError
from model_store.manifest import EngineRecord, Manifest
from model_store.model_info import (
    ModelInfo,
    NetworkFacts,
    check_has_own,
    log_assumption,
    release_info,
    state_dict_info,
)
from model_store.throttle import Throttle
from rendersight import images
from rendersight.detections import Detections
from rendersight.images import Photo, RgbImage

if TYPE_CHECKING:
    from model_store.engines.openvino import Graphs

_log = logging.getLogger(__name__)


class Detector:
    """A loaded model.

    Attributes:
        info: description of the model.
        engine: the engine that runs the model; `engine.parallel` threads may call `detect` at once.
        skipped: faster engines that `auto` could not use, fastest first.
    """

    def __init__(self, info: ModelInfo, engine: Engine, skipped: Sequence[SkippedEngine] = ()) -> None:
        self.info = info
        self.engine = engine
        self.skipped = tuple(skipped)

    def detect(self, uploads: Sequence[RgbImage]) -> list[Detections]:
        """Find objects in upright uint8 (H, W, 3) RGB images; see `model_store.engines.Engine.detect`."""
        return [self._cut(found) for found in self.engine.detect(uploads)]

    def detect_photo(self, photo: Photo) -> Detections:
        """Find objects in a photo from `images.decode_photo`, possibly reduced; boxes are in px of the full photo."""
        (found,) = self.detect([photo.pixels])
        if photo.reduction == 1:
            return found
        boxes = photo.in_full(found.boxes_xyxy)
        return detections_in((photo.height, photo.width), boxes, found.labels, found.scores)

    def _cut(self, found: Detections) -> Detections:
        """Return the best detections, at most as many as the model reports."""
        most = self.info.detections_per_image
        return found if len(found) <= most else found.by_score().select(np.arange(most))


@dataclass(frozen=True)
class _Request:
    """The arguments of `open_detector`, with the model that was found."""

    found: store.Release | Path
    class_names: Sequence[str] | None
    device: str
    cores: int
    streams: int
    cache_dir: Path | None
    share: float
    is_checked: bool
    min_size: int | None
    detections_per_image: int | None

    @property
    def release(self) -> store.Release | None:
        return None if isinstance(self.found, Path) else self.found

    @property
    def reported(self) -> int | None:
        """Number of objects that the network must be changed to report; None leaves the network as it is."""
        asked = self.detections_per_image
        if asked is not None and self.release is not None and asked <= self.release.manifest.detections_per_image:
            return None  # the detector cuts the rest, and the golden check sees all
        return asked

    @property
    def engines(self) -> Mapping[str, EngineRecord]:
        """The prepared engines; none if more objects are asked for than they report."""
        return {} if self.release is None or self.reported is not None else self.release.manifest.engines


def open_detector(
    ref: str,
    *,
    store_root: Path,
    device: str = "auto",
    engine: str = "auto",
    class_names: Sequence[str] | None = None,
    cores: int | None = None,
    streams: int | None = None,
    cache_dir: Path | None = None,
    share: float = 1.0,
    is_checked: bool = True,
    min_size: int | None = None,
    detections_per_image: int | None = None,
) -> Detector:
    """Load a model, move it to its device, warm it up and run its golden check.

    Args:
        ref: reference, as for `store.locate`.
        store_root: the model store.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        engine: a key of `ENGINES`, or `auto`: the fastest engine that the manifest records as accurate and that runs
            here. If no engine is prepared, `auto` converts the network for OpenVINO on a CPU; a bare state dict runs in
            bfloat16 if the processor has it. `Detector.skipped` lists the faster engines that were left out.
        class_names: K names for a bare state dict; None names its classes `class_1`...; must be None for a release.
        cores: maximum number of cores for OpenVINO; None is all that this process may use.
        streams: images that OpenVINO computes at the same time; None is one for each core, 1 the shortest latency.
        cache_dir: folder that keeps converted graphs for the next start; None keeps none.
        share: fraction of time that compiling and warming up OpenVINO may take; less than 1 leaves time for other work.
        is_checked: whether a release must pass its golden check.
        min_size: shorter side of a bare state dict's input, px; None takes the architecture's; must be None for a
            release.
        detections_per_image: maximum number of objects in one image; None takes the model's. Engines that were prepared
            for fewer are not used.

    Raises:
        ModelError: the model cannot be served; the message gives the reason.
    """
    if engine != "auto" and engine not in ENGINES:
        raise EngineNotAvailable(f"engine {engine!r} is unknown; accepted: auto, {', '.join(ENGINES)}")
    found = store.locate(store_root, ref)
    if isinstance(found, Path):
        chosen = choose_device(device)
    else:
        check_has_own(found, class_names=class_names, min_size=min_size)
        found.verify()
        chosen = choose_device(device)
    cores = cores or cpu.usable_cores()
    request = _Request(
        found,
        class_names,
        chosen,
        cores,
        streams or cores,
        cache_dir,
        share,
        is_checked,
        min_size,
        detections_per_image,
    )
    if engine != "auto":
        return _open(engine, request)
    *optional, last = by_speed(request.engines, request.device, is_bare=request.release is None)
    skipped: list[SkippedEngine] = []
    for name in optional:
        try:
            detector = _open(name, request)
        except ModelError as error:
            skipped.append(SkippedEngine(name, _reason(error, request)))
            _log.info("engine %s is left out: %s", name, error)
        else:
            break
    else:
        detector = _open(last, request)
    detector.skipped = tuple(skipped)
    if skipped:
        _log.warning("%s", consequence(skipped, detector.engine.name))
    return detector


def _reason(error: ModelError, request: _Request) -> str:
    """Return an error's text in one line, without folders of this machine."""
    text = " ".join(str(error).split())
    folder = request.found.parent if isinstance(request.found, Path) else request.found.folder
    for place in (folder.absolute(), folder):
        text = text.replace(f"{place}/", "").replace(str(place), folder.name)
    return text


def _open(name: str, request: _Request) -> Detector:
    """Open one engine and check it.

    Raises:
        EngineNotAvailable: its runtime is not installed or does not run on the device.
        ModelError: the model itself is at fault.
    """
    runtime, _, precision = name.partition("-")
    if find_spec(runtime) is None:
        raise EngineNotAvailable(_missing(runtime, request))
    detector = _open_torch(precision, request) if runtime == "torch" else _open_openvino(name, request)
    if request.release is None:
        side = 640
        detector.engine.detect_on_every_lane(np.zeros((side, side, 3), np.uint8))
    elif request.is_checked:
        check_golden(detector.engine, request.release)
    if request.detections_per_image is not None:
        detector.info = replace(detector.info, detections_per_image=request.detections_per_image)
    return detector


def _missing(package: str, request: _Request) -> str:
    """Return a message with what cannot be served without a package, and the alternative."""
    if package != "torch":
        return f"the package {package} is not installed"
    if request.release is None:
        what = f"{request.found} is a bare state dict, which only torch can read"
    else:
        what = f"{request.release.ref} needs a prepared OpenVINO engine or torch"
    return f"{what}; torch is not installed; use the full image (docker compose up detect)"


def _open_torch(precision: str, request: _Request) -> Detector:
    from model_store.engines.torch import TorchEngine  # noqa: PLC0415 - takes seconds, and torch is optional
    from model_store.network import load  # noqa: PLC0415

    loaded = load(
        request.found,
        request.class_names,
        min_size=request.min_size,
        detections_per_image=request.reported,
    )
    return Detector(loaded.info, TorchEngine(loaded.network, request.device, precision))


def _open_openvino(name: str, request: _Request) -> Detector:
    from model_store.engines.openvino import OpenVinoEngine, class_count, graphs_in  # noqa: PLC0415 - optional

    if request.device != "cpu":
        raise EngineNotAvailable(f"engine {name} runs on the CPU; the device is {request.device}")
    throttle = Throttle(request.share)
    release = request.release
    run = partial(
        OpenVinoEngine,
        name=name,
        one_label_iou=None if release is None else release.manifest.one_label_iou,
        cores=request.cores,
        streams=request.streams,
        cache_dir=request.cache_dir,
        throttle=throttle,
    )
    if release is not None and name in request.engines:
        folder = release.folder / (request.engines[name].graphs or "")
        graphs = graphs_in(folder)
        _check_classes(release, class_count(graphs))
        return Detector(release_info(release.manifest), run(graphs, rule=release.manifest.input))
    if name == "openvino-int8":
        if request.reported is not None:
            raise EngineNotAvailable(
                f"no int8 engine reports {request.reported} objects in an image; use another engine"
            )
        raise EngineNotAvailable("the model has no int8 engine; prepare one with `python -m training accelerate`")
    graphs, facts, sha256 = _converted(request)
    if isinstance(request.found, Path):
        info = state_dict_info(request.found, sha256, facts, request.class_names)
    else:
        _check_classes(request.found, facts.class_count)
        info = release_info(request.found.manifest)
    return Detector(info, run(graphs, rule=facts.input))


def _check_classes(release: store.Release, count: int) -> None:
    if count != len(names := release.manifest.class_names):
        raise BrokenRelease(f"{release.folder}: the manifest names {len(names)} classes, its network has {count}")


def _converted(request: _Request) -> tuple["Graphs", NetworkFacts, str]:
    """Return graphs from the cache, or convert them now; only the conversion needs torch.

    Returns:
        The graphs, the properties of the network, and the sha256 of the weights.
    """
    from model_store.engines.graph_cache import GraphCache  # noqa: PLC0415 - needs OpenVINO
    from model_store.engines.openvino import graphs_in  # noqa: PLC0415

    if isinstance(request.found, Path):
        sha256 = store.sha256_of(request.found)
        options = f"{request.found.name} {request.min_size}"  # both choose the size of the input
    else:
        manifest = request.found.manifest
        sha256, options = manifest.files[store.WEIGHTS], json.dumps(manifest.options, sort_keys=True)
    if request.reported is not None:
        options += f" {request.reported}"
    cache = GraphCache(request.cache_dir, sha256=sha256, options=options) if request.cache_dir else None
    if cache is not None and (facts := cache.facts()) is not None:
        if isinstance(request.found, Path) and request.min_size is None:
            log_assumption(request.found, facts)
        return graphs_in(cache.folder), facts, sha256
    if find_spec("torch") is None:
        raise EngineNotAvailable(_missing("torch", request))
    from model_store.engines.graphs import convert, write_graphs  # noqa: PLC0415 - torch
    from model_store.network import load  # noqa: PLC0415 - torch

    loaded = load(
        request.found,
        request.class_names,
        min_size=request.min_size,
        detections_per_image=request.reported,
    )
    if cache is not None and cache.keep(loaded.facts, lambda folder: write_graphs(loaded.network, folder)):
        return graphs_in(cache.folder), loaded.facts, sha256
    return convert(loaded.network), loaded.facts, sha256


def check_golden(engine: Engine, release: store.Release) -> None:
    """Run the golden images through an engine and compare with the release's manifest; this also warms up the engine.

    Raises:
        GoldenMismatch: the detections differ too much, or a value is not finite.
        BrokenRelease: a golden image does not decode.
    """
    for moved in golden_differences(engine, release.folder, release.manifest):
        tolerance = golden.tolerance(
            engine.name,
            release.manifest.engines.get(engine.name),
            is_cpu=engine.device == "cpu",
            count=int(moved.is_found.sum()),
        )
        golden.check(moved, tolerance)


def golden_differences(engine: Engine, folder: Path, manifest: Manifest) -> list[golden.GoldenDifference]:
    """Return how far an engine moves the detections on a release's golden images: one item for each of its lanes.

    The first image goes through every lane, each other image through a free one.

    Raises:
        GoldenMismatch: a value is not finite.
        BrokenRelease: a golden image does not decode.
    """
    first, *others = (_read_golden(folder / image.file) for image in manifest.golden)
    try:
        everywhere = engine.detect_on_every_lane(first)
        with ThreadPoolExecutor(engine.parallel) as pool:
            rest = [found for (found,) in pool.map(lambda image: engine.detect([image]), others)]
    except FloatingPointError as error:
        raise GoldenMismatch(f"golden images: {error}") from error
    sizes = [(image.shape[1], image.shape[0]) for image in (first, *others)]
    seen = [
        [
            golden.GoldenDetections(image, size, found)
            for image, size, found in zip(manifest.golden, sizes, answers, strict=True)
        ]
        for answers in ((lane, *rest) for lane in everywhere)
    ]
    return [golden.compare(images, score_threshold=manifest.score_threshold) for images in seen]


def _read_golden(path: Path) -> RgbImage:
    try:
        return images.read(path)
    except (OSError, images.ImageError) as error:
        raise BrokenRelease(f"{path}: {error}") from error
