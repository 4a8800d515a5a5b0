"""Division of a dataset into a part to train on and a part to hold out."""

import re
from collections.abc import Sequence

import torch

from rendersight.annotations import AnnotatedImage, AnnotationError
from training.data.dataset import LabelledImages


def split(
    data: LabelledImages, *, hold_out: float, seed: int, group_by: str | None = None
) -> tuple[LabelledImages, LabelledImages]:
    """Divide a dataset into a training and a hold-out part by a seeded permutation.

    Args:
        data: at least two images.
        hold_out: a fraction of the images below 1, a count from 1 on.
        seed: seed of the permutation. The images or groups at its end are held out.
        group_by: regular expression searched in each name. Images whose capture groups match the same text stay in one
            part; without capture groups, the whole match counts. Groups are held out until at least `hold_out` images
            are.

    Returns:
        The training part and the hold-out part, both non-empty, each in the order of the dataset.

    Raises:
        AnnotationError: a part would be empty, or the expression does not match a name.
    """
    wanted = round(len(data.images) * hold_out) if hold_out < 1 else round(hold_out)
    groups: dict[str, list[str]] = {}
    for image in data.images:
        groups.setdefault(group_of(image.name, group_by), []).append(image.name)
    order = torch.randperm(len(groups), generator=torch.Generator().manual_seed(seed)).tolist()
    keys = sorted(groups)
    held: set[str] = set()
    for index in reversed(order):
        if len(held) >= wanted:
            break
        held.update(groups[keys[index]])
    if not held or len(held) == len(data.images):
        raise AnnotationError(
            f"hold_out {hold_out:g} of {len(data.images)} images in {len(groups)} groups leaves one side empty; "
            "lower hold_out, or take more images"
        )
    rest = [image.name for image in data.images if image.name not in held]
    return data.select(rest), data.select(sorted(held))


_HELD_OUT = {"val", "minival", "test"}


def own_split(data: LabelledImages) -> tuple[LabelledImages, LabelledImages] | None:
    """Divide a dataset by the splits in its files: `train` to train on, `val` to hold out, `test` in neither part.

    An image in both `train` and `val` goes into the training part. So does an image in `trainval` but not in `val`. If
    no image is in `train`, the images without a split are trained on.

    Returns:
        The training part and the hold-out part; None if one of them would be empty.
    """
    train = [image for image in data.images if image.splits and _is_for_training(image)]
    train = train or [image for image in data.images if not image.splits]
    held = [image for image in data.images if "val" in image.splits and not _is_for_training(image)]
    if not train or not held:
        return None
    return LabelledImages(tuple(train), data.class_names), LabelledImages(tuple(held), data.class_names)


def trainable(data: LabelledImages) -> LabelledImages:
    """Return a dataset without the images that its files assign to `val` or `test` alone.

    Raises:
        AnnotationError: no image is left.
    """
    found = tuple(image for image in data.images if not image.splits or _is_for_training(image))
    if not found:
        raise AnnotationError(
            "the dataset's files or folders call every image val or test, so nothing is left to train on; rename them "
            "if that is not meant"
        )
    return LabelledImages(found, data.class_names)


def _is_for_training(image: AnnotatedImage) -> bool:
    return "train" in image.splits or ("trainval" in image.splits and not _HELD_OUT.intersection(image.splits))


def split_by_names(data: LabelledImages, hold_out: Sequence[str]) -> tuple[LabelledImages, LabelledImages]:
    """Divide a dataset into the named images, which are held out, and the others that may be trained on.

    Raises:
        AnnotationError: a name is not in the dataset, or a part would be empty.
    """
    held = data.select(hold_out)
    names = {image.name for image in held.images}
    rest = [image.name for image in trainable(data).images if image.name not in names]
    if not rest or not names:
        raise AnnotationError(f"holding out {len(names)} of {len(data.images)} images leaves one side empty")
    return data.select(rest), held


def group_of(name: str, pattern: str | None) -> str:
    """Return the group of an image, as `split` forms them with `group_by`; without a pattern, the name itself.

    Raises:
        AnnotationError: the expression does not match the name.
    """
    if pattern is None:
        return name
    match = re.search(pattern, name)
    if match is None:
        raise AnnotationError(f"group_by {pattern!r} does not match {name!r}")
    return "\0".join(part or "" for part in match.groups()) if match.groups() else match.group()
