from pathlib import Path

from tests.training.make.test_stages import plan_in
from training.make.estimates import EstimatingBar, summary


def test_assumes_training_time_on_cpu_only(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    assert "about 1 min to render and 1 min to train" in summary(plan, "cpu")
    assert "1 min to render and an unknown time to train" in summary(plan, "cuda:0")


def test_announces_remaining_time_after_three_items() -> None:
    said: list[str] = []
    bar = EstimatingBar(lambda items, **_: items, said.append)
    assert list(bar(range(20), total=20)) == list(range(20))
    (line,) = said
    assert "s each, 16 left: about 1 min" in line
