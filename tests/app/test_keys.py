from pathlib import Path

import pytest

from app.http.keys import hash_of, read_keys
from app.keys import main


def made(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    """Make a key; returns its line and itself."""
    assert main(arguments) == 0
    shown = capsys.readouterr()
    return shown.out, shown.err.rpartition(": ")[2].strip()


def test_finds_only_keys_that_were_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (line, key), (other_line, other) = (
        made(capsys, "alice"),
        made(capsys, "bob-2", "--scope", "admin", "--scope", "detect"),
    )
    file = tmp_path / "keys"
    file.write_text(f"# ours\n\n{line}  {other_line}")
    keys = read_keys(file)
    assert key not in file.read_text()
    found = keys.find(key)
    assert found is not None
    assert (found.name, found.scopes, found.sha256) == ("alice", {"detect"}, hash_of(key))
    assert (admin := keys.find(other)) is not None
    assert admin.scopes == {"admin", "detect"}
    for wrong in ("", key[:-1], key + "x", hash_of(key), "ключ", "\udcff"):
        assert keys.find(wrong) is None


def test_two_keys_differ(capsys: pytest.CaptureFixture[str]) -> None:
    assert made(capsys, "alice") != made(capsys, "alice")


def test_a_name_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["a b"])
    assert ended.value.code == 2
    assert "argument name: 'a b' is not accepted" in capsys.readouterr().err
