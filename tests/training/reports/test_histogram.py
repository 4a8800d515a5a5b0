import numpy as np
import pytest

from training.reports.histogram import histogram


@pytest.mark.parametrize("values", [[1], [5, 5, 5], [1, 2, 4, 8, 1000], [0.25, 0.5, 3]])
@pytest.mark.parametrize("is_log", [True, False])
def test_every_value_is_in_a_bar(values: list[float], is_log: bool) -> None:
    chart = histogram(np.array(values, np.float64), title="t", unit="px", marks=[(2.0, "two")], is_log=is_log)
    assert sum(bar.count for bar in chart.bars) == len(values)
    for bar in chart.bars:
        assert chart.left <= bar.x < bar.x + bar.width <= chart.width - chart.right
        assert chart.top <= bar.y < bar.y + bar.height <= chart.height - chart.bottom + 0.1
    ((x, text),) = chart.marks
    assert text == "two"
    assert chart.left <= x <= chart.width - chart.right


def test_equal_values_have_a_tick() -> None:
    assert [text for _, text in histogram(np.full(5, 640.0), title="t", unit="px").ticks] == ["640"]


def test_no_values_have_no_bar() -> None:
    assert histogram(np.zeros(0), title="t", unit="px").bars == ()
