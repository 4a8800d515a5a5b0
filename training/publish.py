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
from model_store.manifest import ExpectedDetection, InputRule, Manifest, Metrics, Origin
from model_store.store import CARD, GOLDEN_IMAGE, WEIGHTS, Release, sha256_of
from rendersight import images
from rendersight.annotations.folder import load_pixels
from rendersight.detections import Detections
from training import run_folder
from training.card import write_card
from training.dataset import LabelledImages, read_dataset
from training.evaluation import Evaluation, detect_all, evaluate
from training.loading import load_run
from training.plots import picture_of_detections, plot_precision_recall
from training.run import Bar

DETECTIONS_PICTURE = "detections.jpg"
PRECISION_RECALL = "precision_recall.png"


@dataclass(frozen=True)
class Words:
    """What no figure tells: what the data was, and under which licence the release may be used."""

    description: str
    data: str
    licence: str


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
        RunError, ModelError, AnnotationError: the run, what it gave, or a dataset cannot be used.
    """
    record = run_folder.RunRecord.read(run)
    loaded = load_run(run)
    data = read_dataset(dataset or Path(record.dataset), class_names=record.class_names)
    if data.fingerprint() != record.dataset_fingerprint:
        raise run_folder.RunError(f"{dataset or record.dataset} has changed since {run} began")
    hold_out = data.select(run_folder.read_names(run / run_folder.HOLD_OUT_LIST))
    others = [(label, read_dataset(folder, class_names=record.class_names)) for label, folder in also_measure]
    engine = TorchEngine(loaded.network, "cpu")
    found = detect_all(engine, hold_out, progress=partial(bar, desc="hold-out"))
    result = evaluate(hold_out, found)
    metrics = [_metrics(f"{words.data}, held out", result)]
    for label, other in others:
        found_there = detect_all(engine, other, progress=partial(bar, desc=label))
        metrics.append(_metrics(label, evaluate(other, found_there)))
    threshold = result.best_f1.score_threshold
    image = choose_golden(hold_out, found, score_threshold=threshold)
    origin = Origin(
        dataset_fingerprint=record.dataset_fingerprint,
        config=record.config.model_dump(mode="json"),
        seed=record.config.seed,
        commit=record.commit,
        library_versions=record.library_versions,
        continued_from=record.continued_from,
    )

    def fill(folder: Path, version: int) -> None:
        torch.save(loaded.network.state_dict(), folder / WEIGHTS)
        Image.fromarray(load_pixels(hold_out.images[image])).save(folder / GOLDEN_IMAGE, quality=95)
        plot_precision_recall(result, folder / PRECISION_RECALL)
        pixels = images.read(folder / GOLDEN_IMAGE)
        expected = engine.detect([pixels])[0]
        drawn = picture_of_detections(pixels, expected.above(threshold), record.class_names)
        drawn.save(folder / DETECTIONS_PICTURE, quality=90)
        manifest = _manifest(
            name,
            version,
            loaded=loaded,
            threshold=threshold,
            metrics=metrics,
            origin=origin,
            expected=golden.expectation(expected, score_threshold=threshold),
            words=words,
        )
        write_card(folder / CARD, manifest)
        hashes = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
        manifest.model_copy(update={"files": hashes}).write(folder)

    return store.publish(store_root, name, fill, check_release)


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


def _manifest(
    name: str,
    version: int,
    *,
    loaded: LoadedNetwork,
    threshold: float,
    metrics: Sequence[Metrics],
    origin: Origin,
    expected: tuple[ExpectedDetection, ...],
    words: Words,
) -> Manifest:
    return Manifest(
        name=name,
        version=version,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        description=words.description,
        licence=words.licence,
        architecture=loaded.card.architecture,
        options=loaded.options.model_dump(mode="json"),
        class_names=loaded.card.class_names,
        input=InputRule(
            min_size=loaded.options.min_size,
            max_size=loaded.options.max_size,
            mean=architectures.IMAGENET_MEAN,
            std=architectures.IMAGENET_STD,
        ),
        score_floor=loaded.card.score_floor,
        detections_per_image=loaded.card.detections_per_image,
        score_threshold=threshold,
        files={},
        metrics=tuple(metrics),
        origin=origin,
        golden=expected,
    )
