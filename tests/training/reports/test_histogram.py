import numpy as np
import pytest

from training.reports.histogram import histogram


@pytest.mark.parametrize("values", [[1], [5, 5, 5], [1, 2, 4, 8, 1000], [0.25, 0.5, 3]])
@pytest.mark.parametrize("is_log", [True, False])
def test_every_value_is_in_a_bar(values: list[float], is_log: bool) -> None:
    chart = histogram(np.array(values, np.float64), "t", "px", marks=[(2.0, "two")], is_log=is_log)
    assert sum(count for _, _, count in chart.bars) == len(values)
    assert all(-1e-9 <= start < end <= 1 + 1e-9 for start, end, _ in chart.bars)
    ((position, text),) = chart.marks
    assert text == "two"
    assert 0 < position < 1


def test_equal_values_have_a_tick() -> None:
    assert [text for _, text in histogram(np.full(5, 640.0), "t", "px").ticks] == ["640"]


def test_no_values_have_no_bar() -> None:
    assert histogram(np.zeros(0), "t", "px").bars == ()
