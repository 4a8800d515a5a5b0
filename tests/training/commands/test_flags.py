import argparse
from pathlib import Path

import pytest

from rendersight.annotations import ReadOptions
from training.commands.flags import add_reading, maybe_named, maybe_named_folder, named_folder, reading_of


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


def test_arguments_say_how_a_dataset_is_read() -> None:
    parser = argparse.ArgumentParser()
    add_reading(parser)
    assert reading_of(parser.parse_args([])) == ReadOptions()
    words = ["--format", "voc", "--labels", "nut,bolt", "--negatives", "--ignore-unread", "--pixel-origin", "0"]
    found = reading_of(parser.parse_args([*words, "--with-difficult"]))
    assert found == ReadOptions("voc", ("nut", "bolt"), True, True, 0, True)
