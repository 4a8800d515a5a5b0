"""A training from its images to its best checkpoint: what it begins or goes on with; `trainer.py` runs it."""

from collections.abc import Sequence
from pathlib import Path

import torch

from model_store import architectures
from training.config import ConfigError, TrainConfig
from training.data.dataset import (
    LabelledImages,
    own_split,
    read_dataset,
    split,
    split_by_names,
    without_test,
)
from training.learning.distributed import World
from training.learning.trainer import Say, Surroundings, Trainer
from training.learning.weights import load_initial_weights
from training.records import run_folder
from training.records.checkpoint import LAST
from training.records.run_folder import RunError, RunRecord

__all__ = ["Say", "Surroundings", "begun_by_this_command", "resume", "start"]


def start(
    dataset: Path,
    out: Path,
    config: TrainConfig,
    *,
    class_names: tuple[str, ...] | None,
    around: Surroundings,
    hold_out_names: Sequence[str] | None = None,
    dataset_format: str | None = None,
    follow_splits: bool = True,
) -> None:
    """Train from the beginning, into a new run folder.

    Args:
        dataset: folder of labelled images.
        out: the run's folder.
        config: of the training.
        class_names: in their order; None takes those of the data, sorted.
        around: machine and person.
        hold_out_names: the images to hold out, such as those of the run to continue from; None draws them.
        dataset_format: a key of `rendersight.annotations.formats.FORMATS`; None recognises it.
        follow_splits: where nothing is named and the dataset's files have a train and a val part, hold out the latter.

    Raises:
        AnnotationError: the dataset cannot be used.
        ConfigError: more processes than images in a batch.
        RunError: the folder already holds a run.
        ModelError: the weights to begin from cannot be used.
        Differs: another process has another dataset or another configuration.
        NonFiniteLoss: the training diverged.
        Stopped: it was asked to.
    """
    world = around.world
    world.check_same("hyperparameters", config)
    _check_batch(config, world)
    world.first(lambda: run_folder.check_new(out))

    def read() -> tuple[LabelledImages, LabelledImages, LabelledImages]:
        data = read_dataset(dataset, class_names=class_names, format=dataset_format)
        return data, *_divide(data, config, hold_out_names, follow_splits=follow_splits, say=around.say)

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
            store_root=around.store_root,
        )
    )
    around.say(str(loaded))
    launchers = {name for name in world.gather(world.place.launcher) if name}

    def begin() -> RunRecord:
        run_folder.prepare(out, resume=False)
        run_folder.write_names(out / run_folder.TRAIN_LIST, [image.name for image in train.images])
        run_folder.write_names(out / run_folder.HOLD_OUT_LIST, [image.name for image in hold_out.images])
        record = RunRecord(
            dataset=str(dataset),
            dataset_format=dataset_format,
            dataset_fingerprint=fingerprint,
            class_names=data.class_names,
            config=config,
            commit=run_folder.commit(),
            library_versions=run_folder.library_versions(),
            weights=str(loaded),
            continued_from=loaded.source,
            launchers=tuple(sorted(launchers)),
        )
        record.write(out)
        return record

    record = world.first(begin)
    trainer = Trainer(record, out, train=train, hold_out=hold_out, network=network, around=around)
    trainer.save()  # so that there is something to resume from the first step on
    trainer.run()


def resume(out: Path, *, around: Surroundings, dataset: Path | None = None) -> None:
    """Go on with a run that was stopped, as if it had not been.

    Args:
        out: the run's folder.
        around: device, number of processes and the like may be others than before.
        dataset: where the images are now; None where they were.

    Raises:
        RunError: no run to go on with, or the dataset is not the one it began with.
        BrokenCheckpoint: its last checkpoint cannot be read.
        AnnotationError, ConfigError, NonFiniteLoss, Stopped: as `start`.
    """
    world = around.world

    def open_run() -> tuple[RunRecord, list[str], list[str]]:
        run_folder.prepare(out, resume=True)
        record = RunRecord.read(out)
        train_names = run_folder.read_names(out / run_folder.TRAIN_LIST)
        return record, train_names, run_folder.read_names(out / run_folder.HOLD_OUT_LIST)

    record, train_names, hold_out_names = world.first(open_run)
    _check_batch(record.config, world)

    def read() -> tuple[LabelledImages, LabelledImages]:
        place = dataset or Path(record.dataset)
        data = read_dataset(place, class_names=record.class_names, format=record.dataset_format)
        if data.fingerprint() != record.dataset_fingerprint:
            raise RunError(f"{place} has changed since {out} began; start a new run")
        wide = data.widened(record.config.box_margin)
        return wide.select(train_names), wide.select(hold_out_names)

    train, hold_out = world.together(read)
    network = architectures.build(
        record.config.architecture, class_count=len(record.class_names), options=record.config.network_options()
    )
    trainer = Trainer(record, out, train=train, hold_out=hold_out, network=network, around=around)
    trainer.load()
    trainer.run()


def begun_by_this_command(out: Path, world: World) -> bool:
    """Tell whether a folder holds a run that the torchrun around this process began, which has now started it anew.

    torchrun repeats the command as it was given, without --resume; what it finds is its own run only if it says so.
    """
    launchers = {name for name in world.gather(world.place.launcher) if name}
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


def _divide(
    data: LabelledImages, config: TrainConfig, hold_out_names: Sequence[str] | None, *, follow_splits: bool, say: Say
) -> tuple[LabelledImages, LabelledImages]:
    """Return what to train on and what to hold out."""
    wide = data.widened(config.box_margin)
    if hold_out_names is not None:
        train, hold_out = split_by_names(wide, hold_out_names)
    elif follow_splits and (parts := own_split(wide)) is not None:
        train, hold_out = parts
        say("held out: what the dataset's files call val")
    else:
        train, hold_out = split(
            without_test(wide), hold_out=config.hold_out, seed=config.seed, group_by=config.group_by
        )
    if left := len(data.images) - len(train.images) - len(hold_out.images):
        say(f"{left} images are in neither part, as the dataset's files keep them apart")
    return train, hold_out
