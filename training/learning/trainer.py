"""State of a training run: network, optimizer, weight average and progress. Trains, saves, resumes and evaluates."""

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.models.detection import FasterRCNN

from model_store import architectures
from model_store.engines.torch import TorchEngine
from rendersight.annotations import AnnotatedImage
from rendersight.detections import Detections
from training.config import ARCHITECTURE_FOR, TrainConfig
from training.console import Bar, clock
from training.data.dataset import DetectionDataset, LabelledImages, batch_part, collate, epoch_batches
from training.data.transforms import augmentation
from training.errors import Stopped
from training.learning.distributed import World
from training.learning.folding import fold_frozen_norms
from training.learning.ignoring import ignore_regions
from training.learning.loop import Schedule, Step, WeightAverage, train_one_epoch
from training.learning.mixture import WithComposites
from training.learning.network import apply_speed_ups, make_optimizer, size_for_training
from training.learning.sampling import SeededSampling
from training.measuring.evaluation import Evaluation, detect_all, evaluate
from training.records import checkpoint, run_folder
from training.records.checkpoint import Progress
from training.records.run_folder import RunRecord
from training.reports.report_folder import write_run_plots
from training.time_left import Announcer

SAVE_EVERY_S = 300.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class RunContext:
    """Execution context of a run: device, processes, output and stop request. It is not part of the configuration.

    Attributes:
        device: `cpu` or `cuda:N`.
        workers: number of processes that read and augment images; 0 uses this process.
        store_root: the model store, which holds releases to take initial weights from.
        say: writes a line for the user.
        bar: wraps an iterable in a progress bar, as tqdm does.
        stop_asked: returns whether to stop after the current step. The run can be resumed from exactly that step.
        save_every_s: seconds between two checkpoints within an epoch.
        world: the processes that train together.
    """

    device: str
    workers: int
    store_root: Path
    say: Say
    bar: Bar
    stop_asked: Callable[[], bool]
    save_every_s: float = SAVE_EVERY_S
    world: World = field(default_factory=World)


def faster_ways(config: TrainConfig, device: torch.device) -> str:
    """Return what would make a training faster, as the end of a line."""
    ways = {
        f"architecture {ARCHITECTURE_FOR['cpu']}": config.architecture != ARCHITECTURE_FOR["cpu"],
        "crop_px=448": config.crop_px is None,
        "fewer epochs": config.epochs > 1,
        "a GPU": device.type == "cpu",
    }
    return f" and the evaluations; faster: {', '.join(way for way, applies in ways.items() if applies)}"


class Trainer:
    """A running training. Each process has its own Trainer, and all of them hold the same state."""

    def __init__(
        self,
        record: RunRecord,
        out: Path,
        *,
        train: LabelledImages,
        hold_out: LabelledImages,
        network: FasterRCNN,
        context: RunContext,
    ) -> None:
        config = record.config
        self._record, self._out, self._context, self._world = record, out, context, context.world
        self._train, self._hold_out = train, hold_out
        self._device = torch.device(context.device)
        self._network = network.to(self._device).train()
        architectures.freeze_stages(network, config.architecture, config.frozen_stages)
        size_for_training(network, config)
        ignore_regions(network)
        self._sampling = SeededSampling(network, config.seed)
        apply_speed_ups(network, config, self._device, say=context.say)
        self._set_threads()
        self._shared = self._world.wrap(network, self._device)
        self._average = WeightAverage(network, config.ema_decay) if config.ema_decay else None
        self._optimizer = make_optimizer(network, config)
        self._progress = Progress()
        self._announcer = Announcer(context.say, unit="a step", advice=faster_ways(config, self._device))
        self._samples = self._all_samples()
        self._batches = -(-len(self._samples) // config.batch_size)

    def _set_threads(self) -> None:
        if self._device.type == "cpu":
            # The evaluation at the end of an epoch also sets the number of threads. Another number would round sums
            # differently, and a run resumed before it must give the same result as an uninterrupted one.
            self._world.share_cores()

    def load(self) -> None:
        """Restore the state of the last checkpoint."""
        content = self._world.first(lambda: checkpoint.load_last(self._out))
        self._network.load_state_dict(content["network"])
        self._optimizer.load_state_dict(content["optimizer"])
        if self._average is not None:
            self._average.state = {name: tensor.to(self._device) for name, tensor in content["average"].items()}
        self._progress = content["progress"]

    def run(self) -> None:
        """Train the remaining epochs. A requested stop leaves a checkpoint."""
        config = self._record.config
        composites = f" and {config.composites} composites" if config.composites else ""
        self._context.say(
            f"{len(self._train.images)} images{composites} to train on, {len(self._hold_out.images)} held out, "
            f"{len(self._record.class_names)} classes, {config.architecture} on {self._device}"
            + (f", {self._world.size} processes" if self._world.size > 1 else "")
        )
        while self._progress.epoch < config.epochs:
            self._train_epoch()
            self._finish_epoch()
            if self._progress.epoch < config.epochs and self._world.any(self._context.stop_asked()):
                self._stop()

    def _train_epoch(self) -> None:
        config, progress = self._record.config, self._progress
        saved, began = time.monotonic(), None
        for step in self._context.bar(
            self._steps(),
            desc=f"epoch {progress.epoch + 1}/{config.epochs}",
            total=self._batches,
            initial=progress.batch,
        ):
            progress.batch += 1
            now = time.monotonic()
            if began is not None:  # the first step waits for the readers
                epochs_left = config.epochs - progress.epoch
                self._announcer.add(now - began, left=self._batches * epochs_left - progress.batch)
            began = now
            sums = progress.loss_sums or dict.fromkeys(step.losses, 0.0)
            progress.loss_sums = {name: sums[name] + value for name, value in step.losses.items()}
            is_last = self._world.any(self._context.stop_asked())
            if is_last or time.monotonic() - saved > self._context.save_every_s:
                self.save()
                saved = time.monotonic()
            if is_last:
                self._stop()

    def _stop(self) -> None:
        self._world.wait()  # until the checkpoint is written: torchrun ends all processes once one has ended
        raise Stopped(f"stopped in epoch {self._progress.epoch + 1}; continue with --out {self._out} --resume")

    def _steps(self) -> Iterable[Step]:
        config, progress = self._record.config, self._progress
        dataset = self._samples
        dataset.epoch = progress.epoch
        batches = epoch_batches(len(dataset), batch_size=config.batch_size, seed=config.seed, epoch=progress.epoch)
        process = self._world.process
        loader = DataLoader(
            dataset,
            batch_sampler=[
                batch_part(batch, rank=process.rank, size=process.size) for batch in batches[progress.batch :]
            ],
            num_workers=self._context.workers,
            collate_fn=collate,
            worker_init_fn=_stand_apart,
            generator=torch.Generator(),  # the loader's own draws must not advance the global generator
        )
        with _signals_held_back():
            samples = iter(loader)
        began = time.monotonic() - progress.seconds
        for step in train_one_epoch(
            self._network,
            samples,
            self._optimizer,
            self._schedule(),
            sampling=self._sampling,
            first_step=progress.epoch * self._batches + progress.batch,
            clip_norm=config.clip_norm,
            average=self._average,
            image_names=dataset.names,
            world=self._world,
            shared=self._shared,
        ):
            progress.seconds = time.monotonic() - began
            yield step

    def _all_samples(self) -> DetectionDataset:
        config, parts = self._record.config, self._record.composites_from
        images = DetectionDataset(self._train, augment=augmentation(config), seed=config.seed)
        if not config.composites:
            return images
        assert parts is not None
        return WithComposites(images, Path(parts), self._record.class_names, config)

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
        """Evaluate, save the weights if they are the best so far, and log; then count the epoch as done."""
        progress, began = self._progress, time.monotonic()
        weights = self._world.of_first(self._averaged_weights())
        found = self._detect(weights)
        if self._world.is_first:
            self._keep(weights, found, began=began)
        epoch = progress.epoch + 1
        self._progress = Progress(epoch=epoch, best_ap=progress.best_ap)
        self.save()

    def _keep(self, weights: dict[str, Tensor], found: list[Detections], *, began: float) -> None:
        progress = self._progress
        result = evaluate(self._hold_out, found)
        ap = result.summary().get("AP")  # rounded as in the metrics, from which `best_epoch` finds this epoch again
        if ap is None or ap > progress.best_ap:  # without a held-out object, keep the latest weights
            progress.best_ap = -1.0 if ap is None else ap
            checkpoint.save_best(self._out, {name: tensor.cpu() for name, tensor in weights.items()})
        self._log(result, epoch_s=progress.seconds + time.monotonic() - began)
        write_run_plots(self._out, self._hold_out, found, result, train=self._train)

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
        self._set_threads()

        def detect(images: Sequence[AnnotatedImage]) -> list[Detections]:
            return detect_all(engine, images, progress=partial(self._context.bar, desc="hold-out"))

        return self._world.share(self._hold_out.images, detect)

    def _log(self, result: Evaluation, *, epoch_s: float) -> None:
        progress = self._progress
        losses = {name: round(total / self._batches, 5) for name, total in (progress.loss_sums or {}).items()}
        line = {
            "epoch": progress.epoch + 1,
            "learning_rate": self._schedule().learning_rate((progress.epoch + 1) * self._batches - 1),
            "loss": round(sum(losses.values()), 5),
            **losses,
            "images_per_s": round(len(self._samples) / progress.seconds, 3),
            **result.every_figure(),
            "per_class_ap": result.per_class_ap,
        }
        earlier = [epoch for epoch in run_folder.read_metrics(self._out) if epoch["epoch"] <= progress.epoch]
        run_folder.write_metrics(self._out, [*earlier, line])
        left = self._record.config.epochs - progress.epoch - 1
        measured = "AP not measurable: no object in the hold-out"
        if result.object_count:
            measured = f"AP {line['AP']:.3f}, AP50 {line['AP50']:.3f}, {result.best_in_words()}"
        self._context.say(
            f"epoch {progress.epoch + 1}: loss {line['loss']:.3f}, {measured}, {line['images_per_s']:.2f} images/s"
            + (f", {clock(epoch_s * left)} left" if left else "")
        )

    def save(self) -> None:
        """Write the last checkpoint; only the first process writes."""
        if not self._world.is_first:
            return
        checkpoint.save_last(
            self._out,
            replace(self._progress),
            network=self._network.state_dict(),
            average=self._average.state if self._average is not None else None,
            optimizer=self._optimizer.state_dict(),
        )


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Block SIGINT and SIGTERM until the end of the block. Processes started in it inherit this: see `_stand_apart`."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _stand_apart(_number: int) -> None:
    """Move a reader process into its own process group, so that it gets no signal sent to the whole group.

    On Ctrl-C a terminal signals the whole process group; torchrun sends it SIGTERM. Readers would die of such a signal
    and end the run before it is saved. Readers still react to SIGTERM, which their parent sends if it fails itself.
    """
    if not hasattr(os, "setpgid"):  # Windows
        return
    signal.set_wakeup_fd(-1)  # inherited: it would tell this process's signals to the parent
    os.setpgid(0, 0)
    while signal.SIGTERM in signal.sigpending():  # sent to the whole group before this process left it
        signal.sigwait({signal.SIGTERM})
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
