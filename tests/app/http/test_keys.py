from pathlib import Path

import pytest

from app.http.keys import InvalidKeysFile, hash_of, read_keys


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("alice detect", ":1: not a valid line; accepted: NAME SCOPES SHA256"),
        (f"alice root {hash_of('a')}", ":1: not a valid line"),
        (
            f"# ours\nalice detect {hash_of('a')}\nalice admin {hash_of('b')}",
            ":3: the name 'alice' or its key is repeated",
        ),
        (f"alice detect {hash_of('a')}\nbob admin {hash_of('a')}", ":2: the name 'bob' or its key is repeated"),
    ],
)
def test_a_wrong_line_is_told_with_its_number(tmp_path: Path, text: str, fault: str) -> None:
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(InvalidKeysFile) as raised:
        read_keys(file)
    assert str(raised.value).startswith(f"{file}{fault}")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidKeysFile, match="No such file"):
        read_keys(tmp_path / "missing")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidKeysFile, match="utf-8"):
        read_keys(tmp_path / "binary")
