"""Publishing of an adapted detector: the release with other weights, and nothing in it that was measured before."""

import datetime
from pathlib import Path

import torch

from model_store import store
from model_store.engines.torch import TorchEngine
from model_store.manifest import SCHEMA_VERSION
from model_store.store import CARD, WEIGHTS, Release
from rendersight import images
from training.adapting.plan import AdaptPlan
from training.adapting.verdict import Verdict
from training.data.findings import counted
from training.measuring.measured import Domain
from training.records.loading import load_run
from training.records.run_folder import RunRecord
from training.releasing.publish import add_golden, check_release, hashes_of, origin_of
from training.reports.markdown import PRECISION_RECALL
from training.reports.model_card import card_text
from training.reports.plots import plot_precision_recall


def publish(
    plan: AdaptPlan, part: str, verdict: Verdict, *, measured: Domain | None, chooses_threshold: bool
) -> Release:
    """Publish the weights of a part of the training under the plan's name.

    No photo enters the release: its golden images are those of the release that was adapted, with new expectations.

    Args:
        plan: the plan.
        part: the part of the training with the weights.
        verdict: the verdict, which the model card tells.
        measured: figures of the card; None if nothing was measured.
        chooses_threshold: whether `measured` chooses the score threshold; else the release's stays.

    Raises:
        ModelError: the written release does not pass its own check.
    """
    old = plan.loaded.release
    assert old is not None
    loaded, record = load_run(plan.run(part)), RunRecord.read(plan.run(part))
    pixels = [images.read(old.folder / image.file) for image in old.manifest.golden]
    changes = {
        "schema_version": SCHEMA_VERSION,
        "name": plan.name,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "description": f"{plan.source} adapted to {_photos(plan)}: {verdict}.",
        "provenance": f"Gradients: {_photos(plan)}. Everything before: see {plan.source}.",
        "metrics": () if measured is None else (measured.metrics(),),
        "origin": origin_of(record),
        "engines": {},
        "refused_engines": {},
        "files": {},
    }
    if measured is not None and chooses_threshold:
        best = measured.result.best_f1
        changes |= {"score_threshold": best.score_threshold, "score_threshold_from": (measured.name,)}
    else:
        changes |= {"score_threshold_from": ()}

    def fill(folder: Path, version: int) -> None:
        """Write a release's files, the manifest last."""
        torch.save(loaded.network.state_dict(), folder / WEIGHTS)
        manifest = old.manifest.model_copy(update={**changes, "version": version})
        manifest = add_golden(folder, manifest, pixels, TorchEngine(loaded.network, "cpu"))
        if measured is not None:
            plot_precision_recall({measured.name: measured.result}, folder / PRECISION_RECALL)
        (folder / CARD).write_text(card_text(manifest), "utf-8")
        manifest.model_copy(update={"files": hashes_of(folder)}).write(folder)

    return store.publish(plan.store, plan.name, fill, check_release)


def published_unrecorded(plan: AdaptPlan, part: str) -> Release | None:
    """Return the release of a part of the training that a killed command published; None if there is none."""
    origin = origin_of(RunRecord.read(plan.run(part)))
    for version in store.versions(plan.store, plan.name):
        release = store.find(plan.store, f"{plan.name}@{version}")
        if release.manifest.origin == origin:
            return release
    return None


def _photos(plan: AdaptPlan) -> str:
    words = [f"{counted(len(plan.photos), 'photo')} without labels"]
    if plan.labelled.images:
        words.append(counted(len(plan.labelled.images), "labelled photo"))
    if plan.renders is not None:
        words.append("renders")
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
