"""A run's best checkpoint -> a release: measured, written, loaded back and checked before it counts."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from model_store import architectures, golden, store
from model_store.detector import LoadedNetwork, check_golden, load_network
from model_store.engines.torch import TorchEngine
from model_store.manifest import InputRule, Manifest, Metrics, Origin
from model_store.store import CARD, GOLDEN_IMAGE, WEIGHTS, Release, sha256_of
from rendersight import images
from rendersight.annotations.folder import load_pixels
from rendersight.detections import Detections
from training.card import write_card
from training.dataset import LabelledImages, read_dataset
from training.evaluation import Evaluation, detect_all, evaluate
from training.loading import load_run
from training.plots import picture_of_detections, plot_precision_recall
from training.run import Bar
from training.run_folder import HOLD_OUT_LIST, RunError, RunRecord, read_names

DETECTIONS_PICTURE = "detections.jpg"
PRECISION_RECALL = "precision_recall.png"


@dataclass(frozen=True)
class Words:
    """What no figure tells: what the data was, and under which licence the release may be used."""

    description: str
    data: str
    licence: str


@dataclass(frozen=True, eq=False)
class _Measured:
    """A run's best weights with everything that was found out about them."""

    record: RunRecord
    loaded: LoadedNetwork
    hold_out: LabelledImages
    result: Evaluation
    metrics: tuple[Metrics, ...]
    golden_pixels: images.RgbImage


def publish(
    run: Path,
    name: str,
    *,
    store_root: Path,
    words: Words,
    dataset: Path | None,
    also_measure: Sequence[tuple[str, Path]],
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
        bar: a progress bar, as tqdm.

    Raises:
        RunError, ModelError, AnnotationError: the run, what it gave, the name or a dataset cannot be used.
    """
    store.check_name(name)
    measured = _measure(run, data_name=words.data, dataset=dataset, also_measure=also_measure, bar=bar)
    return store.publish(
        store_root, name, lambda folder, version: _fill(folder, name, version, measured, words), check_release
    )


def _measure(
    run: Path, *, data_name: str, dataset: Path | None, also_measure: Sequence[tuple[str, Path]], bar: Bar
) -> _Measured:
    record = RunRecord.read(run)
    loaded = load_run(run)
    data = read_dataset(dataset or Path(record.dataset), class_names=record.class_names)
    if data.fingerprint() != record.dataset_fingerprint:
        raise RunError(f"{dataset or record.dataset} has changed since {run} began")
    hold_out = data.select(read_names(run / HOLD_OUT_LIST))
    others = [(label, read_dataset(folder, class_names=record.class_names)) for label, folder in also_measure]
    engine = TorchEngine(loaded.network, "cpu")
    found = detect_all(engine, hold_out, progress=partial(bar, desc="hold-out"))
    result = evaluate(hold_out, found)
    metrics = [_metrics(f"{data_name}, held out", result)]
    for label, other in others:
        found_there = detect_all(engine, other, progress=partial(bar, desc=label))
        metrics.append(_metrics(label, evaluate(other, found_there)))
    chosen = choose_golden(hold_out, found, score_threshold=result.best_f1.score_threshold)
    pixels = load_pixels(hold_out.images[chosen])
    return _Measured(record, loaded, hold_out, result, tuple(metrics), pixels)


def _fill(folder: Path, name: str, version: int, measured: _Measured, words: Words) -> None:
    """Write a release's files, the manifest last."""
    threshold = measured.result.best_f1.score_threshold
    torch.save(measured.loaded.network.state_dict(), folder / WEIGHTS)
    Image.fromarray(measured.golden_pixels).save(folder / GOLDEN_IMAGE, quality=95)
    plot_precision_recall(measured.result, folder / PRECISION_RECALL)
    # what counts is what is found on the file, after its compression
    pixels = images.read(folder / GOLDEN_IMAGE)
    (found,) = TorchEngine(measured.loaded.network, "cpu").detect([pixels])
    picture = picture_of_detections(pixels, found.above(threshold), measured.loaded.card.class_names)
    picture.save(folder / DETECTIONS_PICTURE, quality=90)
    manifest = _manifest(name, version, measured, words).model_copy(
        update={"golden": golden.expectation(found, score_threshold=threshold)}
    )
    write_card(folder / CARD, manifest)
    hashes = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
    manifest.model_copy(update={"files": hashes}).write(folder)


def check_release(release: Release) -> None:
    """Load a release back as the service does and hold it against its golden image.

    Raises:
        ModelError: it does not load, or finds something else.
    """
    loaded = load_network(str(release.folder), store_root=release.folder)
    check_golden(TorchEngine(loaded.network, "cpu"), release)


def _metrics(data: str, result: Evaluation) -> Metrics:
    return Metrics(
        data=data, image_count=result.image_count, figures=result.summary(), per_class_ap=result.per_class_ap
    )


def choose_golden(data: LabelledImages, found: Sequence[Detections], *, score_threshold: float) -> int:
    """Return the image that proves most: sure objects, as few as can be near the threshold, where rounding decides."""

    def proof(item: Detections) -> tuple[bool, int, int]:
        margin = 2 * golden.MAX_SCORE_CHANGE
        near = int((np.abs(item.scores - score_threshold) < margin).sum())
        sure = len(item.above(score_threshold + margin)) or len(item.above(score_threshold))
        return (sure > 0, -near, sure)

    return max(range(len(data.images)), key=lambda index: proof(found[index]))


def _manifest(name: str, version: int, measured: _Measured, words: Words) -> Manifest:
    """Return the manifest without what the folder's files decide: their hashes and the golden detections."""
    record, options, card = measured.record, measured.loaded.options, measured.loaded.card
    config = record.config.model_dump(mode="json")
    origin = Origin(
        dataset_fingerprint=record.dataset_fingerprint,
        config={**config, "weights": Path(record.config.weights).name},  # a release names no folder of this machine
        seed=record.config.seed,
        commit=record.commit,
        library_versions=record.library_versions,
        continued_from=record.continued_from,
    )
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
        score_threshold=measured.result.best_f1.score_threshold,
        files={},
        metrics=measured.metrics,
        origin=origin,
    )
