"""From a 3D model to a release in four stages: render, train, report, publish. Each stage can be resumed.

A work folder holds `renders/`, `run/`, `report/` and `make.json`. The contents of `renders/` and `run/` show their
progress. `make.json` records the job and the progress of the other stages.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from model_store import store
from model_store.engines.torch import TorchEngine
from model_store.errors import ReleaseNotFound
from model_store.store import Release
from training.config import TrainConfig
from training.console import Bar
from training.data.dataset import BrokenDataset, LabelledImages, read_dataset, with_margin
from training.errors import Stopped
from training.learning import run
from training.learning.run import RunContext, Say
from training.measuring.measured import Domain
from training.measuring.sim2real import Sim2Real
from training.records import run_folder
from training.records.checkpoint import LAST, write_atomically
from training.records.loading import load_run
from training.records.run_folder import WORK, RunError, RunRecord, read_metrics, read_names
from training.releasing import publish
from training.releasing.work_folder import WorkFolder, measure_kept
from training.reports.report_folder import write_evaluation, write_sim2real
from training.synthetic.dataset import render_dataset
from training.synthetic.recipes import Draw
from training.synthetic.renderer import Workers

MAKE = "make.json"
RENDERS = "renders"
RUN = "run"
REPORT = "report"
PHOTOS = "photos"

MOST_FAILED = 0.05
"""Largest share of scenes that may fail to render. A larger share means that the mesh is faulty."""

_PACE_ITEMS = 16


@dataclass(frozen=True)
class Job:
    """The release to make and its inputs. A work folder belongs to one job.

    Attributes:
        sources: the recipe's name, or one line per mesh file with its label and sha256.
        class_names: label i is `class_names[i - 1]`.
        name: name of the release.
        count: number of scenes to render.
        photos: folder of labelled real photos, used only to measure; None if there are none.
        store: folder of the model store.
        config: training configuration.
    """

    sources: tuple[str, ...]
    class_names: tuple[str, ...]
    name: str
    count: int
    photos: str | None
    store: str
    config: TrainConfig

    def as_json(self) -> dict[str, Any]:
        """Return the job as plain JSON data, with the configuration's fields at the top level."""
        data = {**asdict(self), "config": None, **self.config.model_dump(mode="json")}
        del data["config"]
        plain: dict[str, Any] = json.loads(json.dumps(data))
        return plain


@dataclass(frozen=True)
class Done:
    """Progress of a job, as `make.json` records it.

    Attributes:
        photo: path of an image that shows an object, to try the release with; None before the report is written.
        photos_decide: whether the photos choose the score threshold. They do if any detection in them is correct.
        publishing_after: highest version in the store when publishing began; None before that.
        release: name@version; None before publication.
    """

    photo: str | None = None
    photos_decide: bool = False
    publishing_after: int | None = None
    release: str | None = None


def look(out: Path, job: Job) -> Done:
    """Return the progress of a job in its work folder.

    Raises:
        RunError: the folder belongs to another job or holds other files. The message names the difference.
    """
    path = out / MAKE
    try:
        content = json.loads(path.read_text("utf-8"))
        before, done = dict(content["job"]), Done(**content["done"])
    except FileNotFoundError:
        if out.is_dir() and any(not path.name.startswith(".") for path in out.iterdir()):
            raise RunError(f"{out} holds other files than those of `make`; choose another folder with --out") from None
        return Done()
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(f"{path} is broken: {error}") from error
    now = job.as_json()
    changed = [
        f"{name} {before.get(name)} and not {now.get(name)}"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]
    if changed:
        raise RunError(f"{out} was begun with {', '.join(changed)}; repeat that, or choose another folder with --out")
    return done


def published(job: Job, done: Done) -> Release | None:
    """Return the job's release if it was published and is still in the store, else None."""
    if done.release is None:
        return None
    try:
        return store.find(Path(job.store), done.release)
    except ReleaseNotFound:
        return None


def has_begun_to_train(out: Path) -> bool:
    """Return whether the run in a work folder has a checkpoint. After that its renders must not change."""
    return (out / RUN / LAST).is_file()


def make(job: Job, out: Path, *, draw: Draw, renderers: Workers, context: RunContext) -> Release:
    """Render, train, report and publish; stages that are done are skipped.

    Args:
        job: the release to make and its inputs.
        out: the work folder.
        draw: function that draws the scenes.
        renderers: the processes that render.
        context: device, output and stop request, for all four stages.

    Raises:
        RunError: the folder belongs to another job.
        BrokenDataset: too many scenes failed to render.
        AnnotationError, ModelError, NonFiniteLoss: a stage failed.
        Stopped: a stop was requested; the same call continues.
    """
    done = look(out, job)
    out.mkdir(parents=True, exist_ok=True)
    maker = _Maker(job, out, done, context=context)
    maker.remember()
    stages: dict[str, Callable[[], None]] = {
        "render": partial(maker.render, draw, renderers),
        "train": maker.train,
        "report": maker.report,
        "publish": maker.publish,
    }
    for number, (name, stage) in enumerate(stages.items(), 1):
        context.say(f"{number}/{len(stages)} {name}")
        try:
            if context.stop_asked():
                raise Stopped
            stage()
        except Stopped:
            raise Stopped(f"stopped in {number}/{len(stages)}, {name}; repeat the command to go on") from None
    release = published(job, maker.done)
    assert release is not None
    return release


class _Maker:
    """The four stages of a job in its work folder, and their progress."""

    def __init__(self, job: Job, out: Path, done: Done, *, context: RunContext) -> None:
        self._job, self._out, self.done, self._context = job, out, done, context

    def remember(self, **changes: Any) -> None:
        """Update `done` and write `make.json`."""
        self.done = replace(self.done, **changes)
        text = json.dumps({"job": self._job.as_json(), "done": asdict(self.done)}, indent=2) + "\n"

        def write(draft: Path) -> None:
            draft.write_text(text, "utf-8")

        write_atomically(self._out / MAKE, write)

    def render(self, draw: Draw, renderers: Workers) -> None:
        """Render the missing scenes, unless training has begun."""
        if has_begun_to_train(self._out):
            return
        context, count = self._context, self._job.count
        try:
            render_dataset(
                draw,
                range(count),
                self._out / RENDERS,
                workers=renderers,
                progress=partial(_Pace(context.bar, context.say), desc="images"),
                stop_asked=context.stop_asked,
                most_faults=int(MOST_FAILED * count),
            )
        except BrokenDataset as error:
            if len(error.faults) > MOST_FAILED * count:
                raise
            context.say(f"{len(error.faults)} of {count} scenes are left out, such as {error.faults[0]}")
        if context.stop_asked():
            raise Stopped

    def train(self) -> None:
        """Train the remaining epochs."""
        folder, config = self._out / RUN, self._job.config
        left = config.epochs - len(read_metrics(folder))
        if left <= 0:
            return
        context = replace(self._context, bar=_Pace(self._context.bar, self._context.say, times=left))
        if has_begun_to_train(self._out):
            run.resume(folder, context=context, dataset=self._out / RENDERS)
        else:
            run.start(self._out / RENDERS, folder, config, class_names=self._job.class_names, context=context)

    def report(self) -> None:
        """Measure the run's best weights on held-out renders and on the photos."""
        if self.done.photo is not None:
            return
        renders = read_dataset(self._out / RENDERS, class_names=self._job.class_names)
        data = {
            RENDERS: renders.widened(self._job.config.box_margin).select(
                read_names(self._out / RUN / run_folder.HOLD_OUT_LIST)
            )
        }
        if self._job.photos is not None:
            data[PHOTOS] = read_dataset(Path(self._job.photos), class_names=self._job.class_names)
        context = replace(self._context, bar=self._stoppable_bar)
        margin = self._job.config.box_margin
        names = {RENDERS: with_margin(RENDERS, margin), PHOTOS: PHOTOS}
        measured = measure(
            self._out / RUN, data, self._out / REPORT, title=self._job.name, names=names, context=context
        )
        self.remember(photo=str(_example(data.get(PHOTOS), renders)), photos_decide=photos_decide(measured))

    def publish(self) -> None:
        """Publish the run unless it is published already, even by a process killed before it updated `make.json`."""
        root, name = Path(self._job.store), self._job.name
        if published(self._job, self.done) is not None:
            return
        release = self._published_unsaid()
        if release is None:
            self.remember(publishing_after=max(store.versions(root, name), default=0))
            release = publish.publish(
                self._out / RUN,
                name,
                store_root=root,
                words=_words(self._job),
                dataset=self._out / RENDERS,
                also_measure=[(PHOTOS, Path(self._job.photos))] if self._job.photos is not None else [],
                threshold_from=[PHOTOS] if self.done.photos_decide else [],
                with_report=self._job.photos is not None,
                work=WorkFolder(self._out / RUN / WORK, self._context.say),
                bar=self._stoppable_bar,
            )
        self.remember(release=release.ref)

    def _published_unsaid(self) -> Release | None:
        if self.done.publishing_after is None or self.done.release is not None:
            return None
        origin = publish.origin_of(RunRecord.read(self._out / RUN))
        root, name = Path(self._job.store), self._job.name
        for version in store.versions(root, name):
            if version > self.done.publishing_after:
                release = store.find(root, f"{name}@{version}")
                if release.manifest.origin == origin:
                    return release
        return None

    def _stoppable_bar(self, items: Iterable[Any], **words: Any) -> Iterator[Any]:
        for item in self._context.bar(items, **words):
            if self._context.stop_asked():
                raise Stopped
            yield item


def measure(
    folder: Path, data: dict[str, LabelledImages], out: Path, *, title: str, names: dict[str, str], context: RunContext
) -> dict[str, Domain]:
    """Measure a run's best weights on held-out renders and on any photos, and write the report.

    Args:
        folder: the run folder.
        data: the renders under the key `RENDERS`, and any photos under `PHOTOS`.
        out: folder of the report.
        title: title of the report.
        names: name of each data set in the report, under the same keys.
        context: device and output.

    Returns:
        The measurement of each data set, under the same keys.
    """
    loaded = load_run(folder)
    engine = TorchEngine(loaded.network, context.device)
    work = WorkFolder(folder / WORK, context.say)
    measured = {
        key: measure_kept(engine, loaded, names[key], images, work=work, bar=context.bar)
        for key, images in data.items()
    }
    for domain in measured.values():
        figures, best = domain.figures(), domain.result.best_f1
        context.say(
            f"{domain.name}: {domain.result.image_count} images, AP {figures['AP']:.3f}, AP50 {figures['AP50']:.3f}, "
            f"best F1 {best.f1:.3f} above {best.score_threshold:.2f}"
        )
    renders = measured[RENDERS]
    if PHOTOS in measured:
        deciding = measured[PHOTOS] if photos_decide(measured) else renders
        report = Sim2Real.of(
            title,
            sha256=loaded.card.sha256,
            score_threshold=deciding.result.best_f1.score_threshold,
            synthetic=renders,
            real=[measured[PHOTOS]],
        )
        write_sim2real(out, report)
    else:
        write_evaluation(out, renders.data, renders.found, renders.result)
    context.say(f"report: {out}")
    return measured


def photos_decide(measured: dict[str, Domain]) -> bool:
    """Return whether the photos can choose the threshold: any detection in them must be correct."""
    return PHOTOS in measured and measured[PHOTOS].result.best_f1.f1 > 0


def _words(job: Job) -> publish.CardTexts:
    measured = "measured on real photos" if job.photos is not None else "never measured on real photos"
    return publish.CardTexts(
        f"Trained on {job.count} renders alone, {measured}.", f"renders for {job.name}", licence=""
    )


def _example(photos: LabelledImages | None, renders: LabelledImages) -> Path:
    """Return the file of an image, preferring images with objects, then real photos."""
    candidates = [*(photos.images if photos is not None else ()), *renders.images]
    files = [image.image_path for image in candidates if image.labels] + [image.image_path for image in candidates]
    return next(path for path in files if path is not None)


class _Pace:
    """A progress bar that estimates the total duration once, after its first items."""

    def __init__(self, bar: Bar, say: Say, *, times: int = 1) -> None:
        """Wrap a bar.

        Args:
            bar: progress bar with the interface of tqdm.
            say: writes a line for the user.
            times: number of passes over the items.
        """
        self._bar, self._say, self._times = bar, say, times

    def __call__(self, items: Iterable[Any], **words: Any) -> Iterable[Any]:
        """Wrap an iterable. Without `total` in `words` there is no estimate."""
        total = words.get("total")
        if total is not None:
            items = self._timed(items, left=self._times * total - words.get("initial", 0))
        wrapped: Iterable[Any] = self._bar(items, **words)
        return wrapped

    def _timed(self, items: Iterable[Any], *, left: int) -> Iterator[Any]:
        began = time.monotonic()
        for number, item in enumerate(items):
            if number == 0:
                began = time.monotonic()  # the first item waits for processes to start
            elif number == _PACE_ITEMS and self._times:
                each = (time.monotonic() - began) / number
                self._say(f"{each:.2f} s each, {left - number} to go: about {in_words(each * (left - number))}")
                self._times = 0
            yield item


def in_words(seconds: float) -> str:
    """Format a duration as minutes, or as hours from two hours on."""
    minutes = max(1, round(seconds / 60))
    if minutes < 120:  # noqa: PLR2004
        return f"{minutes} min"
    return f"{minutes / 60:.1f} h"
