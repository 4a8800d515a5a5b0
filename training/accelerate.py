"""A release -> its next version with prepared engines, each measured on labelled images against eager fp32."""

import copy
import datetime
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version as version_of
from pathlib import Path

from torchvision.models.detection import FasterRCNN

from model_store import store
from model_store.engines import Engine
from model_store.engines.openvino import OpenVinoEngine, graphs_in
from model_store.engines.torch import TorchEngine
from model_store.graphs import write_graphs
from model_store.manifest import SCHEMA_VERSION, EngineRecord, InputRule
from model_store.network import LoadedNetwork, load
from model_store.store import CARD, Release
from training.card import rewrite_card
from training.console import Bar
from training.dataset import LabelledImages
from training.evaluation import Evaluation, detect_all, evaluate
from training.publish import ENGINES_FOLDER, PreparedEngine, add_engines, check_release, hashes_of
from training.quantise import Job, run_apart
from training.run import Say
from training.run_folder import RunError

MAX_LOSS = {"openvino-bf16": 0.005, "openvino-int8": 0.01}
"""Engine -> by how much mAP@[.5:.95] may be below that of eager fp32."""

MIN_AP50 = 0.1
"""Below this AP50 of eager fp32 nothing can be told about what is lost."""

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
        even_if_unjudged: go on where eager fp32 is too weak on `data` to judge; the manifest says so, and the service
            then uses such an engine only where it is asked for.
    """

    calibration: Sequence[Path]
    data_name: str
    data: LabelledImages
    engines: Sequence[str]
    rpn_score_floor: float | None = None
    even_if_unjudged: bool = False


def accelerate(release: Release, plan: Plan, *, store_root: Path, bar: Bar, say: Say) -> Release:
    """Prepare a release's engines, measure them, and publish them with it as its next version.

    Args:
        release: stays as it is.
        plan: what to prepare.
        store_root: where the next version is published.
        bar: a progress bar, as tqdm.
        say: prints a line.

    Raises:
        RunError: eager fp32 is too weak on the images, or an engine loses too much.
        ModelError: the release cannot be used.
    """
    release.verify()
    with tempfile.TemporaryDirectory() as scratch:
        prepared = prepare(load(release), plan, scratch=Path(scratch), bar=bar, say=say)
        return store.publish(
            store_root,
            release.manifest.name,
            lambda folder, number: _fill(folder, number, release, prepared),
            check_release,
        )


def prepare(loaded: LoadedNetwork, plan: Plan, *, scratch: Path, bar: Bar, say: Say) -> dict[str, PreparedEngine]:
    """Prepare a network's engines in folders below `scratch`, and measure them as they are written there.

    Raises:
        RunError: as `accelerate`.
    """
    reference = _measure(TorchEngine(loaded.network, "cpu"), plan.data, bar=bar)
    ap50 = reference.figures["AP50"]
    say(f"eager fp32 on {plan.data_name}: AP {reference.figures['AP']:.4f}, AP50 {ap50:.4f}")
    is_judged = ap50 >= MIN_AP50
    if not (is_judged or plan.even_if_unjudged):
        raise RunError(
            f"AP50 of {loaded.card.name} on {plan.data_name} is {ap50:.3f}; below {MIN_AP50} nothing can be told about "
            "what an engine loses"
        )
    prepared = {}
    network = _with_floor(loaded.network, plan.rpn_score_floor)
    for name in bar(plan.engines, desc="engines"):
        losses: list[float] = []
        for spared in _SPARED if name == "openvino-int8" else ((),):
            folder = scratch / f"{name}-{len(losses)}"
            _make(name, network, folder, plan, loaded.facts.input, spared=spared)
            engine = OpenVinoEngine(graphs_in(folder), name, rule=loaded.facts.input)
            result = _measure(engine, plan.data, bar=bar)
            losses.append(reference.figures["AP"] - result.figures["AP"])
            said = f", sparing {' '.join(spared)}" if spared else ""
            say(f"{name}{said}: AP {result.figures['AP']:.4f}, {losses[-1]:.4f} lost")
            if losses[-1] <= MAX_LOSS[name] or not is_judged:
                record = _record(name, plan, result, reference, is_judged=is_judged)
                prepared[name] = PreparedEngine(record, folder)
                break
        else:
            raise RunError(f"{name} loses {min(losses):.4f} of AP on {plan.data_name}; {MAX_LOSS[name]} is accepted")
    return prepared


def _with_floor(network: FasterRCNN, rpn_score_floor: float | None) -> FasterRCNN:
    """Return a network that drops proposals below a floor; None changes nothing."""
    if rpn_score_floor is None:
        return network
    pruned = copy.deepcopy(network)
    pruned.rpn.score_thresh = rpn_score_floor
    return pruned


def _make(name: str, network: FasterRCNN, folder: Path, plan: Plan, rule: InputRule, *, spared: Sequence[str]) -> None:
    """Write an engine's graphs into a new folder."""
    folder.mkdir()
    if name != "openvino-int8":
        write_graphs(network, folder, compress=True)
        return
    with tempfile.TemporaryDirectory() as exact:
        write_graphs(network, Path(exact))
        run_apart(
            Job(
                graphs=Path(exact),
                out=folder.resolve(),
                rule=rule,
                photos=tuple(plan.calibration),
                spared=tuple(spared),
            )
        )


def _record(name: str, plan: Plan, result: Evaluation, reference: Evaluation, *, is_judged: bool) -> EngineRecord:
    return EngineRecord(
        graphs=f"{ENGINES_FOLDER}/{name}",
        data=plan.data_name,
        image_count=result.image_count,
        figures=result.summary(),
        reference=reference.summary(),
        rpn_score_floor=plan.rpn_score_floor,
        is_judged=is_judged,
        library_versions={package: version_of(package) for package in ("nncf", "openvino")},
    )


def _measure(engine: Engine, data: LabelledImages, *, bar: Bar) -> Evaluation:
    return evaluate(data, detect_all(engine, data.images, progress=lambda items: bar(items, desc=engine.name)))


def _fill(folder: Path, number: int, release: Release, prepared: Mapping[str, PreparedEngine]) -> None:
    for name in release.manifest.files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(release.folder / name, folder / name)
    manifest = release.manifest.model_copy(
        update={
            "schema_version": SCHEMA_VERSION,
            "version": number,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
    )
    manifest = add_engines(folder, manifest, prepared)
    rewrite_card(folder / CARD, manifest)
    manifest.model_copy(update={"files": hashes_of(folder)}).write(folder)
