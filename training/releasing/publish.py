"""A run's best checkpoint -> a release: measured, written, loaded back and checked before it counts."""

import datetime
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from model_store import architectures, store
from model_store.cpu import usable_cores
from model_store.detector import check_golden, golden_moves, open_detector
from model_store.engines import Engine
from model_store.engines.torch import TorchEngine
from model_store.errors import ModelError
from model_store.manifest import Drift, EngineRecord, InputRule, Manifest, Origin
from model_store.network import LoadedNetwork, load_network
from model_store.store import CARD, WEIGHTS, Release, sha256_of
from rendersight import images
from rendersight.drawing import draw_detections
from training.console import Bar
from training.data.dataset import read_dataset, with_margin
from training.measuring.measured import Domain, pool
from training.measuring.sim2real import Sim2Real
from training.records.loading import load_run
from training.records.run_folder import HOLD_OUT_LIST, RunError, RunRecord, read_names
from training.releasing import golden_images
from training.releasing.work_folder import WorkFolder, measure_kept
from training.reports.markdown import PRECISION_RECALL
from training.reports.model_card import write_card
from training.reports.plots import plot_precision_recall
from training.reports.report_folder import write_sim2real_pictures

DETECTIONS_PICTURE = "detections.jpg"
ENGINES_FOLDER = "engines"


@dataclass(frozen=True)
class PreparedEngine:
    """An engine that is ready to be published: what was measured, and the folder with its graphs."""

    record: EngineRecord
    folder: Path


@dataclass(frozen=True)
class Prepared:
    """What came of preparing engines: by name those that are ready, and why others are left out."""

    engines: dict[str, PreparedEngine] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Words:
    """What no figure tells: what the data was, which choice used which, and the licence of the release."""

    description: str
    data: str
    licence: str
    provenance: str = ""


@dataclass(frozen=True, eq=False)
class _Measured:
    """A run's best weights with everything that was found out about them."""

    record: RunRecord
    loaded: LoadedNetwork
    hold_out: Domain
    others: tuple[Domain, ...]
    score_threshold: float
    threshold_from: tuple[str, ...]
    golden_pixels: tuple[images.RgbImage, ...]


def publish(
    run: Path,
    name: str,
    *,
    store_root: Path,
    words: Words,
    dataset: Path | None,
    also_measure: Sequence[tuple[str, Path]],
    threshold_from: Sequence[str] = (),
    with_report: bool = False,
    gallery_from: Sequence[str] = (),
    prepare: Callable[[LoadedNetwork], Prepared] | None = None,
    work: WorkFolder,
    bar: Bar,
) -> Release:
    """Measure a run's best checkpoint in eager fp32 on its hold-out images and publish it as the next version.

    Args:
        run: the run's folder.
        name: of the release.
        store_root: the model store.
        words: for the card.
        dataset: where the run's images are now; None where they were.
        also_measure: name and folder of other labelled images to measure on.
        threshold_from: those of `also_measure` on which the recommended threshold has the best F1, all of them taken
            together; none leaves it to the hold-out images.
        with_report: put the report from renders to photos into the card, with the hold-out images as the renders and
            `also_measure` as the photos.
        gallery_from: those of `also_measure` whose crops the report may show; none shows all of them.
        prepare: makes engines to publish with the state dict; see `training.releasing.accelerate`.
        work: keeps what is detected.
        bar: a progress bar, as tqdm.

    Raises:
        RunError, ModelError, AnnotationError: the run, what it gave, a name or a dataset cannot be used, or
            nothing found in the photos that choose the threshold is right.
    """
    store.check_name(name)
    names = [label for label, _ in also_measure]
    if twice := {label for label in names if names.count(label) > 1}:
        raise RunError(f"two sets of photos are called {twice.pop()}; give them different names")
    if strangers := [label for label in (*threshold_from, *gallery_from) if label not in names]:
        raise RunError(f"no photos called {strangers[0]} are measured; there are {', '.join(names) or 'none'}")
    if with_report and not names:
        raise RunError("a report from renders to photos needs photos; give some with --also-measure NAME=FOLDER")
    measured = _measure(
        run,
        data_name=words.data,
        dataset=dataset,
        also_measure=also_measure,
        threshold_from=threshold_from,
        work=work,
        bar=bar,
    )
    prepared = prepare(measured.loaded) if prepare else Prepared()
    return store.publish(
        store_root,
        name,
        lambda folder, version: _fill(
            folder,
            name,
            version,
            measured,
            words,
            with_report=with_report,
            gallery_from=gallery_from,
            prepared=prepared,
        ),
        check_release,
    )


def _measure(
    run: Path,
    *,
    data_name: str,
    dataset: Path | None,
    also_measure: Sequence[tuple[str, Path]],
    threshold_from: Sequence[str],
    work: WorkFolder,
    bar: Bar,
) -> _Measured:
    record = RunRecord.read(run)
    loaded = load_run(run)
    data = read_dataset(dataset or Path(record.dataset), class_names=record.class_names, format=record.dataset_format)
    if data.fingerprint() != record.dataset_fingerprint:
        raise RunError(f"{dataset or record.dataset} has changed since {run} began")
    held_out = data.widened(record.config.box_margin).select(read_names(run / HOLD_OUT_LIST))
    read = [(label, read_dataset(folder, class_names=record.class_names)) for label, folder in also_measure]
    engine = TorchEngine(loaded.network, "cpu")
    held_out_name = with_margin(f"{data_name}, held out", record.config.box_margin)
    hold_out = measure_kept(engine, loaded, held_out_name, held_out, work=work, bar=bar)
    others = tuple(measure_kept(engine, loaded, label, other, work=work, bar=bar) for label, other in read)
    deciding = tuple(item for item in others if item.name in threshold_from)
    best = pool(deciding or (hold_out,)).result.best_f1
    if deciding and best.f1 == 0:
        raise RunError(f"nothing found in {' + '.join(threshold_from)} is right; it cannot choose the threshold")
    return _Measured(
        record,
        loaded,
        hold_out,
        others,
        score_threshold=best.score_threshold,
        threshold_from=tuple(item.name for item in deciding),
        golden_pixels=tuple(
            golden_images.choose(held_out.images, hold_out.found, engine, score_threshold=best.score_threshold)
        ),
    )


def _fill(
    folder: Path,
    name: str,
    version: int,
    measured: _Measured,
    words: Words,
    *,
    with_report: bool,
    gallery_from: Sequence[str],
    prepared: Prepared,
) -> None:
    """Write a release's files, the manifest last."""
    torch.save(measured.loaded.network.state_dict(), folder / WEIGHTS)
    manifest = _manifest(name, version, measured, words)
    manifest = add_golden(folder, manifest, measured.golden_pixels, TorchEngine(measured.loaded.network, "cpu"))
    manifest = add_engines(folder, manifest, prepared)
    report = _report(manifest, measured, gallery_from) if with_report else None
    if report is None:
        measured_on = {item.name: item.result for item in (measured.hold_out, *measured.others)}
        plot_precision_recall(measured_on, folder / PRECISION_RECALL)
    else:
        write_sim2real_pictures(folder, report)
    write_card(folder / CARD, manifest, report)
    manifest.model_copy(update={"files": hashes_of(folder)}).write(folder)


def add_golden(folder: Path, manifest: Manifest, pixels: Sequence[images.RgbImage], engine: Engine) -> Manifest:
    """Write golden images and a picture of what is found on the first, and return the manifest with them.

    Args:
        folder: of the release.
        manifest: of the release.
        pixels: the golden images, uint8 (H, W, 3).
        engine: eager fp32.
    """
    threshold = manifest.score_threshold
    for image in manifest.golden:  # of the version before, if this one was copied from it
        (folder / image.file).unlink(missing_ok=True)
    written = golden_images.write(folder, pixels, engine, score_threshold=threshold)
    first = images.read(folder / written[0].file)
    (found,) = engine.detect([first])
    picture = draw_detections(first, found.above(threshold), class_names=manifest.class_names)
    picture.save(folder / DETECTIONS_PICTURE, quality=90)
    return manifest.model_copy(update={"golden": written})


def add_engines(folder: Path, manifest: Manifest, prepared: Prepared) -> Manifest:
    """Copy prepared engines into a release's folder, and return its manifest with them.

    They replace those of the same name. What each moves on the golden images, which must lie in the folder, becomes
    part of its record. An engine that does not pass the golden check is left out, an older one too.
    """
    engines, refused = dict(manifest.engines), {**manifest.refused_engines, **prepared.refused}
    for name in {*prepared.engines, *prepared.refused} & set(engines):
        shutil.rmtree(folder / str(engines.pop(name).graphs))
    for name, item in prepared.engines.items():
        shutil.copytree(item.folder, folder / str(item.record.graphs))
        engines[name] = item.record
        refused.pop(name, None)
    for name, record in list(engines.items()):
        try:
            engines[name] = _checked(name, record, folder, manifest, is_new=name in prepared.engines)
        except ModelError as error:
            shutil.rmtree(folder / str(engines.pop(name).graphs))
            refused[name] = str(error)
    return manifest.model_copy(update={"engines": engines, "refused_engines": refused})


def _checked(name: str, record: EngineRecord, folder: Path, manifest: Manifest, *, is_new: bool) -> EngineRecord:
    """Run the golden check of an engine as `open_detector` does, and return its record; a new one gets its drift.

    Raises:
        ModelError: it does not compile, or does not pass.
    """
    if record.graphs is None:
        return record
    from model_store.engines.openvino import OpenVinoEngine, graphs_in  # noqa: PLC0415 - not in every installation

    engine = OpenVinoEngine(graphs_in(folder / record.graphs), name, rule=manifest.input, streams=usable_cores())
    if is_new:
        moved, *_ = golden_moves(engine, folder, manifest)
        drift = Drift(box=round(moved.box, 5), logit=round(moved.logit, 4))
        record = record.model_copy(update={"golden_drift": drift})
    check_golden(engine, Release(folder, manifest.model_copy(update={"engines": {name: record}})))
    return record


def hashes_of(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file in a release's folder, by its path there."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in paths}


def check_release(release: Release) -> None:
    """Load a release back as the service does, with each of its engines, and hold it against its golden images.

    Raises:
        ModelError: it does not load, or finds something else.
    """
    loaded = load_network(str(release.folder), store_root=release.folder)
    check_golden(TorchEngine(loaded.network, "cpu"), release)
    for name in release.manifest.engines:
        open_detector(str(release.folder), store_root=release.folder, device="cpu", engine=name)


def _report(manifest: Manifest, measured: _Measured, gallery_from: Sequence[str]) -> Sim2Real:
    return Sim2Real.of(
        f"{manifest.name}@{manifest.version}",
        sha256=measured.loaded.card.sha256,
        score_threshold=measured.score_threshold,
        synthetic=measured.hold_out,
        real=measured.others,
        shown=[item for item in measured.others if item.name in gallery_from],
    )


def origin_of(record: RunRecord) -> Origin:
    """Return where a release of a run comes from; it names no folder of this machine."""
    config = record.config.model_dump(mode="json")
    return Origin(
        dataset_fingerprint=record.dataset_fingerprint,
        config={**config, "weights": Path(record.config.weights).name},
        seed=record.config.seed,
        commit=record.commit,
        library_versions=record.library_versions,
        continued_from=record.continued_from,
    )


def _manifest(name: str, version: int, measured: _Measured, words: Words) -> Manifest:
    """Return the manifest without what the folder's files decide: their hashes and the golden detections."""
    record, options, card = measured.record, measured.loaded.options, measured.loaded.card
    return Manifest(
        name=name,
        version=version,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        description=words.description,
        licence=words.licence,
        architecture=card.architecture,
        options=options.model_dump(mode="json"),
        class_names=card.class_names,
        input=InputRule(
            min_size=options.min_size,
            max_size=options.max_size,
            mean=architectures.IMAGENET_MEAN,
            std=architectures.IMAGENET_STD,
        ),
        score_floor=card.score_floor,
        detections_per_image=card.detections_per_image,
        score_threshold=measured.score_threshold,
        score_threshold_from=measured.threshold_from,
        provenance=words.provenance,
        files={},
        metrics=tuple(item.metrics() for item in (measured.hold_out, *measured.others)),
        origin=origin_of(record),
    )
