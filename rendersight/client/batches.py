"""How far a batch runs ahead of its results."""

from collections.abc import Sized

from rendersight.client.errors import WrongSetting

CONCURRENCY = 4
MOST_CONCURRENCY = 100  # as many connections as httpx keeps for a client

_MODES = ("raise", "return")


def check_batch(concurrency: int, errors: str) -> None:
    """Refuse arguments of `detect_many` that cannot be used.

    Raises:
        WrongSetting: it names the argument and what is accepted.
    """
    if not 1 <= concurrency <= MOST_CONCURRENCY:
        raise WrongSetting(f"concurrency={concurrency} is not accepted; accepted: 1 to {MOST_CONCURRENCY}")
    if errors not in _MODES:
        raise WrongSetting(f"errors={errors!r} is not accepted; accepted: {', '.join(_MODES)}")


def window_of(concurrency: int, ahead: Sized) -> int:
    """Return how many more images may be taken while the results `ahead` are not taken yet.

    Twice as many as are asked for at a time: one slow image at the head does not leave the others idle.
    """
    return 2 * concurrency - len(ahead)
