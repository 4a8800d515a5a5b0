"""The work folder belongs to one plan, which `make.json` records."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tests.training.make.test_stages import WITH_COMPOSITES, plan_in
from training.make.plan import MAKE, MakeProgress, read_progress, write_progress
from training.records.run_folder import RunError, write_metrics
from training.synthetic.composites.parts import PartCounts


def test_reads_progress_as_written(tmp_path: Path) -> None:
    plan, progress = plan_in(tmp_path), MakeProgress(photo="a.jpg", publishing_after=2, cycles=(1,))
    assert read_progress(plan) == MakeProgress(cycles=(1,))
    plan.out.mkdir()
    write_progress(plan, progress)
    moved = dataclasses.replace(plan, blender=dataclasses.replace(plan.blender, count=1))
    assert read_progress(moved) == progress  # another number of processes continues the work


def test_grows_only_after_training(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    plan.out.mkdir()
    write_progress(plan, MakeProgress(cycles=(1,)))
    larger = dataclasses.replace(plan, count=9, config=WITH_COMPOSITES.model_copy(update={"epochs": 3}))
    with pytest.raises(RunError, match=r"can grow once its training has ended; repeat the earlier"):
        read_progress(larger)
    plan.run.mkdir()
    write_metrics(plan.run, [{"epoch": 1}])
    assert read_progress(larger) == MakeProgress(cycles=(1, 2))
    assert larger.at(read_progress(larger)).run == plan.out / "run-2"
    assert larger.at(read_progress(larger)).run_before == plan.run


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 7}, "begun with count 6 and not 7; repeat that"),
        ({"parts": PartCounts(9, 2, 2)}, r"cutouts \{'objects': 4, .* and not \{'objects': 9, "),
        ({"backgrounds": (Path("a.jpg"),)}, r"backgrounds None and not \['a.jpg'\]"),
        ({"photos": Path("photos")}, "photos None and not photos"),
        ({"sources": ("disc",)}, r"sources \['disc', 'square'\] and not \['disc'\]"),
        (
            {"config": WITH_COMPOSITES.model_copy(update={"epochs": 3, "weights": "coco"})},
            "weights none and not coco, epochs 1",
        ),
    ],
)
def test_rejects_work_folder_of_another_plan(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    plan = plan_in(tmp_path)
    plan.out.mkdir()
    write_progress(plan, MakeProgress())
    with pytest.raises(RunError, match=message):
        read_progress(dataclasses.replace(plan, **changes))


def test_hyperparameter_newer_than_the_work_folder_has_its_default(tmp_path: Path) -> None:
    plan, progress = plan_in(tmp_path), MakeProgress(cycles=(1,))
    plan.out.mkdir()
    write_progress(plan, progress)
    content = json.loads((plan.out / MAKE).read_text())
    assert content["job"].pop("one_label_per_object") is False
    (plan.out / MAKE).write_text(json.dumps(content))
    assert read_progress(plan) == progress
    changed = plan.config.model_copy(update={"one_label_per_object": True})
    with pytest.raises(RunError, match="begun with one_label_per_object False and not True; repeat that"):
        read_progress(dataclasses.replace(plan, config=changed))


@pytest.mark.parametrize("content", ["{", "[]", '{"job": {}}', '{"job": {}, "done": {"colour": 1}}'])
def test_names_broken_file(tmp_path: Path, content: str) -> None:
    plan = plan_in(tmp_path)
    plan.out.mkdir()
    (plan.out / MAKE).write_text(content)
    with pytest.raises(RunError, match=r"make\.json is broken"):
        read_progress(plan)
