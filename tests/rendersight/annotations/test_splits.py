"""Splits that names and lists declare."""

import pytest

from rendersight.annotations.splits import split_of, split_of_folders


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("instances_val2017", "val"),
        ("valid", "val"),
        ("Validation", "val"),
        ("dev", "val"),
        ("test-dev2017", "test"),
        ("my.trainval", "trainval"),
        ("instances", None),
        ("latest", None),
        ("validate_me", None),
        ("retrain", None),
        ("train/instances", None),
    ],
)
def test_a_split_is_a_word_in_a_name(name: str, split: str | None) -> None:
    assert split_of(name) == (() if split is None else (split,))


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train/a.png", ("train",)),
        ("x/valid/y/a.png", ("val",)),
        ("test.png", ()),
        ("test 1/a.png", ()),
        ("contest/a.png", ()),
        ("val2017/a.png", ("val",)),
        ("test_images/a.png", ("test",)),
    ],
)
def test_a_folder_is_a_split_by_its_whole_name(name: str, split: tuple[str, ...]) -> None:
    assert split_of_folders(name) == split
