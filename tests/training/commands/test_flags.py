import argparse
from pathlib import Path

import pytest

from training.commands.flags import maybe_named, maybe_named_folder, named_folder


def test_parses_folder_with_or_without_name(tmp_path: Path) -> None:
    assert maybe_named_folder("the desk=photos/a") == ("the desk", Path("photos/a"))
    assert maybe_named_folder("photos/a") == ("a", Path("photos/a"))
    assert maybe_named("photos.txt") == ("", Path("photos.txt"))
    assert maybe_named("=photos") == ("", Path("=photos"))
    with pytest.raises(argparse.ArgumentTypeError, match="NAME=FOLDER"):
        named_folder("photos/a")


def test_existing_folder_may_contain_equals_sign(tmp_path: Path) -> None:
    folder = tmp_path / "light=low"
    folder.mkdir()
    assert maybe_named_folder(str(folder)) == ("light=low", folder)
    assert maybe_named_folder(f"dim={folder}") == ("dim", folder)
