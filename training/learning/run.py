"""Start or resume of a training run: dataset, split, network and run folder. `trainer.py` runs the epochs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from model_store import architectures
from rendersight.annotations import AnnotationError, ReadOptions
from training.config import ConfigError, TrainConfig
from training.data.anchor_fit import raise_limit
from training.data.dataset import LabelledImages, read_dataset
from training.data.split import own_split, split, split_by_names, trainable
from training.learning.distributed import World
from training.learning.trainer import RunContext, Say, Trainer
from training.learning.weights import load_initial_weights
from training.records import run_folder
from training.records.checkpoint import LAST
from training.records.run_folder import RunError, RunRecord

__all__ = ["RunContext", "Say", "begun_by_this_command", "resume", "start"]


def start(
    dataset: Path,
    out: Path,
    config: TrainConfig,
    *,
    class_names: tuple[str, ...] | None,
    context: RunContext,
    hold_out_names: Sequence[str] | None = None,
    reading: ReadOptions | None = None,
    follow_splits: bool = True,
    composites_from: Path | None = None,
) -> None:
    """Train from initial weights into a new run folder.

    Args:
        dataset: folder of labelled images.
        out: the run folder.
        config: training configuration.
        class_names: class names in label order; None takes the labels of the data, sorted.
        context: device, processes and output.
        hold_out_names: names of the images to hold out, such as those of an earlier run; None chooses them.
        reading: how the dataset's files are read; None detects the format and takes nothing for granted.
        follow_splits: if `hold_out_names` is None and the dataset's files define a train and a val part, hold out
            the val part.
        composites_from: folder of the cut-outs and backdrops, if the configuration asks for composites.

    Raises:
        AnnotationError: the dataset cannot be used.
        ConfigError: there are more processes than images in a batch.
        RunError: the folder already holds a run.
        ModelError: the initial weights cannot be used.
        InputMismatch: another process has another dataset or another configuration.
        NonFiniteLoss: the training diverged.
        Stopped: a stop was requested.
    """
    world = context.world
    world.check_same("hyperparameters", config)
    _check_batch(config, world)
    world.first(lambda: run_folder.check_new(out))

    def read() -> tuple[LabelledImages, LabelledImages, LabelledImages]:
        data = read_dataset(dataset, class_names=class_names, reading=reading)
        train, hold_out = _divide(data, config, hold_out_names, follow_splits=follow_splits, say=context.say)
        _check_objects(dataset, train, hold_out, say=context.say)
        _warn_of_crowds(data, config.network_options().detections_per_image, say=context.say)
        return data, train, hold_out

    data, train, hold_out = world.together(read)
    fingerprint = data.fingerprint()
    world.check_same(f"images and labels in {dataset}", fingerprint)
    world.check_same("images held out", [image.name for image in hold_out.images])
    torch.manual_seed(config.seed)
    network = architectures.build(
        config.architecture, class_count=len(data.class_names), options=config.network_options()
    )
    loaded = world.first(
        lambda: load_initial_weights(
            network,
            config.weights,
            architecture=config.architecture,
            class_names=data.class_names,
            store_root=context.store_root,
        )
    )
    context.say(str(loaded))
    launchers = {name for name in world.gather(world.process.launcher) if name}

    record = world.first(
        lambda: RunRecord(
            dataset=str(dataset),
            reading=reading or ReadOptions(),
            composites_from=None if composites_from is None else str(composites_from),
            dataset_fingerprint=fingerprint,
            class_names=data.class_names,
            config=config,
            commit=run_folder.commit(),
            library_versions=run_folder.library_versions(),
            weights=str(loaded),
            continued_from=loaded.source,
            launchers=tuple(sorted(launchers)),
        )
    )
    trainer = Trainer(record, out, train=train, hold_out=hold_out, network=network, context=context)

    def begin() -> None:
        run_folder.prepare(out, resume=False)
        run_folder.write_names(out / run_folder.TRAIN_LIST, [image.name for image in train.images])
        run_folder.write_names(out / run_folder.HOLD_OUT_LIST, [image.name for image in hold_out.images])
        record.write(out)

    world.first(begin)
    trainer.save()  # a run can be resumed from its first step on
    trainer.run()


def resume(out: Path, *, context: RunContext, dataset: Path | None = None, composites_from: Path | None = None) -> None:
    """Resume a stopped run. Its result equals that of an uninterrupted run.

    Args:
        out: the run folder.
        context: device, processes and output; they may differ from those before the stop.
        dataset: folder of the images now; None takes the recorded folder.
        composites_from: folder of the cut-outs now; None takes the recorded folder.

    Raises:
        RunError: there is no run to resume, or the dataset has changed since the run began.
        BrokenCheckpoint: the last checkpoint cannot be read.
        AnnotationError, ConfigError, NonFiniteLoss, Stopped: as `start`.
    """
    world = context.world

    def open_run() -> tuple[RunRecord, list[str], list[str]]:
        run_folder.prepare(out, resume=True)
        record = RunRecord.read(out)
        if composites_from is not None:
            record = replace(record, composites_from=str(composites_from))
        train_names = run_folder.read_names(out / run_folder.TRAIN_LIST)
        return record, train_names, run_folder.read_names(out / run_folder.HOLD_OUT_LIST)

    record, train_names, hold_out_names = world.first(open_run)
    _check_batch(record.config, world)

    def read() -> tuple[LabelledImages, LabelledImages]:
        place = dataset or Path(record.dataset)
        data = read_dataset(place, class_names=record.class_names, reading=record.reading)
        if data.fingerprint() != record.dataset_fingerprint:
            raise RunError(f"{place} has changed since {out} began; start a new run")
        wide = data.widened(record.config.box_margin)
        return wide.select(train_names), wide.select(hold_out_names)

    train, hold_out = world.together(read)
    network = architectures.build(
        record.config.architecture, class_count=len(record.class_names), options=record.config.network_options()
    )
    trainer = Trainer(record, out, train=train, hold_out=hold_out, network=network, context=context)
    trainer.load()
    trainer.run()


def begun_by_this_command(out: Path, world: World) -> bool:
    """Return whether the torchrun that started this process also began the run in a folder.

    After a failure torchrun repeats the command as given, without --resume. The run record names the torchrun
    processes that began the run, so a restart continues its own run and no other.
    """
    launchers = {name for name in world.gather(world.process.launcher) if name}
    if not launchers:
        return False
    return world.first(lambda: (out / LAST).is_file() and not launchers.isdisjoint(RunRecord.read(out).launchers))


def _check_batch(config: TrainConfig, world: World) -> None:
    if config.batch_size < world.size:
        raise world.once(
            ConfigError(
                f"batch_size {config.batch_size}, the images of one step of all processes together, is less than the "
                f"{world.size} processes; accepted: at least as many"
            )
        )


def _check_objects(dataset: Path, train: LabelledImages, hold_out: LabelledImages, *, say: Say) -> None:
    """Raise an error if no image to train on has an object. Report what the hold-out images cannot measure."""
    if not any(image.labels for image in train.images):
        raise AnnotationError(
            f"none of the {len(train.images)} images to train on has a labelled object, so there is nothing to learn; "
            f"look at what is read: python -m training inspect {dataset}"
        )
    if not any(image.labels for image in hold_out.images):
        say("no held-out image has a labelled object: nothing is measured, and the last epoch's weights are kept")


def _warn_of_crowds(data: LabelledImages, most: int, *, say: Say) -> None:
    """Warn if images show more objects than the network may report."""
    counts = [len(image.labels) for image in data.images]
    if max(counts) > most:
        say(
            f"{sum(count > most for count in counts)} images show more objects, up to {max(counts)}, than the {most} "
            f"that the network reports; {raise_limit(max(counts))}"
        )


def _divide(
    data: LabelledImages, config: TrainConfig, hold_out_names: Sequence[str] | None, *, follow_splits: bool, say: Say
) -> tuple[LabelledImages, LabelledImages]:
    """Return the training part and the hold-out part."""
    wide = data.widened(config.box_margin)
    if hold_out_names is not None:
        train, hold_out = split_by_names(wide, hold_out_names)
    elif follow_splits and (parts := own_split(wide)) is not None:
        train, hold_out = parts
        say("held out: what the dataset's files call val")
    else:
        train, hold_out = split(trainable(wide), hold_out=config.hold_out, seed=config.seed, group_by=config.group_by)
    if left := len(data.images) - len(train.images) - len(hold_out.images):
        say(f"{left} images are in neither part, because the dataset's files keep them apart, such as for a test")
    return train, hold_out
