"""Division of a dataset: by seed, by groups, by the splits in its files, by a list of names."""

from dataclasses import replace
from pathlib import Path

import pytest

from rendersight.annotations import AnnotationError
from training.data.dataset import LabelledImages, read_dataset
from training.data.split import own_split, split, split_by_names, trainable


@pytest.fixture
def data(shapes: Path) -> LabelledImages:
    return read_dataset(shapes)


def names(data: LabelledImages) -> set[str]:
    return {image.name for image in data.images}


@pytest.mark.parametrize(("hold_out", "expected"), [(3, 3), (0.2, 2), (1, 1), (0.95, 10)])
def test_split_divides_dataset(data: LabelledImages, hold_out: float, expected: int) -> None:
    if expected == 10:
        with pytest.raises(AnnotationError, match="leaves one side empty"):
            split(data, hold_out=hold_out, seed=0)
        return
    train, held = split(data, hold_out=hold_out, seed=0)
    assert len(held.images) == expected
    assert names(train) | names(held) == names(data)
    assert not names(train) & names(held)


@pytest.mark.parametrize(
    ("splits", "train", "held"),
    [
        (["train", "train", "val", "test", ""], [0, 1], [2]),
        (["", "", "val", "test", "test"], [0, 1], [2]),  # a val folder beside the other images
        (["trainval", "train val", "val", "test", "minival"], [0, 1], [2]),
    ],
)
def test_follows_declared_splits(data: LabelledImages, splits: list[str], train: list[int], held: list[int]) -> None:
    parts = own_split(with_splits(data, splits))
    assert parts is not None
    assert [names(part) for part in parts] == [{data.images[i].name for i in numbers} for numbers in (train, held)]


@pytest.mark.parametrize(
    ("splits", "train"),
    [
        (["train", "test", "", "trainval test", "val"], [0, 2]),
        (["val", "val", "test", "minival", "val test"], []),
    ],
)
def test_never_trains_on_val_or_test(data: LabelledImages, splits: list[str], train: list[int]) -> None:
    declared = with_splits(data, splits)
    if not train:
        with pytest.raises(AnnotationError, match="nothing is left to train on"):
            trainable(declared)
        return
    assert names(trainable(declared)) == {data.images[i].name for i in train}
    held = data.images[train[0]].name
    assert names(split_by_names(declared, [held])[0]) == {data.images[i].name for i in train[1:]}


def with_splits(data: LabelledImages, splits: list[str]) -> LabelledImages:
    """The first images of a dataset, with splits."""
    images = [replace(image, splits=tuple(words.split())) for image, words in zip(data.images, splits, strict=False)]
    return replace(data, images=tuple(images))


def test_split_depends_on_seed_alone(data: LabelledImages) -> None:
    first, second, other = (split(data, hold_out=3, seed=seed)[1] for seed in (0, 0, 1))
    assert names(first) == names(second) != names(other)


def test_split_keeps_groups_together(data: LabelledImages) -> None:
    train, held = split(data, hold_out=3, seed=0, group_by=r"photo_(\d)[0-4]|photo_\d([5-9])")
    assert {"photo_00.png", "photo_03.png"} <= names(train) or {"photo_00.png", "photo_03.png"} <= names(held)
    assert len(held.images) >= 3


def test_unmatched_group_expression_names_image(data: LabelledImages) -> None:
    with pytest.raises(AnnotationError, match=r"photo_00\.png"):
        split(data, hold_out=3, seed=0, group_by="series_(.*)")


def test_holds_out_listed_images(data: LabelledImages) -> None:
    names = [data.images[7].name, data.images[2].name]
    rest, held = split_by_names(data, names)
    assert [image.name for image in held.images] == sorted(names)
    assert len(rest.images) == 8
    assert not {image.name for image in rest.images} & set(names)


@pytest.mark.parametrize("names", [["nowhere.png"], [], ["all"]])
def test_rejects_bad_hold_out_list(data: LabelledImages, names: list[str]) -> None:
    with pytest.raises(AnnotationError):
        split_by_names(data, [image.name for image in data.images] if names == ["all"] else names)
