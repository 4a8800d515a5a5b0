"""Next version of a release with prepared engines, each measured against eager fp32 on labelled images."""

import copy
import datetime
import inspect
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from torchvision.models.detection import FasterRCNN

from model_store import store
from model_store.engines import Engine
from model_store.engines.graph_cache import converter_sha256
from model_store.engines.graphs import write_graphs
from model_store.engines.openvino import OpenVinoEngine, graphs_in
from model_store.engines.torch import TorchEngine
from model_store.errors import ModelError
from model_store.manifest import SCHEMA_VERSION, EngineRecord, Manifest
from model_store.network import LoadedNetwork, load
from model_store.store import CARD, Release, sha256_of
from rendersight.images import RgbImage
from training.console import Bar
from training.data.dataset import LabelledImages
from training.measuring.evaluation import Evaluation, detect_all, evaluate
from training.records.run_folder import RunError
from training.releasing import golden_images
from training.releasing.publish import (
    ENGINES_FOLDER,
    PreparedEngine,
    PreparedEngines,
    add_engines,
    add_golden,
    check_release,
    hashes_of,
)
from training.releasing.quantise import QuantisationJob, run_apart
from training.releasing.work_folder import WorkFolder, identity_of
from training.reports.markdown import CROPS
from training.reports.model_card import rewrite_card

MAX_LOSS = {"openvino-fp32": 0.002, "openvino-bf16": 0.005, "openvino-int8": 0.01}
"""Engine -> largest accepted loss of mAP@[.5:.95] against eager fp32."""

_EXACT = "exact fp32"
"""Graphs that int8 is made from. The graphs of `openvino-fp32` store weights as fp16, which halves their size."""

MIN_AP50 = 0.1
"""Smallest AP50 of eager fp32 at which the loss of an engine can be judged."""

_LIBRARIES = ("nncf", "openvino")

# Patterns of graph nodes that stay in higher precision, tried in this order until the loss is small enough. The node
# names of a converted graph are those of the network's modules.
_SPARED = (
    (),
    (r".*rpn\.head.*", r".*module\.head.*"),
    (r".*rpn\.head.*", r".*module\.head.*", r".*fpn.*"),
    (r".*rpn\.head.*", r".*module\.head.*", r".*fpn.*", r".*body/0/.*"),
)


@dataclass(frozen=True, eq=False)
class EnginePlan:
    """Engines to prepare, and the images to prepare and measure them with.

    Attributes:
        calibration: unlabelled photos from which int8 learns the range of every tensor; a few hundred suffice.
        data_name: name of `data`.
        data: labelled images to measure on.
        engines: names of the engines to prepare, keys of `MAX_LOSS`.
        rpn_score_floor: objectness below which engines drop proposals; None keeps the floor of the release. A higher
            floor is faster, and the accuracy it costs counts as a loss of the engine.
        golden: images to choose the golden images from; None keeps those of the release.
        licence: new terms of use; None keeps those of the release.
        even_if_unjudged: continue if eager fp32 is too weak on `data` to judge a loss. The manifest records this, and
            the service then uses such an engine only on request.
        with_photos: keep the crops of photos that the release shows.
    """

    calibration: Sequence[Path]
    data_name: str
    data: LabelledImages
    engines: Sequence[str]
    rpn_score_floor: float | None = None
    golden: LabelledImages | None = None
    licence: str | None = None
    even_if_unjudged: bool = False
    with_photos: bool = False


def accelerate(release: Release, plan: EnginePlan, *, store_root: Path, work: WorkFolder, bar: Bar) -> Release:
    """Prepare engines for a release, measure them, and publish the next version with them.

    Args:
        release: the release, which stays unchanged.
        plan: engines to prepare, and images.
        store_root: folder of the model store, which gets the next version.
        work: work folder that keeps graphs and detections.
        bar: a progress bar with the interface of tqdm.

    Raises:
        RunError: eager fp32 is too weak on the images, or no engine is accurate enough.
        ModelError: the release cannot be used.
    """
    release.verify()
    loaded = load(release)
    prepared = prepare(loaded, plan, work=work, bar=bar)
    exact = TorchEngine(loaded.network, "cpu")
    golden = None if plan.golden is None else _choose_golden(plan.golden, exact, release, bar=bar)

    def fill(folder: Path, number: int) -> None:
        manifest = _copy(folder, number, release, with_photos=plan.with_photos)
        if plan.licence is not None:
            manifest = manifest.model_copy(update={"licence": plan.licence})
        if golden is not None:
            manifest = add_golden(folder, manifest, golden, exact)
        manifest = add_engines(folder, manifest, prepared)
        _check_worth(manifest, prepared, work)
        rewrite_card(folder / CARD, manifest, with_photos=plan.with_photos)
        manifest.model_copy(update={"files": hashes_of(folder)}).write(folder)

    published = store.publish(store_root, release.manifest.name, fill, check_release)
    work.say(f"golden images: {'as in ' + release.ref if golden is None else 'new ones'}")
    crops = [name for name in CROPS if name in published.manifest.files]
    work.say(f"crops of photos: {', '.join(crops) or 'none'}")
    return published


def _choose_golden(data: LabelledImages, exact: Engine, release: Release, *, bar: Bar) -> list[RgbImage]:
    found = detect_all(exact, data.images, progress=lambda items: bar(items, desc="golden images"))
    return golden_images.choose(data.images, found, exact, score_threshold=release.manifest.score_threshold)


def prepare(loaded: LoadedNetwork, plan: EnginePlan, *, work: WorkFolder, bar: Bar) -> PreparedEngines:
    """Prepare engines for a network, and measure each one on the graphs as written.

    Raises:
        RunError: eager fp32 is too weak on the images to judge a loss.
    """
    reference = _measure(TorchEngine(loaded.network, "cpu"), identity_of(loaded), plan, work=work, bar=bar)
    ap50 = reference.figures.get("AP50")
    if ap50 is None:
        raise RunError(f"{plan.data_name} shows no object, so the loss of an engine cannot be judged on it")
    work.say(f"eager fp32 on {plan.data_name}: AP {reference.figures['AP']:.4f}, AP50 {ap50:.4f}")
    is_judged = ap50 >= MIN_AP50
    if not (is_judged or plan.even_if_unjudged):
        raise RunError(
            f"AP50 of {loaded.info.name} on {plan.data_name} is {ap50:.3f}; below {MIN_AP50} the loss of an engine "
            "cannot be judged"
        )
    prepared = PreparedEngines()
    for name in bar(plan.engines, desc="engines"):
        try:
            prepared.engines[name] = _prepare_one(
                name, loaded, plan, reference, is_judged=is_judged, work=work, bar=bar
            )
        except (RunError, ModelError, FloatingPointError) as error:
            prepared.refused[name] = str(error)
    return prepared


def _prepare_one(
    name: str,
    loaded: LoadedNetwork,
    plan: EnginePlan,
    reference: Evaluation,
    *,
    is_judged: bool,
    work: WorkFolder,
    bar: Bar,
) -> PreparedEngine:
    """Prepare one engine, keeping more layers in higher precision until its loss is small enough.

    Raises:
        RunError: every variant loses too much, or the quantisation fails.
        BrokenRelease: OpenVINO cannot compile the graphs.
        FloatingPointError: a detection is not finite.
    """
    losses: list[float] = []
    for spared in _SPARED if name == "openvino-int8" else ((),):
        graphs = _graphs(name, loaded, plan, spared, work=work)
        engine = OpenVinoEngine(
            graphs_in(graphs), name, rule=loaded.facts.input, one_label_iou=loaded.options.one_label_iou
        )
        result = _measure(engine, {"graphs": graphs.name}, plan, work=work, bar=bar)
        losses.append(reference.figures["AP"] - result.figures["AP"])
        work.say(f"{_in_words(name, spared)}: AP {result.figures['AP']:.4f}, {losses[-1]:.4f} lost")
        if losses[-1] <= MAX_LOSS[name] or not is_judged:
            return PreparedEngine(_record(name, plan, result, reference, is_judged=is_judged), graphs)
    raise RunError(f"loses {min(losses):.4f} AP on {plan.data_name}; at most {MAX_LOSS[name]} is accepted")


def _in_words(name: str, spared: Sequence[str]) -> str:
    return f"{name}, not quantising {' '.join(spared)}" if spared else name


def _with_floor(network: FasterRCNN, rpn_score_floor: float | None) -> FasterRCNN:
    """Return a copy of a network that drops proposals below an objectness floor; None returns the network itself."""
    if rpn_score_floor is None:
        return network
    pruned = copy.deepcopy(network)
    pruned.rpn.score_thresh = rpn_score_floor
    return pruned


def _graphs(
    name: str, loaded: LoadedNetwork, plan: EnginePlan, spared: Sequence[str] = (), *, work: WorkFolder
) -> Path:
    """Return the folder of an engine's graphs. Graphs kept from the same network and photos are reused."""
    is_quantised = name == "openvino-int8"
    depends_on = {
        "network": identity_of(loaded),
        "engine": name,
        "rpn_score_floor": plan.rpn_score_floor,
        "spared": spared,
        "calibration": [sha256_of(path) for path in plan.calibration] if is_quantised else [],
        "libraries": {package: version_of(package) for package in ("torch", "torchvision", *_LIBRARIES)},
        "code": [converter_sha256(), sha256_of(Path(inspect.getfile(QuantisationJob)))],
    }

    def write(folder: Path) -> None:
        if not is_quantised:
            network = _with_floor(loaded.network, plan.rpn_score_floor)
            write_graphs(network, folder, compress=name != _EXACT)
            return
        exact = _graphs(_EXACT, loaded, plan, work=work)
        run_apart(
            QuantisationJob(
                graphs=exact.resolve(),
                out=folder.resolve(),
                rule=loaded.facts.input,
                photos=tuple(plan.calibration),
                spared=tuple(spared),
            )
        )

    return work.keep("graphs", f"graphs of {_in_words(name, spared)}", depends_on, write)


def _record(name: str, plan: EnginePlan, result: Evaluation, reference: Evaluation, *, is_judged: bool) -> EngineRecord:
    return EngineRecord(
        graphs=f"{ENGINES_FOLDER}/{name}",
        data=plan.data_name,
        image_count=result.image_count,
        figures=result.summary(),
        reference=reference.summary(),
        rpn_score_floor=plan.rpn_score_floor,
        is_judged=is_judged,
        library_versions={package: version_of(package) for package in _LIBRARIES},
    )


def _measure(engine: Engine, network: Mapping[str, Any], plan: EnginePlan, *, work: WorkFolder, bar: Bar) -> Evaluation:
    return evaluate(plan.data, work.detect(engine, network, plan.data_name, plan.data.images, bar=bar))


def _copy(folder: Path, number: int, release: Release, *, with_photos: bool) -> Manifest:
    """Copy a release's files into the folder of its next version, and return the new manifest.

    Crops of photos are copied only `with_photos`.
    """
    for name in release.manifest.files:
        if name in CROPS and not with_photos:
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(release.folder / name, folder / name)
    return release.manifest.model_copy(
        update={
            "schema_version": SCHEMA_VERSION,
            "version": number,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
    )


def _check_worth(manifest: Manifest, prepared: PreparedEngines, work: WorkFolder) -> None:
    """Raise RunError if the manifest holds none of the prepared engines."""
    if set(prepared.engines) & set(manifest.engines):
        return
    refused = {name: manifest.refused_engines[name] for name in (*prepared.engines, *prepared.refused)}
    reasons = "; ".join(f"{name} is left out: {reason}" for name, reason in refused.items())
    raise RunError(f"no engine to publish: {reasons}; {work.root} keeps the results")
