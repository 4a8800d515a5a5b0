"""The stages of `adapt`: label, learn, judge, publish.

How `adapt` resumes: every stage keeps its result in the work folder, and a repeated command skips the results that are
there. `plan.py` refuses a work folder of another plan.

| stage | keeps its result in | repeated, it |
|---|---|---|
| label | `work/`, a folder for each view | looks at the missing views |
| learn | `whole/`, and `fold-1/` ... with labelled photos | continues at the last checkpoint |
| judge | `report/`, `verdict` in `adapt.json` | measures again unless `adapt.json` has a verdict |
| publish | the model store, `release` in `adapt.json` | publishes unless this run's release is in the store |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from model_store import store
from model_store.engines.torch import TorchEngine
from model_store.errors import ReleaseNotFound
from model_store.network import LoadedNetwork
from model_store.store import Release
from rendersight.annotations import AnnotatedImage
from rendersight.detections import Detections
from training.adapting.lessons import golden_images, write_lessons
from training.adapting.photos import folds
from training.adapting.plan import AdaptPlan, AdaptProgress, read_progress, write_progress
from training.adapting.publishing import publish as publish_run
from training.adapting.publishing import published_unrecorded
from training.adapting.teacher import Sighted, agreement, labelled, look
from training.adapting.verdict import Difference, Verdict, difference, judge, share_kept
from training.data.findings import counted
from training.errors import Stopped
from training.learning import run
from training.learning.run import RunContext
from training.measuring.measured import Domain, measure
from training.records.checkpoint import LAST
from training.records.loading import load_run
from training.records.run_folder import WORK, read_metrics
from training.releasing.work_folder import WorkFolder, identity_of
from training.reports.adaptation_page import Change, write_adaptation
from training.stopping import stoppable

WHOLE = "whole"
"""The part of the training that learns from every photo; the others leave out a part of the labelled ones."""

FOLDS = 2
FEWEST_OBJECTS = 20
"""Smallest number of labelled objects that choose the score threshold; fewer leave the release's."""

_MOST_COMPARED = 24
_STAGES = ("label", "learn", "judge", "publish")


def adapt(plan: AdaptPlan, context: RunContext) -> AdaptProgress:
    """Run the stages that are left, and return the progress with the verdict.

    Args:
        plan: the release to adapt, its inputs and the work folder.
        context: device, output and stop request, for all stages.

    Raises:
        RunError: the work folder belongs to another plan.
        AnnotationError, ModelError, TrainingError: a stage failed.
        Stopped: a stop was requested; the same call continues.
    """
    progress = read_progress(plan)
    if progress.verdict is not None and not progress.verdict.is_published:
        return progress
    plan.out.mkdir(parents=True, exist_ok=True)
    write_progress(plan, progress)
    number = 0
    try:
        for number, name in enumerate(_STAGES, 1):
            context.say(f"{number}/{len(_STAGES)} {name}")
            if context.stop_asked():
                raise Stopped
            if name == "label":
                sighted = label(plan, context)
                if progress.verdict is None and (verdict := _nothing_to_learn(plan, sighted)):
                    return write_progress(plan, replace(progress, verdict=verdict))
            elif name == "learn":
                learn(plan, sighted, context)
            elif progress.verdict is None:
                progress = write_progress(plan, replace(progress, verdict=_judge(plan, sighted, context)))
            elif name == "publish" and progress.verdict.is_published:
                progress = _publish(plan, progress, context)
    except Stopped:
        raise Stopped(
            f"stopped in {number}/{len(_STAGES)}, {_STAGES[number - 1]}; repeat the command to continue"
        ) from None
    return progress


def published(plan: AdaptPlan, progress: AdaptProgress) -> Release | None:
    """Return the plan's release if it was published and is still in the store, else None."""
    if progress.release is None:
        return None
    try:
        return store.find(plan.store, progress.release)
    except ReleaseNotFound:
        return None


def label(plan: AdaptPlan, context: RunContext) -> list[Sighted]:
    """Return what the views of the release see in each photo, in the order of the photos."""
    sighted = _look(plan, plan.loaded, plan.photos, context)
    objects = sum(int(item.is_agreed().sum()) for item in sighted)
    doubtful = sum(int(item.is_doubtful().sum()) for item in sighted)
    context.say(f"{len(plan.photos)} photos: the views agree on {objects} objects; {doubtful} places are doubtful")
    return sighted


def _nothing_to_learn(plan: AdaptPlan, sighted: Sequence[Sighted]) -> Verdict | None:
    if plan.labelled.images or any(item.is_agreed().any() for item in sighted):
        return None
    photos = counted(len(plan.photos), "photo")
    return Verdict("cannot tell", f"the views agree on no object in {photos}; kept {plan.source}", False)


def learn(plan: AdaptPlan, sighted: Sequence[Sighted], context: RunContext, *, with_folds: bool = True) -> None:
    """Train the remaining epochs of each part; without `with_folds`, only of the whole."""
    taught = [labelled(photo, item, plan.class_names) for photo, item in zip(plan.photos, sighted, strict=True)]
    for part, left_out in {WHOLE: [], **(_parts(plan) if with_folds else {})}.items():
        if len(read_metrics(plan.run(part))) >= plan.config.epochs:
            continue
        if (plan.run(part) / LAST).is_file():
            run.resume(plan.run(part), context=context, dataset=plan.lessons(part))
            continue
        if part != WHOLE:
            context.say(f"{part}: without {counted(len(left_out), 'labelled photo')}, to measure on")
        assert plan.loaded.release is not None
        held_out = write_lessons(
            plan.lessons(part),
            taught=taught,
            labelled=[image for image in plan.labelled.images if image.name not in left_out],
            renders=() if plan.renders is None else plan.renders.images,
            release=plan.loaded.release,
            class_names=plan.class_names,
        )
        run.start(
            plan.lessons(part),
            plan.run(part),
            plan.config,
            class_names=plan.class_names,
            context=context,
            hold_out_names=held_out,
        )


def _parts(plan: AdaptPlan) -> Mapping[str, list[str]]:
    """Return part of the training -> labelled photos that it leaves out; empty if they are too few to measure on."""
    if not any(image.labels for image in plan.labelled.images):
        return {}
    parts = folds(plan.labelled, FOLDS)
    return {f"fold-{number}": part for number, part in enumerate(parts, 1)} if len(parts) > 1 else {}


@dataclass(frozen=True, eq=False)
class CrossFitted:
    """Figures on labelled photos, each measured by a detector that has not learned from it.

    Attributes:
        before: figures of the release.
        after: figures of the detectors of the parts, each on the photos that its training left out.
    """

    before: Domain
    after: Domain

    def difference(self) -> Difference | None:
        """Return the difference in AP50."""
        return difference(self.after.data, self.before.found, self.after.found)


def cross_fitted(plan: AdaptPlan, context: RunContext) -> CrossFitted | None:
    """Measure the release and the trained parts on the labelled photos; None if these are too few."""
    parts = _parts(plan)
    if not parts:
        return None
    photos, found = plan.labelled.images, {}
    for part, left_out in parts.items():
        scored = [image for image in photos if image.name in left_out]
        answers = _detect(plan, load_run(plan.run(part)), scored, context)
        found.update({image.name: answer for image, answer in zip(scored, answers, strict=True)})
    name = "labelled photos, each measured by a network that has not learned from it"
    before = _detect(plan, plan.loaded, photos, context)
    return CrossFitted(
        measure(plan.source, plan.labelled, before),
        measure(name, plan.labelled, [found[image.name] for image in photos]),
    )


def _judge(plan: AdaptPlan, sighted: Sequence[Sighted], context: RunContext) -> Verdict:
    """Compare the release with the adapted detector, write the report, and return the verdict."""
    student, threshold = load_run(plan.run(WHOLE)), plan.loaded.info.score_threshold
    release = plan.loaded.release
    assert release is not None
    golden = [item.above(threshold) for item in _detect(plan, student, golden_images(release), context)]
    measured = cross_fitted(plan, context)
    chosen = np.linspace(0, len(plan.photos) - 1, min(_MOST_COMPARED, len(plan.photos))).astype(int).tolist()
    photos = [plan.photos[number] for number in chosen]
    before = agreement([sighted[number] for number in chosen], score_threshold=threshold)
    after = agreement(_look(plan, student, photos, context), score_threshold=threshold)
    verdict = judge(
        plan.source,
        measured=None if measured is None else measured.difference(),
        labelled_count=len(plan.labelled.images),
        agreements=(before, after),
        kept=share_kept(release.manifest, golden),
    )
    old = _detect(plan, plan.loaded, plan.photos, context)  # kept, as is the next: they are views of the teacher
    new = _detect(plan, student, photos, context)
    changes = [
        Change(photo, old[number].above(threshold), item.above(threshold))
        for photo, number, item in zip(photos, chosen, new, strict=True)
    ]
    write_adaptation(
        plan.report,
        title=f"{plan.source} adapted to {counted(len(plan.photos), 'photo')}",
        verdict=str(verdict),
        agreements=(before, after),
        figures=() if measured is None else (measured.before, measured.after),
        changes=changes,
        class_names=plan.class_names,
    )
    context.say(f"report: {plan.report}")
    return verdict


def _publish(plan: AdaptPlan, progress: AdaptProgress, context: RunContext) -> AdaptProgress:
    """Publish the run, unless a killed command published it before it could update `adapt.json`."""
    release = published(plan, progress) or (published_unrecorded(plan, WHOLE) if progress.is_publishing else None)
    if release is None:
        progress = write_progress(plan, replace(progress, is_publishing=True))
        measured = cross_fitted(plan, context)
        domain = None if measured is None else measured.after
        decides = domain is not None and domain.result.object_count >= FEWEST_OBJECTS and domain.result.best_f1.f1 > 0
        assert progress.verdict is not None
        release = publish_run(plan, WHOLE, progress.verdict, measured=domain, chooses_threshold=decides)
    return replace(progress, release=release.ref)


def _look(
    plan: AdaptPlan, loaded: LoadedNetwork, photos: Sequence[AnnotatedImage], context: RunContext
) -> list[Sighted]:
    bar = stoppable(context.bar, context.stop_asked)
    return look(loaded, photos, device=context.device, work=WorkFolder(plan.out / WORK, context.say), bar=bar)


def _detect(
    plan: AdaptPlan, loaded: LoadedNetwork, photos: Sequence[AnnotatedImage], context: RunContext
) -> list[Detections]:
    engine, work = TorchEngine(loaded.network, context.device), WorkFolder(plan.out / WORK, context.say)
    return work.detect(engine, identity_of(loaded), "photos", photos, bar=stoppable(context.bar, context.stop_asked))
