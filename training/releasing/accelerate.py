"""A release -> its next version with prepared engines, each measured on labelled images against eager fp32."""

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
from model_store.engines.openvino import OpenVinoEngine, graphs_in
from model_store.engines.torch import TorchEngine
from model_store.errors import ModelError
from model_store.graphs import write_graphs
from model_store.manifest import SCHEMA_VERSION, EngineRecord, Manifest
from model_store.network import LoadedNetwork, load
from model_store.prepared import converter_sha256
from model_store.store import CARD, Release, sha256_of
from rendersight.images import RgbImage
from training.console import Bar
from training.data.dataset import LabelledImages
from training.measuring.evaluation import Evaluation, detect_all, evaluate
from training.records.run_folder import RunError
from training.releasing import golden_images
from training.releasing.publish import (
    ENGINES_FOLDER,
    Prepared,
    PreparedEngine,
    add_engines,
    add_golden,
    check_release,
    hashes_of,
)
from training.releasing.quantise import Job, run_apart
from training.releasing.work_folder import WorkFolder, identity_of
from training.reports.markdown import CROPS
from training.reports.model_card import rewrite_card

MAX_LOSS = {"openvino-fp32": 0.002, "openvino-bf16": 0.005, "openvino-int8": 0.01}
"""Engine -> by how much mAP@[.5:.95] may be below that of eager fp32."""

_EXACT = "exact fp32"
"""The graphs that int8 is made from; those of `openvino-fp32` keep weights as fp16, in half of the space."""

MIN_AP50 = 0.1
"""Below this AP50 of eager fp32 nothing can be told about what is lost."""

_LIBRARIES = ("nncf", "openvino")

# What stays in higher precision, tried in this order until the loss is small enough. Names are the converted graph's:
# those of the network's modules.
_SPARED = (
    (),
    (r".*rpn\.head.*", r".*module\.head.*"),
    (r".*rpn\.head.*", r".*module\.head.*", r".*fpn.*"),
    (r".*rpn\.head.*", r".*module\.head.*", r".*fpn.*", r".*body/0/.*"),
)


@dataclass(frozen=True, eq=False)
class Plan:
    """What to prepare, and with which images.

    Attributes:
        calibration: photos, unlabelled, from which int8 learns the range of every tensor; some hundred are plenty.
        data_name: of `data`, in words.
        data: labelled images to measure on.
        engines: keys of `MAX_LOSS`.
        rpn_score_floor: engines drop proposals below this objectness; None: those that the release drops. Fewer
            proposals cost less, and what they lose counts as the engine's.
        golden: images to choose the golden images from; None keeps those of the release.
        licence: the new terms of use; None keeps those of the release.
        even_if_unjudged: go on where eager fp32 is too weak on `data` to judge; the manifest says so, and the service
            then uses such an engine only where it is asked for.
    """

    calibration: Sequence[Path]
    data_name: str
    data: LabelledImages
    engines: Sequence[str]
    rpn_score_floor: float | None = None
    golden: LabelledImages | None = None
    licence: str | None = None
    even_if_unjudged: bool = False


def accelerate(release: Release, plan: Plan, *, store_root: Path, work: WorkFolder, bar: Bar) -> Release:
    """Prepare a release's engines, measure them, and publish them with it as its next version.

    Args:
        release: stays as it is.
        plan: what to prepare.
        store_root: where the next version is published.
        work: keeps the graphs and what is detected, and says so.
        bar: a progress bar, as tqdm.

    Raises:
        RunError: eager fp32 is too weak on the images, or no engine is good enough.
        ModelError: the release cannot be used.
    """
    release.verify()
    loaded = load(release)
    prepared = prepare(loaded, plan, work=work, bar=bar)
    exact = TorchEngine(loaded.network, "cpu")
    golden = None if plan.golden is None else _choose_golden(plan.golden, exact, release, bar=bar)

    def fill(folder: Path, number: int) -> None:
        manifest = _copy(folder, number, release)
        if plan.licence is not None:
            manifest = manifest.model_copy(update={"licence": plan.licence})
        if golden is not None:
            manifest = add_golden(folder, manifest, golden, exact)
        manifest = add_engines(folder, manifest, prepared)
        _check_worth(manifest, prepared, work)
        rewrite_card(folder / CARD, manifest)
        manifest.model_copy(update={"files": hashes_of(folder)}).write(folder)

    return store.publish(store_root, release.manifest.name, fill, check_release)


def _choose_golden(data: LabelledImages, exact: Engine, release: Release, *, bar: Bar) -> list[RgbImage]:
    found = detect_all(exact, data.images, progress=lambda items: bar(items, desc="golden images"))
    return golden_images.choose(data.images, found, exact, score_threshold=release.manifest.score_threshold)


def prepare(loaded: LoadedNetwork, plan: Plan, *, work: WorkFolder, bar: Bar) -> Prepared:
    """Prepare a network's engines, and measure them as they are written.

    Raises:
        RunError: eager fp32 is too weak on the images.
    """
    reference = _measure(TorchEngine(loaded.network, "cpu"), identity_of(loaded), plan, work=work, bar=bar)
    ap50 = reference.figures["AP50"]
    work.say(f"eager fp32 on {plan.data_name}: AP {reference.figures['AP']:.4f}, AP50 {ap50:.4f}")
    is_judged = ap50 >= MIN_AP50
    if not (is_judged or plan.even_if_unjudged):
        raise RunError(
            f"AP50 of {loaded.card.name} on {plan.data_name} is {ap50:.3f}; below {MIN_AP50} nothing can be told about "
            "what an engine loses"
        )
    prepared = Prepared()
    for name in bar(plan.engines, desc="engines"):
        try:
            prepared.engines[name] = _prepare_one(
                name, loaded, plan, reference, is_judged=is_judged, work=work, bar=bar
            )
        except (RunError, ModelError, FloatingPointError) as error:
            prepared.refused[name] = str(error)
    return prepared


def _prepare_one(
    name: str, loaded: LoadedNetwork, plan: Plan, reference: Evaluation, *, is_judged: bool, work: WorkFolder, bar: Bar
) -> PreparedEngine:
    """Prepare one engine, sparing more layers until it loses little enough.

    Raises:
        RunError: it always loses too much, or cannot be quantised.
        BrokenRelease: OpenVINO cannot compile it.
        FloatingPointError: it finds something that is not finite.
    """
    losses: list[float] = []
    for spared in _SPARED if name == "openvino-int8" else ((),):
        graphs = _graphs(name, loaded, plan, spared, work=work)
        engine = OpenVinoEngine(graphs_in(graphs), name, rule=loaded.facts.input)
        result = _measure(engine, {"graphs": graphs.name}, plan, work=work, bar=bar)
        losses.append(reference.figures["AP"] - result.figures["AP"])
        work.say(f"{_in_words(name, spared)}: AP {result.figures['AP']:.4f}, {losses[-1]:.4f} lost")
        if losses[-1] <= MAX_LOSS[name] or not is_judged:
            return PreparedEngine(_record(name, plan, result, reference, is_judged=is_judged), graphs)
    raise RunError(f"loses {min(losses):.4f} of AP on {plan.data_name}; {MAX_LOSS[name]} is accepted")


def _in_words(name: str, spared: Sequence[str]) -> str:
    return f"{name}, sparing {' '.join(spared)}" if spared else name


def _with_floor(network: FasterRCNN, rpn_score_floor: float | None) -> FasterRCNN:
    """Return a network that drops proposals below a floor; None changes nothing."""
    if rpn_score_floor is None:
        return network
    pruned = copy.deepcopy(network)
    pruned.rpn.score_thresh = rpn_score_floor
    return pruned


def _graphs(name: str, loaded: LoadedNetwork, plan: Plan, spared: Sequence[str] = (), *, work: WorkFolder) -> Path:
    """Return the folder of an engine's graphs, written now or before from the same network and photos."""
    is_quantised = name == "openvino-int8"
    depends_on = {
        "network": identity_of(loaded),
        "engine": name,
        "rpn_score_floor": plan.rpn_score_floor,
        "spared": spared,
        "calibration": [sha256_of(path) for path in plan.calibration] if is_quantised else [],
        "libraries": {package: version_of(package) for package in ("torch", "torchvision", *_LIBRARIES)},
        "code": [converter_sha256(), sha256_of(Path(inspect.getfile(Job)))],
    }

    def write(folder: Path) -> None:
        if not is_quantised:
            network = _with_floor(loaded.network, plan.rpn_score_floor)
            write_graphs(network, folder, compress=name != _EXACT)
            return
        exact = _graphs(_EXACT, loaded, plan, work=work)
        run_apart(
            Job(
                graphs=exact.resolve(),
                out=folder.resolve(),
                rule=loaded.facts.input,
                photos=tuple(plan.calibration),
                spared=tuple(spared),
            )
        )

    return work.keep("graphs", f"graphs of {_in_words(name, spared)}", depends_on, write)


def _record(name: str, plan: Plan, result: Evaluation, reference: Evaluation, *, is_judged: bool) -> EngineRecord:
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


def _measure(engine: Engine, network: Mapping[str, Any], plan: Plan, *, work: WorkFolder, bar: Bar) -> Evaluation:
    return evaluate(plan.data, work.detect(engine, network, plan.data_name, plan.data.images, bar=bar))


def _copy(folder: Path, number: int, release: Release) -> Manifest:
    """Copy a release's files into the folder of its next version, and return that one's manifest.

    Crops of the photos that it was measured on stay behind: they are somebody's, and prove nothing.
    """
    for name in release.manifest.files:
        if name in CROPS:
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


def _check_worth(manifest: Manifest, prepared: Prepared, work: WorkFolder) -> None:
    """Raise RunError if no prepared engine is left."""
    if set(prepared.engines) & set(manifest.engines):
        return
    refused = {name: manifest.refused_engines[name] for name in (*prepared.engines, *prepared.refused)}
    reasons = "; ".join(f"{name} is left out: {reason}" for name, reason in refused.items())
    raise RunError(f"nothing new to publish, {reasons}; {work.root} keeps what was made")
