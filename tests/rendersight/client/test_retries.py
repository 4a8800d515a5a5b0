import math

import pytest

from rendersight.client import (
    ConnectionLost,
    InputRefused,
    Overloaded,
    RendersightError,
    ServiceUnreachable,
    TimedOut,
    Unavailable,
    UnexpectedAnswer,
    WrongSetting,
)
from rendersight.client.retries import Attempts, Polls, Timing


def attempts(*, retries: int = 99, timeout_s: float = 1000, chance: float = 0) -> Attempts:
    return Attempts(retries=retries, timeout_s=timeout_s, timing=Timing(clock=lambda: 0.0, chance=lambda: chance))


@pytest.mark.parametrize(("chance", "pauses"), [(0, [0.125, 0.25, 0.5, 1, 2, 4, 4]), (0.5, [0.1875, 0.375, 0.75])])
def test_pauses_double_up_to_a_limit(chance: float, pauses: list[float]) -> None:
    begun = attempts(chance=chance)
    assert [begun.pause_after(ServiceUnreachable("x")) for _ in pauses] == pytest.approx(pauses)


def test_retry_after_is_the_least_pause() -> None:
    for chance, pause_s in ((0, 20), (0.99, 24.95)):
        begun = attempts(chance=chance)
        assert begun.pause_after(Overloaded(503, "x", "", retry_after_s=20)) == pytest.approx(pause_s)
    assert attempts().pause_after(Overloaded(503, "x", "", retry_after_s=0)) == 0


@pytest.mark.parametrize(
    ("error", "is_tried_again"),
    [
        (ServiceUnreachable("x"), True),
        (ConnectionLost("x"), True),
        (Unavailable(502, "x", ""), True),
        (Overloaded(503, "x", ""), True),
        (InputRefused(422, "x", ""), False),
        (TimedOut("x"), False),
        (UnexpectedAnswer("x"), False),
    ],
)
def test_what_is_tried_again(error: RendersightError, *, is_tried_again: bool) -> None:
    if is_tried_again:
        assert attempts().pause_after(error) > 0
    else:
        with pytest.raises(type(error)) as caught:
            attempts().pause_after(error)
        assert caught.value is error


def test_neither_more_attempts_nor_more_time_than_there_are() -> None:
    begun = attempts(retries=1)
    begun.pause_after(ServiceUnreachable("first"))
    with pytest.raises(ServiceUnreachable, match="second"):
        begun.pause_after(ServiceUnreachable("second"))
    with pytest.raises(Unavailable):
        attempts(timeout_s=5).pause_after(Unavailable(503, "x", "", retry_after_s=5))


def test_polls_go_on_until_there_is_no_time() -> None:
    now = [0.0]
    polls = Polls(timeout_s=1, timing=Timing(clock=lambda: now[0]))
    for _ in range(3):
        now[0] += polls.pause_after(TimedOut("silent"))
    with pytest.raises(TimedOut, match="not ready within 1 s: 503 Not ready") as caught:
        polls.pause_after(Unavailable(503, "Not ready", ""))
    assert isinstance(caught.value.__cause__, Unavailable)
    with pytest.raises(UnexpectedAnswer):
        Polls(timeout_s=1, timing=Timing()).pause_after(UnexpectedAnswer("x"))


@pytest.mark.parametrize("timeout_s", [0, -1, math.nan, math.inf, 1e300, 86_401])
def test_refuses_timeout_that_cannot_be_waited(timeout_s: float) -> None:
    with pytest.raises(WrongSetting, match=r"timeout_s=.* accepted: seconds above 0, at most 86400"):
        attempts(timeout_s=timeout_s)
    assert attempts(timeout_s=86_400).left_s() == 86_400
