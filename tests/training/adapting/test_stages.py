"""The whole chain at small size: photos without labels, then with a few labelled ones."""

import argparse
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from model_store import store
from model_store.detector import open_detector
from model_store.store import DEFAULT_ROOT
from tests.training.conftest import run_context
from training.adapting import stages
from training.adapting.plan import ADAPT, AdaptPlan, AdaptProgress, read_progress
from training.adapting.stages import adapt
from training.adapting.verdict import Verdict
from training.commands.adapt import plan_of
from training.errors import Stopped
from training.learning.run import RunContext
from training.records.run_folder import RunError, RunRecord, read_names

pytestmark = pytest.mark.long  # each trains a small network

BETTER = Verdict("better", "by 6.1 ± 1.8 AP50 on 4 labelled photos", is_published=True)


def plan_in(root: Path, source: Path, hall: Path, adapt_preset: Path, **more: Any) -> AdaptPlan:
    if not (root / "store").exists():
        shutil.copytree(source, root / "store")
    given = {
        "release": "discs",
        "photos": hall,
        "labelled": None,
        "renders": None,
        "name": None,
        "out": root / "work",
        "epochs": None,
        "preset": str(adapt_preset),
        "store": root / "store",
    }
    return plan_of(argparse.Namespace(**{**given, **more}), "cpu")


def context(plan: AdaptPlan, **changes: Any) -> RunContext:
    return run_context(store_root=plan.store, **changes)


@pytest.fixture(scope="module")
def adapted(
    store_of_discs: Path, hall: Path, adapt_preset: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[AdaptPlan, AdaptProgress]:
    plan = plan_in(tmp_path_factory.mktemp("adapted"), store_of_discs, hall, adapt_preset)
    return plan, adapt(plan, context(plan))


def test_verdict_without_labels_claims_nothing(adapted: tuple[AdaptPlan, AdaptProgress]) -> None:
    plan, progress = adapted
    assert progress.verdict is not None
    assert progress.verdict.outcome in ("cannot tell", "worse")
    assert (progress.release is not None) == progress.verdict.is_published
    assert read_progress(plan) == progress
    told = json.loads((plan.report / "figures.json").read_text())
    assert (told["verdict"], told["figures"]) == (str(progress.verdict), {})
    assert str(progress.verdict).replace("<", "&lt;") in (plan.report / "report.html").read_text()


def test_student_starts_from_the_release_and_learns_from_the_photos(
    adapted: tuple[AdaptPlan, AdaptProgress],
) -> None:
    plan, _ = adapted
    record = RunRecord.read(plan.run("whole"))
    assert record.continued_from == "discs@1"
    assert {name.partition("/")[0] for name in read_names(plan.run("whole") / "train.txt")} == {"photos"}
    assert (record.config.horizontal_flip, record.config.rotate90) == (0.5, 0.5)  # as the release's training had them
    assert (record.config.min_size, record.config.max_size) == (96, 96)


def test_repeated_call_changes_nothing(adapted: tuple[AdaptPlan, AdaptProgress]) -> None:
    plan, progress = adapted
    before = {path: path.stat().st_mtime_ns for path in plan.out.rglob("*") if path.name != ADAPT}
    assert adapt(plan, context(plan)) == progress
    assert before == {path: path.stat().st_mtime_ns for path in before}


def publishing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the verdict be a good one: what tiny networks learn is a matter of chance."""
    monkeypatch.setattr(stages, "judge", lambda *_, **__: BETTER)


def test_publishes_under_a_name_of_its_own(
    store_of_discs: Path, hall: Path, adapt_preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publishing(monkeypatch)
    plan = plan_in(tmp_path, store_of_discs, hall, adapt_preset)
    assert adapt(plan, context(plan)).release == "discs-our-hall@1"
    release = store.find(plan.store, "discs-our-hall")
    old = plan.loaded.release
    assert old is not None
    assert release.manifest.class_names == old.manifest.class_names
    assert release.manifest.score_threshold == old.manifest.score_threshold
    assert release.manifest.metrics == ()
    assert "adapted to 6 photos without labels" in release.manifest.description
    card = (release.folder / "README.md").read_text()
    assert f"Score threshold: {old.manifest.score_threshold}, that of discs@1." in card
    assert "precision_recall" not in card
    assert {path.name for path in release.folder.glob("golden*")} == {path.name for path in old.folder.glob("golden*")}
    open_detector("discs-our-hall", store_root=plan.store, device="cpu", engine="torch-fp32")
    assert store.versions(plan.store, "discs") == [1]
    # a command that was killed before it could record the release
    content = json.loads((plan.out / ADAPT).read_text())
    content["done"]["release"] = None
    (plan.out / ADAPT).write_text(json.dumps(content))
    assert adapt(plan, context(plan)).release == "discs-our-hall@1"
    assert store.versions(plan.store, "discs-our-hall") == [1]


def test_labelled_photos_are_scored_by_networks_that_have_not_learned_from_them(
    store_of_discs: Path, hall: Path, few: Path, *, shapes: Path, adapt_preset: Path, tmp_path: Path
) -> None:
    plan = plan_in(tmp_path, store_of_discs, hall, adapt_preset, labelled=few, renders=shapes)
    progress = adapt(plan, context(plan))
    assert progress.verdict is not None
    assert "AP50 on 4 labelled photos" in progress.verdict.text or "golden images" in progress.verdict.text
    told = json.loads((plan.report / "figures.json").read_text())
    assert {name: item["image_count"] for name, item in told["figures"].items()} == {"before": 4, "after": 4}
    learned = []
    for part in ("fold-1", "fold-2"):
        links = [plan.lessons(part) / name for name in read_names(plan.run(part) / "train.txt")]
        assert {link.parent.name for link in links} >= {"photos", "labelled-0", "renders"}
        learned.append({link.resolve().name for link in links if link.parent.name.startswith("labelled-")})
    first, second = learned
    assert first.isdisjoint(second)
    assert len(first | second) == 4


def test_photos_without_objects_keep_the_release(
    store_of_discs: Path, hall: Path, adapt_preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.adapting.teacher.AGREED_SCORE", 1.1)  # no view agrees on anything
    plan = plan_in(tmp_path, store_of_discs, hall, adapt_preset)
    verdict = adapt(plan, context(plan)).verdict
    assert str(verdict) == "cannot tell: the views agree on no object in 6 photos; kept discs@1"
    assert not (plan.out / "whole").exists()
    assert store.versions(plan.store, plan.name) == []


def test_stops_in_every_stage_change_no_result(
    adapted: tuple[AdaptPlan, AdaptProgress], store_of_discs: Path, hall: Path, adapt_preset: Path, tmp_path: Path
) -> None:
    plan = plan_in(tmp_path, store_of_discs, hall, adapt_preset)
    for number, stage in enumerate(("label", "learn", "judge"), 1):
        questions = []

        def say(line: str, stage: str = stage) -> None:
            if line.endswith(f"/4 {stage}"):
                questions.append(0)  # noqa: B023

        def asked() -> bool:
            if questions:  # noqa: B023
                questions.append(0)  # noqa: B023
            return len(questions) > 3  # noqa: B023

        with pytest.raises(Stopped, match=f"stopped in {number}/4, {stage}; repeat the command to continue"):
            adapt(plan, context(plan, say=say, stop_asked=asked))
    assert adapt(plan, context(plan)).verdict == adapted[1].verdict


def test_work_folder_belongs_to_one_plan(adapted: tuple[AdaptPlan, AdaptProgress], tmp_path: Path) -> None:
    plan, _ = adapted
    longer = dataclasses.replace(plan, config=plan.config.model_copy(update={"epochs": 9}))
    with pytest.raises(RunError, match="was begun with epochs 1 and not 9; repeat that"):
        read_progress(longer)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="holds other files than those of `adapt`"):
        read_progress(dataclasses.replace(plan, out=tmp_path))
    (tmp_path / ADAPT).write_text("{")
    with pytest.raises(RunError, match=r"adapt\.json is broken"):
        read_progress(dataclasses.replace(plan, out=tmp_path))


def test_default_store_is_found_too(hall: Path, adapt_preset: Path, tmp_path: Path) -> None:
    plan = plan_in(tmp_path, DEFAULT_ROOT / "dice", hall, adapt_preset, release="dice", store=tmp_path / "other")
    assert plan.source == f"dice@{max(store.versions(DEFAULT_ROOT, 'dice'))}"
    assert plan.name == "dice-our-hall"
