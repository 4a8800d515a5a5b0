import dataclasses
from pathlib import Path

import pytest

from tests.training.make.test_stages import WITH_COMPOSITES, context, plan_in
from training.config import ConfigError
from training.errors import Stopped
from training.make.budget import Pace, fit, grow, measure_pace, seconds_of
from training.make.plan import MakePlan
from training.records.run_folder import write_metrics
from training.synthetic.composites.parts import PartCounts


@pytest.fixture
def plan(tmp_path: Path) -> MakePlan:
    config = WITH_COMPOSITES.model_copy(update={"composites": 100, "hold_out": 10})
    return plan_in(tmp_path, count=100, parts=PartCounts(200, 100, 100), config=config)


@pytest.mark.parametrize(("text", "seconds"), [("90m", 5400), ("1h30m", 5400), ("2d", 172800), ("1d2h3m", 93780)])
def test_reads_durations(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "1.5h", "30m1h", "-2h", "soon"])
def test_rejects_other_durations(text: str) -> None:
    with pytest.raises(ConfigError, match="is no duration; accepted: days, hours and minutes, such as 90m"):
        seconds_of(text)


def test_training_gets_the_time_that_rendering_leaves(plan: MakePlan) -> None:
    fitted = fit(plan, Pace(part_s=1, scene_s=5, window_s=0.5), 9900)  # 900 s of renders, 100 s an epoch
    assert (fitted.count, fitted.parts, fitted.config.epochs) == (100, plan.parts, 90)


def test_little_time_shrinks_all_counts_alike(plan: MakePlan) -> None:
    fitted = fit(plan, Pace(part_s=1, scene_s=5, window_s=0.5), 1125)  # 450 s of renders
    assert (fitted.count, fitted.parts) == (50, PartCounts(100, 50, 50))
    assert fitted.config.epochs == 675 // 75
    least = fit(plan, Pace(part_s=1, scene_s=5, window_s=0.5), 1)
    assert (least.count, least.config.epochs) == (13, 1)  # one more than the four scenes of three held out


def test_more_time_adds_epochs_at_the_measured_rate(plan: MakePlan) -> None:
    plan = dataclasses.replace(plan, time_s=3000)
    recorded = {**plan.recorded(), "time_s": 1000, "epochs": 4, "count": 50, "cutouts": {"objects": 9}}
    assert grow(plan, recorded).config.epochs == 4  # nothing is measured yet
    plan.run.mkdir(parents=True)
    write_metrics(plan.run, [{"images_per_s": 1.5}])
    grown = grow(plan, recorded)
    assert (grown.count, grown.parts, grown.config.epochs) == (50, PartCounts(9), 4 + 20)
    same = grow(dataclasses.replace(plan, time_s=1000), recorded)
    assert same.config.epochs == 4


def test_stops_while_it_measures(tmp_path: Path) -> None:
    with pytest.raises(Stopped, match="repeat the command"):
        measure_pace(plan_in(tmp_path), context(stop_asked=lambda: True))


def test_measures_pictures_and_training(tmp_path: Path) -> None:
    pace = measure_pace(plan_in(tmp_path), context())
    assert 0 < pace.part_s < 60
    assert 0 < pace.scene_s < 60
    assert 0 < pace.window_s < 60
    assert not (tmp_path / "work").exists()
