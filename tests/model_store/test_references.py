from pathlib import Path

import pytest

from model_store.errors import ReleaseNotFound
from model_store.references import ReleaseRef, parse


def test_a_name_may_pin_a_version() -> None:
    assert ReleaseRef.parse("dice") == ReleaseRef("dice", None)
    assert ReleaseRef.parse("my_die.v2@10") == ReleaseRef("my_die.v2", 10)


NAMES = ["", ".", "Dice", "dice\n", "../dice", "dice/1", "@1"]
PINS = ["dice@", "dice@0", "dice@01", "dice@-1", "dice@x", "dice@1@2", "dice@1\n"]


@pytest.mark.parametrize("text", [*NAMES, *(f"{name}@1" for name in NAMES), *PINS])
def test_refuses_other_text(text: str) -> None:
    with pytest.raises(ReleaseNotFound, match="is no release reference; accepted: a name such as dice, or dice@6"):
        ReleaseRef.parse(text)


def test_a_path_has_a_slash_or_leads_to_a_file_or_a_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("dice", "coins"):
        (tmp_path / folder).mkdir()
    for file in ("weights.pt", "coins/manifest.json"):
        (tmp_path / file).touch()
    assert parse("dice") == ReleaseRef("dice", None)  # a folder of photos, say
    assert [parse(text) for text in ("weights.pt", "coins", "no/where", "C:\\x")] == [
        Path("weights.pt"),
        Path("coins"),
        Path("no/where"),
        Path("C:\\x"),
    ]
