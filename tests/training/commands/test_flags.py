import argparse
from pathlib import Path

import pytest

from training.commands.flags import maybe_named, maybe_named_folder, named_folder


def test_a_folder_with_and_without_a_name(tmp_path: Path) -> None:
    assert maybe_named_folder("the desk=photos/a") == ("the desk", Path("photos/a"))
    assert maybe_named_folder("photos/a") == ("a", Path("photos/a"))
    assert maybe_named("photos.txt") == ("", Path("photos.txt"))
    assert maybe_named("=photos") == ("", Path("=photos"))
    with pytest.raises(argparse.ArgumentTypeError, match="NAME=FOLDER"):
        named_folder("photos/a")


def test_a_folder_that_is_there_may_have_an_equals_sign_in_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "light=low"
    folder.mkdir()
    assert maybe_named_folder(str(folder)) == ("light=low", folder)
    assert maybe_named_folder(f"dim={folder}") == ("dim", folder)
