"""Publishing of a run's best checkpoint as a release: measure it, write it, load it back and check it."""

import datetime
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from model_store import store
from model_store.cpu import usable_cores
from model_store.detector import check_golden, golden_differences, open_detector
from model_store.engines import Engine
from model_store.engines.torch import TorchEngine
from model_store.errors import ModelError
from model_store.manifest import Drift, EngineRecord, Manifest, Origin
from model_store.network import LoadedNetwork, load_network
from model_store.store import CARD, WEIGHTS, Release, sha256_of
from rendersight import images
from rendersight.drawing import draw_detections
from training.console import Bar
from training.data.dataset import LabelledImages, read_dataset, with_margin
from training.measuring.measured import Domain, pool
from training.measuring.sim2real import Sim2Real
from training.records.loading import load_run
from training.records.run_folder import HOLD_OUT_LIST, RunError, RunRecord, read_names
from training.releasing import golden_images
from training.releasing.work_folder import WorkFolder, identity_of, measure_kept
from training.reports.markdown import CROPS, FIGURE_PICTURES, PRECISION_RECALL
from training.reports.model_card import card_text
from training.reports.plots import plot_precision_recall
from training.reports.report_folder import write_sim2real
from training.synthetic.dataset import is_render

DETECTIONS_PICTURE = "detections.jpg"
ENGINES_FOLDER = "engines"
SIM2REAL = "sim2real"
"""Folder of the report from renders to photos, inside the run's folder."""


@dataclass(frozen=True)
class PreparedEngine:
    """An engine ready to be published.

    Attributes:
        record: the engine's entry in the manifest, with its measured figures.
        folder: folder with the engine's graphs.
    """

    record: EngineRecord
    folder: Path


@dataclass(frozen=True)
class PreparedEngines:
    """Result of preparing engines.

    Attributes:
        engines: name -> engine ready to be published.
        refused: name -> reason why an engine is left out.
    """

    engines: dict[str, PreparedEngine] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ReleaseTexts:
    """Texts for the model card and the manifest.

    Attributes:
        description: what the release is.
        data: name of the run's dataset.
        licence: terms of use of the release.
        provenance: which data each choice was based on.
    """

    description: str
    data: str
    licence: str
    provenance: str = ""


@dataclass(frozen=True, eq=False)
class _Measured:
    """A run's best weights and their measurements."""

    record: RunRecord
    loaded: LoadedNetwork
    hold_out: Domain
    others: tuple[Domain, ...]
    score_threshold: float
    threshold_from: tuple[str, ...]
    golden_pixels: tuple[images.RgbImage, ...]
    golden_source: str


def publish(
    run: Path,
    name: str,
    *,
    store_root: Path,
    texts: ReleaseTexts,
    dataset: Path | None,
    also_measure: Sequence[tuple[str, Path]],
    threshold_from: Sequence[str] = (),
    golden_from: Path | None = None,
    with_report: bool = False,
    with_photos: bool = False,
    gallery_from: Sequence[str] = (),
    prepare: Callable[[LoadedNetwork], PreparedEngines] | None = None,
    work: WorkFolder,
    bar: Bar,
) -> Release:
    """Measure a run's best checkpoint in eager fp32 on its hold-out images and publish it as the next version.

    Args:
        run: the run folder.
        name: name of the release.
        store_root: folder of the model store.
        texts: texts for the card and the manifest.
        dataset: folder of the run's images now; None takes the recorded folder.
        also_measure: names and folders of other labelled images to measure on.
        threshold_from: names from `also_measure`. The recommended threshold has the best F1 on these images taken
            together. If empty, the hold-out images decide.
        golden_from: folder of images to choose the golden images from; None takes the hold-out images, but only renders
            unless `with_photos`.
        with_report: put the sim-to-real report into the card, with the hold-out images as renders and `also_measure`
            as photos. The report with crops of the photos is written into the run's folder `SIM2REAL`.
        with_photos: the release may show photos: as golden images, and as crops in its report.
        gallery_from: names from `also_measure` whose crops the report shows; if empty, it shows all.
        prepare: function that prepares engines to publish with the state dict; see `training.releasing.accelerate`.
        work: work folder that keeps the detections.
        bar: a progress bar with the interface of tqdm.

    Raises:
        RunError, ModelError, AnnotationError: the run, its checkpoint, a name or a dataset cannot be used, or no
            detection is correct in the photos that choose the threshold.
    """
    store.check_name(name)
    names = [label for label, _ in also_measure]
    if twice := {label for label in names if names.count(label) > 1}:
        raise RunError(f"two sets of photos are called {twice.pop()}; give them different names")
    if strangers := [label for label in (*threshold_from, *gallery_from) if label not in names]:
        known = ", ".join(names) or "none"
        raise RunError(f"no photos called {strangers[0]} are measured; --also-measure names {known}")
    if with_report and not names:
        raise RunError("--sim2real needs photos; add --also-measure NAME=FOLDER")
    if gallery_from and not with_photos:
        raise RunError("--gallery-from chooses among the photos to publish; add --with-photos to publish crops of them")
    measured = _measure(
        run,
        data_name=texts.data,
        dataset=dataset,
        also_measure=also_measure,
        threshold_from=threshold_from,
        golden_from=golden_from,
        with_photos=with_photos,
        work=work,
        bar=bar,
    )
    prepared = prepare(measured.loaded) if prepare else PreparedEngines()

    def fill(folder: Path, version: int) -> None:
        """Write a release's files, the manifest last."""
        torch.save(measured.loaded.network.state_dict(), folder / WEIGHTS)
        manifest = _manifest(name, version, measured, texts)
        manifest = add_golden(folder, manifest, measured.golden_pixels, TorchEngine(measured.loaded.network, "cpu"))
        manifest = add_engines(folder, manifest, prepared)
        report = _report(manifest, measured, gallery_from) if with_report else None
        if report is None:
            measured_on = {item.name: item.result for item in (measured.hold_out, *measured.others)}
            plot_precision_recall(measured_on, folder / PRECISION_RECALL)
        else:
            write_sim2real(run / SIM2REAL, report)
            for picture in (*FIGURE_PICTURES, *(CROPS if with_photos else ())):
                shutil.copyfile(run / SIM2REAL / picture, folder / picture)
        (folder / CARD).write_text(card_text(manifest, report, with_photos=with_photos), "utf-8")
        manifest.model_copy(update={"files": hashes_of(folder)}).write(folder)

    release = store.publish(store_root, name, fill, check_release)
    work.say(f"golden images and {DETECTIONS_PICTURE}: {measured.golden_source}")
    if with_report:
        crops = "published too" if with_photos else "not published"
        work.say(f"report with crops of the photos: {run / SIM2REAL}; the crops are {crops}")
    return release


def _measure(
    run: Path,
    *,
    data_name: str,
    dataset: Path | None,
    also_measure: Sequence[tuple[str, Path]],
    threshold_from: Sequence[str],
    golden_from: Path | None,
    with_photos: bool,
    work: WorkFolder,
    bar: Bar,
) -> _Measured:
    record = RunRecord.read(run)
    loaded = load_run(run)
    read = partial(read_dataset, class_names=record.class_names, decode=False)  # detection decodes what is measured
    data = read(dataset or Path(record.dataset), reading=record.reading)
    if data.fingerprint() != record.dataset_fingerprint:
        raise RunError(f"{dataset or record.dataset} has changed since {run} began")
    held_out = data.widened(record.config.box_margin).select(read_names(run / HOLD_OUT_LIST))
    candidates, golden_source = _golden_candidates(held_out, golden_from, with_photos=with_photos)
    photos = [(label, read(folder)) for label, folder in also_measure]
    engine = TorchEngine(loaded.network, "cpu")
    held_out_name = with_margin(f"{data_name}, held out", record.config.box_margin)
    hold_out = measure_kept(engine, loaded, held_out_name, held_out, work=work, bar=bar)
    others = tuple(measure_kept(engine, loaded, label, other, work=work, bar=bar) for label, other in photos)
    deciding = tuple(item for item in others if item.name in threshold_from)
    best = pool(deciding or (hold_out,)).result.best_f1
    if deciding and best.f1 == 0:
        raise RunError(f"nothing found in {' + '.join(threshold_from)} is correct, so it cannot choose the threshold")
    if golden_from is None:
        found_in = dict(zip((image.name for image in held_out.images), hold_out.found, strict=True))
        found = [found_in[image.name] for image in candidates.images]
    else:
        found = work.detect(engine, identity_of(loaded), "golden images", candidates.images, bar=bar)
    return _Measured(
        record,
        loaded,
        hold_out,
        others,
        score_threshold=best.score_threshold,
        threshold_from=tuple(item.name for item in deciding),
        golden_pixels=tuple(
            golden_images.choose(candidates.images, found, engine, score_threshold=best.score_threshold)
        ),
        golden_source=golden_source,
    )


def _golden_candidates(
    held_out: LabelledImages, golden_from: Path | None, *, with_photos: bool
) -> tuple[LabelledImages, str]:
    """Return the images that golden images may be chosen from, and a description of them for the user.

    Raises:
        RunError: all of them are photos that the user has not agreed to publish.
    """
    if golden_from is not None:
        return read_dataset(golden_from, class_names=held_out.class_names, decode=False), f"images of {golden_from}"
    if with_photos:
        return held_out, "held-out images of the run's dataset"
    renders = tuple(image for image in held_out.images if is_render(image.image_path))
    if not renders:
        raise RunError(
            f"a release contains up to {golden_images.MAX_IMAGES} images, which everyone who gets it can see, and the "
            "held-out images are no renders; publish some of them with --with-photos, or name others with "
            "--golden-from FOLDER"
        )
    return LabelledImages(renders, held_out.class_names), "held-out renders"


def add_golden(folder: Path, manifest: Manifest, pixels: Sequence[images.RgbImage], engine: Engine) -> Manifest:
    """Write golden images and a picture of the detections on the first one, and return the updated manifest.

    Args:
        folder: folder of the release.
        manifest: manifest of the release.
        pixels: the golden images, uint8 (H, W, 3).
        engine: the eager fp32 engine.
    """
    threshold = manifest.score_threshold
    for image in manifest.golden:  # copied from the previous version, if any
        (folder / image.file).unlink(missing_ok=True)
    written = golden_images.write(folder, pixels, engine, score_threshold=threshold)
    first = images.read(folder / written[0].file)
    (found,) = engine.detect([first])
    picture = draw_detections(first, found.above(threshold), class_names=manifest.class_names)
    picture.save(folder / DETECTIONS_PICTURE, quality=90)
    return manifest.model_copy(update={"golden": written})


def add_engines(folder: Path, manifest: Manifest, prepared: PreparedEngines) -> Manifest:
    """Copy prepared engines into a release folder, and return the updated manifest.

    A new engine replaces an older one of the same name. Its record gets its drift on the golden images, which must
    already be in the folder. Every engine that fails the golden check is left out, new or old.
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
    """Run an engine's golden check as `open_detector` does. Return its record, with the drift if it is new.

    Raises:
        ModelError: the engine does not compile, or fails the golden check.
    """
    if record.graphs is None:
        return record
    from model_store.engines.openvino import OpenVinoEngine, graphs_in  # noqa: PLC0415 - OpenVINO is optional

    engine = OpenVinoEngine(
        graphs_in(folder / record.graphs),
        name,
        rule=manifest.input,
        one_label_iou=manifest.one_label_iou,
        streams=usable_cores(),
    )
    if is_new:
        moved, *_ = golden_differences(engine, folder, manifest)
        drift = Drift(box=round(moved.box, 5), logit=round(moved.logit, 4))
        record = record.model_copy(update={"golden_drift": drift})
    check_golden(engine, Release(folder, manifest.model_copy(update={"engines": {name: record}})))
    return record


def hashes_of(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file in a release folder, by relative path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in paths}


def check_release(release: Release) -> None:
    """Load a release and each of its engines as the service does, and run the golden check.

    Raises:
        ModelError: the release does not load, or fails the golden check.
    """
    loaded = load_network(str(release.folder), store_root=release.folder)
    check_golden(TorchEngine(loaded.network, "cpu"), release)
    for name in release.manifest.engines:
        open_detector(str(release.folder), store_root=release.folder, device="cpu", engine=name)


def _report(manifest: Manifest, measured: _Measured, gallery_from: Sequence[str]) -> Sim2Real:
    return Sim2Real.of(
        f"{manifest.name}@{manifest.version}",
        sha256=measured.loaded.info.sha256,
        input_rule=measured.loaded.info.input,
        score_threshold=measured.score_threshold,
        synthetic=measured.hold_out,
        real=measured.others,
        shown=[item for item in measured.others if item.name in gallery_from],
    )


def origin_of(record: RunRecord) -> Origin:
    """Return the origin of a run's release. It names no folder of this machine."""
    config = record.config.model_dump(mode="json")
    return Origin(
        dataset_fingerprint=record.dataset_fingerprint,
        config={**config, "weights": Path(record.config.weights).name},
        seed=record.config.seed,
        commit=record.commit,
        library_versions=record.library_versions,
        continued_from=record.continued_from,
    )


def _manifest(name: str, version: int, measured: _Measured, texts: ReleaseTexts) -> Manifest:
    """Return the manifest without the parts that depend on the written files: hashes, golden images and engines."""
    record, options, info = measured.record, measured.loaded.options, measured.loaded.info
    return Manifest(
        name=name,
        version=version,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        description=texts.description,
        licence=texts.licence,
        architecture=info.architecture,
        options=options.model_dump(mode="json"),
        class_names=info.class_names,
        input=info.input,
        score_floor=info.score_floor,
        detections_per_image=info.detections_per_image,
        one_label_iou=options.one_label_iou,
        score_threshold=measured.score_threshold,
        score_threshold_from=measured.threshold_from,
        provenance=texts.provenance,
        files={},
        metrics=tuple(item.metrics() for item in (measured.hold_out, *measured.others)),
        origin=origin_of(record),
    )
