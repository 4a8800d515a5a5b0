import pytest

from training.time_left import Announcer, SecondsPerItem, duration


def test_duration_is_told_in_minutes_or_hours() -> None:
    assert [duration(seconds) for seconds in (1, 89, 3600, 9000)] == ["1 min", "1 min", "60 min", "2.5 h"]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([0.5], 0.5),
        ([60, 0.5, 0.5, 0.5, 0.5], 0.5),  # one slow item
        ([0, 3, 0, 3, 0, 3], 1.5),  # two processes, few items
        ([0, 0, 0, 4] * 8, 1.0),  # four processes that finish together
        ([9.0] * 20 + [1.0] * 60, 1.0),  # the latest items count
    ],
    ids=["one", "slow start", "pairs", "bursts", "faster now"],
)
def test_duration_is_moving_median(seconds: list[float], expected: float) -> None:
    speed = SecondsPerItem()
    for value in seconds:
        speed.add(value)
    assert speed.each_s == pytest.approx(expected)


def test_duration_is_unknown_before_first_item() -> None:
    assert SecondsPerItem().each_s is None


def announced(seconds: list[float], *, total: int) -> list[str]:
    said: list[str] = []
    announcer = Announcer(said.append, unit="a step", advice="; faster: a GPU")
    for number, value in enumerate(seconds, 1):
        announcer.add(value, left=total - number)
    return said


def test_time_left_is_announced_after_three_items() -> None:
    assert announced([2.0] * 3, total=303) == ["2.00 s a step, 300 left: about 10 min; faster: a GPU"]
    assert announced([2.0] * 2, total=303) == []
    assert len(announced([2.0] * 300, total=303)) == 1


def test_wrong_estimate_is_corrected() -> None:
    first, second = announced([5.0] * 3 + [1.0] * 61, total=1064)
    assert first.startswith("5.00 s a step, 1061 left: about 88 min")
    assert second.startswith("corrected: 1.00 s a step, ")
