"""A training from its images to its best checkpoint: the order of things, with the loop in `loop.py`."""

import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.models.detection import FasterRCNN

from model_store import architectures
from model_store.cpu import usable_cores
from model_store.engines.torch import TorchEngine
from rendersight.detections import Detections
from training import checkpoint, run_folder
from training.checkpoint import Progress
from training.config import TrainConfig
from training.console import Bar, Stopped
from training.dataset import (
    DetectionDataset,
    LabelledImages,
    collate,
    epoch_order,
    own_split,
    read_dataset,
    split,
    split_by_names,
    without_test,
)
from training.evaluation import Evaluation, detect_all, evaluate
from training.loop import Schedule, Step, WeightAverage, train_one_epoch
from training.network import accelerate, make_optimizer, size_for_training
from training.precision import fold_frozen_norms
from training.report import write_run_plots
from training.run_folder import RunError, RunRecord
from training.transforms import augmentation
from training.weights import load_initial_weights

SAVE_EVERY_S = 300.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Surroundings:
    """What a run needs beside its configuration, and what does not change its result.

    Attributes:
        device: `cpu` or `cuda:N`.
        workers: processes that read and augment images; 0 does it in this one.
        store_root: the model store, for weights to continue from.
        say: takes a line for the person who watches.
        bar: wraps an iterable in a progress bar, as tqdm does.
        stop_asked: tells whether to stop after the current step; the run can then be resumed exactly there.
        save_every_s: seconds between two checkpoints within an epoch.
    """

    device: str
    workers: int
    store_root: Path
    say: Say
    bar: Bar
    stop_asked: Callable[[], bool]
    save_every_s: float = SAVE_EVERY_S


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
        RunError: the folder already holds a run.
        ModelError: the weights to begin from cannot be used.
        NonFiniteLoss: the training diverged.
        Stopped: it was asked to.
    """
    data = read_dataset(dataset, class_names=class_names, format=dataset_format)
    wide = data.widened(config.box_margin)
    if hold_out_names is not None:
        train, hold_out = split_by_names(wide, hold_out_names)
    elif follow_splits and (parts := own_split(wide)) is not None:
        train, hold_out = parts
        around.say("held out: what the dataset's files call val")
    else:
        wide = without_test(wide)
        train, hold_out = split(wide, hold_out=config.hold_out, seed=config.seed, group_by=config.group_by)
    if left := len(data.images) - len(train.images) - len(hold_out.images):
        around.say(f"{left} images are in neither part, as the dataset's files keep them apart")
    torch.manual_seed(config.seed)
    network = architectures.build(
        config.architecture, class_count=len(data.class_names), options=config.network_options()
    )
    loaded = load_initial_weights(
        network,
        config.weights,
        architecture=config.architecture,
        class_names=data.class_names,
        store_root=around.store_root,
    )
    around.say(str(loaded))
    run_folder.prepare(out, resume=False)
    run_folder.write_names(out / run_folder.TRAIN_LIST, [image.name for image in train.images])
    run_folder.write_names(out / run_folder.HOLD_OUT_LIST, [image.name for image in hold_out.images])
    record = RunRecord(
        dataset=str(dataset),
        dataset_format=dataset_format,
        dataset_fingerprint=data.fingerprint(),
        class_names=data.class_names,
        config=config,
        commit=run_folder.commit(),
        library_versions=run_folder.library_versions(),
        weights=str(loaded),
        continued_from=loaded.source,
    )
    record.write(out)
    trainer = _Trainer(record, out, train=train, hold_out=hold_out, network=network, around=around)
    trainer.save()  # so that there is something to resume from the first step on
    trainer.run()


def resume(out: Path, *, around: Surroundings, dataset: Path | None = None) -> None:
    """Go on with a run that was stopped, as if it had not been.

    Args:
        out: the run's folder.
        around: device and the like may be others than before.
        dataset: where the images are now; None where they were.

    Raises:
        RunError: no run to go on with, or the dataset is not the one it began with.
        BrokenCheckpoint: its last checkpoint cannot be read.
        AnnotationError, NonFiniteLoss, Stopped: as `start`.
    """
    run_folder.prepare(out, resume=True)
    record = RunRecord.read(out)
    data = read_dataset(dataset or Path(record.dataset), class_names=record.class_names, format=record.dataset_format)
    if data.fingerprint() != record.dataset_fingerprint:
        raise RunError(f"{dataset or record.dataset} has changed since {out} began; start a new run")
    wide = data.widened(record.config.box_margin)
    train = wide.select(run_folder.read_names(out / run_folder.TRAIN_LIST))
    hold_out = wide.select(run_folder.read_names(out / run_folder.HOLD_OUT_LIST))
    network = architectures.build(
        record.config.architecture, class_count=len(record.class_names), options=record.config.network_options()
    )
    trainer = _Trainer(record, out, train=train, hold_out=hold_out, network=network, around=around)
    trainer.load()
    trainer.run()


class _Trainer:
    """The state of a running training: network, optimizer, average and progress."""

    def __init__(
        self,
        record: RunRecord,
        out: Path,
        *,
        train: LabelledImages,
        hold_out: LabelledImages,
        network: FasterRCNN,
        around: Surroundings,
    ) -> None:
        config = record.config
        self._record, self._out, self._around = record, out, around
        self._train, self._hold_out = train, hold_out
        self._device = torch.device(around.device)
        self._network = network.to(self._device).train()
        architectures.freeze_stages(network, config.architecture, config.frozen_stages)
        size_for_training(network, config)
        self._average = WeightAverage(network, config.ema_decay) if config.ema_decay else None
        self._optimizer = make_optimizer(network, config)
        self._progress = Progress()
        self._batches = -(-len(train.images) // config.batch_size)
        if self._device.type == "cpu":
            # As many as the evaluation at an epoch's end sets: sums round differently with another number, and a run
            # that is resumed before its first evaluation must give what the uninterrupted one gave after it.
            torch.set_num_threads(usable_cores())
        accelerate(network, config, self._device, say=around.say)

    def load(self) -> None:
        """Take up the state of the last checkpoint."""
        content = checkpoint.load_last(self._out)
        self._network.load_state_dict(content["network"])
        self._optimizer.load_state_dict(content["optimizer"])
        if self._average is not None:
            self._average.state = {name: tensor.to(self._device) for name, tensor in content["average"].items()}
        self._progress = content["progress"]

    def run(self) -> None:
        """Train the epochs that are left; an interrupt leaves a checkpoint."""
        config = self._record.config
        self._around.say(
            f"{len(self._train.images)} images to train on, {len(self._hold_out.images)} held out, "
            f"{len(self._record.class_names)} classes, {config.architecture} on {self._device}"
        )
        while self._progress.epoch < config.epochs:
            self._train_epoch()
            self._finish_epoch()
            if self._progress.epoch < config.epochs:
                self._stop_if_asked()

    def _train_epoch(self) -> None:
        config, progress = self._record.config, self._progress
        saved = time.monotonic()
        for step in self._around.bar(
            self._steps(),
            desc=f"epoch {progress.epoch + 1}/{config.epochs}",
            total=self._batches,
            initial=progress.batch,
        ):
            progress.batch += 1
            sums = progress.loss_sums or dict.fromkeys(step.losses, 0.0)
            progress.loss_sums = {name: sums[name] + value for name, value in step.losses.items()}
            if time.monotonic() - saved > self._around.save_every_s or self._around.stop_asked():
                self.save()
                saved = time.monotonic()
                self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        if self._around.stop_asked():
            raise Stopped(f"stopped in epoch {self._progress.epoch + 1}; go on with --out {self._out} --resume")

    def _steps(self) -> Iterable[Step]:
        config, progress = self._record.config, self._progress
        dataset = DetectionDataset(self._train, augment=augmentation(config), seed=config.seed)
        dataset.epoch = progress.epoch
        order = epoch_order(len(dataset), seed=config.seed, epoch=progress.epoch)
        batches = [order[i : i + config.batch_size] for i in range(0, len(order), config.batch_size)]
        loader = DataLoader(
            dataset,
            batch_sampler=batches[progress.batch :],
            num_workers=self._around.workers,
            collate_fn=collate,
            generator=torch.Generator(),  # the loader's own draws must not move the global random state
        )
        with _interrupts_held_back():
            samples = iter(loader)
        began = time.monotonic() - progress.seconds
        for step in train_one_epoch(
            self._network,
            samples,
            self._optimizer,
            self._schedule(),
            first_step=progress.epoch * self._batches + progress.batch,
            clip_norm=config.clip_norm,
            average=self._average,
            image_names=[image.name for image in self._train.images],
        ):
            progress.seconds = time.monotonic() - began
            yield step

    def _schedule(self) -> Schedule:
        config = self._record.config
        return Schedule(
            kind=config.schedule,
            peak=config.learning_rate,
            steps_per_epoch=self._batches,
            epochs=config.epochs,
            warmup_steps=config.warmup_steps,
            step_epochs=config.step_epochs,
            step_gamma=config.step_gamma,
        )

    def _finish_epoch(self) -> None:
        """Evaluate, keep the weights if they are the best so far, log, and only then count the epoch as done."""
        progress = self._progress
        weights = self._averaged_weights()
        found = self._detect(weights)
        result = evaluate(self._hold_out, found)
        ap = result.summary()["AP"]  # as in the metrics, by which the best epoch is found again
        if ap > progress.best_ap or ap < 0:  # below 0: no object is held out, and the latest weights are kept
            progress.best_ap = ap
            checkpoint.save_best(self._out, {name: tensor.cpu() for name, tensor in weights.items()})
        self._log(result)
        write_run_plots(self._out, self._hold_out, found, result)
        epoch = progress.epoch + 1
        self._progress = Progress(epoch=epoch, best_ap=progress.best_ap)
        self.save()

    def _averaged_weights(self) -> dict[str, Tensor]:
        return self._average.state if self._average is not None else self._network.state_dict()

    def _detect(self, weights: dict[str, Tensor]) -> list[Detections]:
        record = self._record
        network = architectures.build(
            record.config.architecture, class_count=len(record.class_names), options=record.config.network_options()
        )
        network.load_state_dict(weights)
        fold_frozen_norms(network)
        network.to(memory_format=torch.channels_last)
        engine = TorchEngine(network, str(self._device))
        return detect_all(engine, self._hold_out, progress=partial(self._around.bar, desc="hold-out"))

    def _log(self, result: Evaluation) -> None:
        progress = self._progress
        losses = {name: round(total / self._batches, 5) for name, total in (progress.loss_sums or {}).items()}
        line = {
            "epoch": progress.epoch + 1,
            "learning_rate": self._schedule().learning_rate((progress.epoch + 1) * self._batches - 1),
            "loss": round(sum(losses.values()), 5),
            **losses,
            "images_per_s": round(len(self._train.images) / progress.seconds, 3),
            **result.summary(),
            "per_class_ap": result.per_class_ap,
        }
        earlier = [epoch for epoch in run_folder.read_metrics(self._out) if epoch["epoch"] <= progress.epoch]
        run_folder.write_metrics(self._out, [*earlier, line])
        self._around.say(
            f"epoch {progress.epoch + 1}: loss {line['loss']:.3f}, AP {line['AP']:.3f}, AP50 {line['AP50']:.3f}, "
            f"best F1 {line['f1']:.3f} above {line['threshold']:.2f}, {line['images_per_s']:.2f} images/s"
        )

    def save(self) -> None:
        """Write the last checkpoint."""
        checkpoint.save_last(
            self._out,
            replace(self._progress),
            network=self._network.state_dict(),
            average=self._average.state if self._average is not None else None,
            optimizer=self._optimizer.state_dict(),
        )


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Let a Ctrl-C wait until the end of the block, and never reach the processes started in it.

    A terminal sends it to the readers of images too, which would die and take the run with them before it is saved.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
