import time

import pytest

from training import console
from training.console import progress_bar


def test_prints_lines_without_a_terminal_even_within_one_item(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "LINE_EVERY_S", 0.05)
    for number in progress_bar(range(4), desc="epoch 1/2"):
        time.sleep(0.3 if number in (0, 3) else 0.01)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("epoch 1/2: 0 of 4 after 0:00:0")
    assert any(line.startswith("epoch 1/2: 3 of 4 after 0:00:0") and line.endswith(" left") for line in lines)
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_short_work_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress_bar(iter("ab"), desc="images", total=2)) == ["a", "b"]
    assert capsys.readouterr().err == ""
