from pathlib import Path

from tests.training.make.test_stages import plan_in
from training.make.estimates import EstimatingBar, duration, summary


def test_formats_duration() -> None:
    assert [duration(seconds) for seconds in (1, 89, 3600, 9000)] == [
        "1 min",
        "1 min",
        "60 min",
        "2.5 h",
    ]


def test_assumes_training_time_on_cpu_only(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    assert "about 1 min to render and 1 min to train" in summary(plan, "cpu")
    assert "1 min to render and an unknown time to train" in summary(plan, "cuda:0")


def test_estimates_remaining_time_once() -> None:
    said: list[str] = []
    bar = EstimatingBar(lambda items, **_: items, said.append, passes=3)
    for _ in range(3):
        assert list(bar(range(20), total=20)) == list(range(20))
    (line,) = said
    assert "s each, 44 left: about 1 min" in line
