from collections.abc import Callable

import pytest

from rendersight.command_line import exit_status


class Known(Exception):
    pass


def interrupt() -> int:
    raise KeyboardInterrupt


def reject() -> int:
    raise Known("the value 7 is too large; accepted: 0 to 5")


def import_missing() -> int:
    raise ModuleNotFoundError(name="torch.nn")


@pytest.mark.parametrize(
    ("work", "status", "lines"),
    [
        (lambda: 0, 0, []),
        (lambda: 3, 3, []),
        (interrupt, 130, ["stopped"]),
        (reject, 2, ["the value 7 is too large; accepted: 0 to 5"]),
        (import_missing, 2, ["the package torch is not installed; run pip install it"]),
    ],
)
def test_ends_with_a_status_and_a_line(work: Callable[[], int], status: int, lines: list[str]) -> None:
    said: list[str] = []
    found = exit_status(
        work,
        say=lambda message, _: said.append(message),
        status_of=lambda error: 2 if isinstance(error, Known) else None,
        install="pip install it",
    )
    assert (found, said) == (status, lines)


@pytest.mark.parametrize("error", [ValueError("a bug"), ModuleNotFoundError(name="training.nowhere")])
def test_raises_errors_that_nobody_expects(error: Exception) -> None:
    def fail() -> int:
        raise error

    with pytest.raises(type(error)):
        exit_status(fail, say=pytest.fail, status_of=lambda _: None, install="")
