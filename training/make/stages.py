"""The stages of `make`: cutouts, render, train, report, publish. A recipe has no cut-outs.

How `make` resumes: every stage keeps its result in the work folder, and a repeated command skips the results that are
there. `plan.py` refuses a work folder of another plan. With more epochs a finished folder grows by another cycle.

| stage | keeps its result in | repeated, it |
|---|---|---|
| cutouts | `cutouts/`, `composites.jpg` | renders the missing pictures; nothing once training has begun |
| render | `renders/` | renders the missing scenes; nothing once training has begun |
| train | `run/`, `run-2/` ... of each cycle | continues at the last checkpoint |
| report | `report/`, `photo` in `make.json` | measures again unless `make.json` names a photo |
| publish | the model store, `release` in `make.json` | publishes unless this run's release is in the store |
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from model_store import store
from model_store.engines.torch import TorchEngine
from model_store.errors import ReleaseNotFound
from model_store.network import LoadedNetwork
from model_store.store import Release
from rendersight.annotations.dataset import read_annotations
from rendersight.photos import find_photos
from training.data.contact_sheet import sheet_of
from training.data.dataset import BrokenDataset, LabelledImages, names_in, read_dataset, with_margin
from training.data.split import group_of
from training.errors import Stopped
from training.learning import run
from training.learning.mixture import open_compositor
from training.learning.run import RunContext
from training.make.estimates import EstimatingBar
from training.make.plan import MakePlan, MakeProgress, read_progress, write_progress
from training.measuring.measured import Domain
from training.measuring.prediction import predict
from training.measuring.sim2real import Sim2Real
from training.records.checkpoint import BEST
from training.records.loading import load_run
from training.records.run_folder import HOLD_OUT_LIST, WORK, RunRecord, read_metrics, read_names
from training.releasing import publish as releasing
from training.releasing.work_folder import WorkFolder, measure_kept
from training.reports.report_folder import write_evaluation, write_sim2real
from training.stopping import stoppable
from training.synthetic.composites.backgrounds import add_backgrounds
from training.synthetic.composites.parts import BACKDROPS, render_parts
from training.synthetic.dataset import render_dataset

RENDERS, PHOTOS = "renders", "photos"
"""Names of the two data sets in the report and the release."""

SHOWN = "photos"
"""Folder in the report with the detections in photos without labels."""

COMPOSITES_SHEET = "composites.jpg"

MAX_FAILED = 0.05
"""Largest share of scenes, or of cut-outs, that may fail to render. A larger share means that the mesh is faulty."""


def make(plan: MakePlan, context: RunContext) -> Release:
    """Run the stages that are left, and return the release. `check` must have accepted the plan.

    Args:
        plan: the release to make, its inputs and the work folder.
        context: device, output and stop request, for all stages.

    Raises:
        RunError: the work folder belongs to another plan.
        BrokenDataset: too many scenes failed to render.
        AnnotationError, ModelError, TrainingError: a stage failed.
        Stopped: a stop was requested; the same call continues.
    """
    progress = read_progress(plan)
    plan = plan.at(progress)
    plan.out.mkdir(parents=True, exist_ok=True)
    write_progress(plan, progress)
    stages = {name: stage for name, stage in STAGES.items() if plan.parts is not None or stage is not cutouts}
    for number, (name, stage) in enumerate(stages.items(), 1):
        context.say(f"{number}/{len(stages)} {name}")
        try:
            _stop_if_asked(context)
            progress = write_progress(plan, stage(plan, progress, context))
        except Stopped:
            raise Stopped(f"stopped in {number}/{len(stages)}, {name}; repeat the command to continue") from None
    release = published(plan, progress)
    assert release is not None
    return release


def published(plan: MakePlan, progress: MakeProgress) -> Release | None:
    """Return the plan's release if it was published and is still in the store, else None."""
    if progress.release is None:
        return None
    try:
        return store.find(plan.store, progress.release)
    except ReleaseNotFound:
        return None


def cutouts(plan: MakePlan, progress: MakeProgress, context: RunContext) -> MakeProgress:
    """Render the missing parts of composites and show some composites, unless training has begun."""
    if plan.has_begun_to_train or plan.parts is None:
        return progress
    most = int(MAX_FAILED * plan.parts.objects)
    try:
        render_parts(
            plan.objects,
            plan.parts,
            plan.cutouts,
            workers=plan.blender,
            progress=partial(EstimatingBar(context.bar, context.say), desc="pictures"),
            stop_asked=context.stop_asked,
        )
    except BrokenDataset as error:
        if len(error.faults) > most:
            raise
        context.say(f"{len(error.faults)} pictures are left out, such as {error.faults[0]}")
    add_backgrounds(plan.backgrounds, plan.cutouts / BACKDROPS, bar=context.bar)
    _stop_if_asked(context)
    sheet = plan.out / COMPOSITES_SHEET
    compositor = open_compositor(plan.cutouts, plan.class_names, plan.config)
    shown = [compositor.draw(seed) for seed in range(24)]
    pictures = [(item.pixels, item.boxes_xyxy, item.labels, item.ignored_xyxy) for item in shown]
    sheet_of(pictures, plan.class_names).save(sheet, quality=88)
    context.say(f"training will show pictures such as these: {sheet}")
    return progress


def render(plan: MakePlan, progress: MakeProgress, context: RunContext) -> MakeProgress:
    """Render the missing scenes, unless training has begun."""
    if plan.has_begun_to_train:
        return progress
    try:
        render_dataset(
            plan.recipe,
            range(plan.count),
            plan.renders,
            workers=plan.blender,
            progress=partial(EstimatingBar(context.bar, context.say), desc="images"),
            stop_asked=context.stop_asked,
            most_faults=int(MAX_FAILED * plan.count),
        )
    except BrokenDataset as error:
        if len(error.faults) > MAX_FAILED * plan.count:
            raise
        context.say(f"{len(error.faults)} of {plan.count} scenes are left out, such as {error.faults[0]}")
    _stop_if_asked(context)
    return progress


def train(plan: MakePlan, progress: MakeProgress, context: RunContext) -> MakeProgress:
    """Train the remaining epochs of this cycle, from the best weights of the cycle before if there is one."""
    epochs = progress.cycles[-1]
    if len(read_metrics(plan.run)) >= epochs:
        return progress
    config, hold_out = plan.config.model_copy(update={"epochs": epochs}), None
    if plan.run_before is not None:
        config = config.model_copy(update={"weights": str(plan.run_before / BEST)})
        hold_out = _with_their_scenes(plan, read_names(plan.run_before / HOLD_OUT_LIST))
    composites_from = None if plan.parts is None else plan.cutouts
    if plan.has_begun_to_train:
        run.resume(plan.run, context=context, dataset=plan.renders, composites_from=composites_from)
    else:
        run.start(
            plan.renders,
            plan.run,
            config,
            class_names=plan.class_names,
            context=context,
            hold_out_names=hold_out,
            composites_from=composites_from,
        )
    return progress


def report(plan: MakePlan, progress: MakeProgress, context: RunContext) -> MakeProgress:
    """Measure the run's best weights on held-out renders and on the photos, and write the report."""
    if progress.photo is not None:
        return progress
    margin = plan.config.box_margin
    renders = read_dataset(plan.renders, class_names=plan.class_names)
    held_out = renders.widened(margin).select(read_names(plan.run / HOLD_OUT_LIST))
    photos = _labelled_photos(plan)

    loaded = load_run(plan.run)
    engine = TorchEngine(loaded.network, context.device)
    work = WorkFolder(plan.run / WORK, context.say)

    def measure(name: str, data: LabelledImages) -> Domain:
        measured = measure_kept(engine, loaded, name, data, work=work, bar=stoppable(context.bar, context.stop_asked))
        context.say(_figures(measured))
        return measured

    on_renders = measure(with_margin(RENDERS, margin), held_out)
    on_photos = None if photos is None else measure(PHOTOS, photos)
    photos_decide = on_photos is not None and on_photos.result.best_f1.f1 > 0
    if on_photos is None:
        write_evaluation(plan.report, on_renders.data, on_renders.found, on_renders.result)
    else:
        deciding = on_photos if photos_decide else on_renders
        sim2real = Sim2Real.of(
            plan.name,
            sha256=loaded.info.sha256,
            input_rule=loaded.info.input,
            score_threshold=deciding.result.best_f1.score_threshold,
            synthetic=on_renders,
            real=[on_photos],
        )
        write_sim2real(plan.report, sim2real)
    photo = _example(photos, renders)
    if plan.photos is not None and photos is None:
        shown = find_photos([plan.photos], stems_differ=False)
        photo, threshold = shown[0], on_renders.result.best_f1.score_threshold
        _show_detections(engine, loaded, shown, plan.report / SHOWN, threshold=threshold, context=context)
    context.say(f"report: {plan.report}")
    return replace(progress, photo=str(photo), photos_decide=photos_decide)


def publish(plan: MakePlan, progress: MakeProgress, context: RunContext) -> MakeProgress:
    """Publish the run, unless a killed command published it before it could update `make.json`."""
    release = published(plan, progress) or _published_unrecorded(plan, progress)
    if release is None:
        before = max(store.versions(plan.store, plan.name), default=0)
        progress = write_progress(plan, replace(progress, publishing_after=before))
        photos = None if _labelled_photos(plan) is None else plan.photos
        measured = "never measured on real photos" if photos is None else "measured on real photos"
        release = releasing.publish(
            plan.run,
            plan.name,
            store_root=plan.store,
            texts=releasing.ReleaseTexts(
                f"Trained on {_trained_on(plan)} alone, {measured}.", f"renders for {plan.name}", licence=""
            ),
            dataset=plan.renders,
            also_measure=[] if photos is None else [(PHOTOS, photos)],
            threshold_from=[PHOTOS] if progress.photos_decide else [],
            with_report=photos is not None,
            work=WorkFolder(plan.run / WORK, context.say),
            bar=stoppable(context.bar, context.stop_asked),
        )
    return replace(progress, release=release.ref)


Stage = Callable[[MakePlan, MakeProgress, RunContext], MakeProgress]

STAGES: Mapping[str, Stage] = {
    "cutouts": cutouts,
    "render": render,
    "train": train,
    "report": report,
    "publish": publish,
}


def _trained_on(plan: MakePlan) -> str:
    """Return the pictures of the training in words."""
    if plan.parts is None:
        return f"{plan.count} renders"
    windows = plan.config.composites * plan.config.epochs  # of all cycles
    return f"{plan.count} renders and {windows} composites of {plan.parts.objects} rendered cut-outs"


def _with_their_scenes(plan: MakePlan, names: Sequence[str]) -> list[str]:
    """Return names of held-out renders, and those of newer renders of the same things."""
    pattern = plan.config.group_by
    scenes = {group_of(name, pattern) for name in names}
    found = read_annotations(plan.renders).images
    return [*names, *(item.name for item in found if group_of(item.name, pattern) in scenes and item.name not in names)]


def _published_unrecorded(plan: MakePlan, progress: MakeProgress) -> Release | None:
    """Return the release of this run that was published after publishing began and that `make.json` does not name."""
    if progress.publishing_after is None or progress.release is not None:
        return None
    origin = releasing.origin_of(RunRecord.read(plan.run))
    for version in store.versions(plan.store, plan.name):
        if version > progress.publishing_after:
            release = store.find(plan.store, f"{plan.name}@{version}")
            if release.manifest.origin == origin:
                return release
    return None


def _labelled_photos(plan: MakePlan) -> LabelledImages | None:
    """Return the photos if any object in them is labelled, else None."""
    if plan.photos is None or not names_in(read_annotations(plan.photos)):
        return None
    return read_dataset(plan.photos, class_names=plan.class_names)


def _show_detections(
    engine: TorchEngine,
    loaded: LoadedNetwork,
    photos: Sequence[Path],
    out: Path,
    *,
    threshold: float,
    context: RunContext,
) -> None:
    """Write photos without labels with their detections drawn, and LabelMe files to correct."""
    count = predict(
        engine,
        photos,
        out,
        class_names=loaded.info.class_names,
        score_threshold=threshold,
        progress=partial(stoppable(context.bar, context.stop_asked), desc=PHOTOS),
    )
    context.say(f"{PHOTOS}: {len(photos)} without labels; {count} objects above {threshold:.2f} are shown in {out}")


def _figures(measured: Domain) -> str:
    figures, result = measured.figures(), measured.result
    numbers = [f"{name} {figures[name]:.3f}" for name in ("AP", "AP50") if name in figures]
    return f"{measured.name}: {', '.join([f'{result.image_count} images', *numbers, result.best_in_words()])}"


def _example(photos: LabelledImages | None, renders: LabelledImages) -> Path:
    """Return the file of an image, preferring images with objects, then real photos."""
    candidates = [*(photos.images if photos is not None else ()), *renders.images]
    files = [image.image_path for image in candidates if image.labels] + [image.image_path for image in candidates]
    return next(path for path in files if path is not None)


def _stop_if_asked(context: RunContext) -> None:
    if context.stop_asked():
        raise Stopped
