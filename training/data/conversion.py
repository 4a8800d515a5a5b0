"""Conversion of a dataset from one annotation format to another, complete or not at all."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rendersight import atomic
from rendersight.annotations import (
    DIFFICULT,
    IGNORE,
    IGNORE_LABEL,
    AnnotatedImage,
    AnnotationError,
    ReadOptions,
)
from rendersight.annotations.dataset import AnnotatedDataset, read_annotations
from rendersight.annotations.formats import Format, format_of
from rendersight.annotations.splits import split_of_folders
from rendersight.annotations.writing import PlaceImage, renamed, unwritable, write_dataset
from training.data.dataset import BrokenDataset, all_faults, names_in
from training.data.findings import counted
from training.records.run_folder import check_folder


@dataclass(frozen=True)
class Converted:
    """Summary of a conversion.

    Attributes:
        source_format: format that the source was read as.
        class_names: class names, in the order of the target.
        image_count: number of images.
        box_counts: class name -> number of boxes.
        ignored_count: number of ignored boxes in the source.
        splits: split -> number of images.
        left_out: description of an item missing from the target -> its count in the source.
    """

    source_format: str
    class_names: tuple[str, ...]
    image_count: int
    box_counts: Counter[str]
    ignored_count: int
    splits: Counter[str]
    left_out: Counter[str]

    def words(self) -> str:
        """Return the summary as lines of text."""
        ignored = f", {counted(self.ignored_count, 'ignored box', 'ignored boxes')}" if self.ignored_count else ""
        lines = [f"{self.image_count} images, {self.box_counts.total()} boxes{ignored}, read as {self.source_format}"]
        width = max((len(name) for name in self.class_names), default=0)
        lines += [f"  {name:<{width}} {self.box_counts[name]:6d}" for name in self.class_names]
        if self.splits:
            lines.append("splits: " + ", ".join(f"{name} {count}" for name, count in sorted(self.splits.items())))
        lines += [f"not written: {what}: {count}" for what, count in sorted(self.left_out.items())]
        return "\n".join(lines)


def convert(
    source: Path,
    target: Path,
    to: str,
    *,
    place_image: PlaceImage,
    reading: ReadOptions | None = None,
    class_names: Sequence[str] | None = None,
) -> Converted:
    """Read a dataset and write it in another format. The target appears only once it is complete.

    Args:
        source: a dataset in any format.
        target: a folder that does not exist or is empty.
        to: target format, a key of `rendersight.annotations.formats.FORMATS`.
        place_image: `copy_image` or `link_image` of `rendersight.annotations.writing`.
        reading: how the source is read; None detects its format and takes nothing for granted.
        class_names: class names in label order; None takes those that the source declares, else those of the data,
            sorted.

    Raises:
        BrokenDataset: files cannot be used or written. The message lists every fault, and nothing is written.
        AnnotationError: the source is no dataset or holds no image, or the target is not empty.
        OSError: a file cannot be read or written.
    """
    target_format = format_of(to)
    check_target(source, target)
    found = read_annotations(source, reading or ReadOptions())
    known = tuple(class_names or found.class_names or names_in(found))
    images = renamed(found.images)
    if faults := [*all_faults(found, known), *unwritable(images, to)]:
        raise BrokenDataset(faults)
    if not images:
        raise AnnotationError(f"{source} holds no images")
    write = partial(write_dataset, images, format=to, class_names=known, place_image=place_image)
    if not atomic.write_folder(target.resolve(), write):
        raise AnnotationError(f"{target} is not empty any more; name a folder that does not exist")
    return Converted(
        source_format=found.format,
        class_names=known,
        image_count=len(images),
        box_counts=Counter(label for image in images for label in image.labels),
        ignored_count=sum(len(image.ignored) for image in images),
        splits=Counter(split for image in images for split in image.splits),
        left_out=+_left_out(found, images, known, target_format),
    )


def _left_out(
    found: AnnotatedDataset, images: Sequence[AnnotatedImage], class_names: Sequence[str], target: Format
) -> Counter[str]:
    """Return what a written dataset lacks: its description -> its count in the source, which may be 0."""
    left_out = Counter({f"shapes without a box, {kind}": count for kind, count in found.ignored_shapes.items()})
    left_out["boxes without an area inside their image"] = found.dropped
    left_out["images that no annotation file lists"] = len(found.unlisted)
    left_out["images without a label file (--negatives writes them)"] = len(found.unlabelled)
    left_out["outlines; the boxes around them are"] = found.outlines
    left_out["files that are not read"] = len(found.unused)
    if not target.has_splits:
        left_out["splits of images, which the format cannot hold"] = sum(
            len(image.splits) for image in images if split_of_folders(image.name) != image.splits
        )
    if not target.has_classes:
        seen = {label for image in images for label in image.labels}
        left_out["classes without a box, which the format cannot hold"] = len(set(class_names) - seen)
    lost = Counter(flag for image in images for flags in image.flags for flag in flags)
    ignored = [item for image in images for item in image.ignored]
    if target.has_ignored:
        lost.update(flag for item in ignored for flag in item.flags - {IGNORE, DIFFICULT})
        strangers = sum(item.label not in (*class_names, IGNORE_LABEL) for item in ignored)
        left_out[f"labels of ignored boxes that are not classes; {IGNORE_LABEL} is"] = target.has_classes * strangers
    else:
        left_out["ignored boxes, which the format cannot hold; what they show is background there"] = len(ignored)
    for flag, count in lost.items():
        if target.flags is not None and flag not in target.flags:
            left_out[f"the flag {flag!r}, which the format cannot hold"] = count
    return left_out


def check_target(source: Path, target: Path) -> None:
    """Check that a target folder can be written.

    Raises:
        AnnotationError: the target is a file, is not empty, or lies inside the source, whose files it would join.
        RunError: the target cannot be created or written.
    """
    if target.exists() and not target.is_dir():
        raise AnnotationError(f"{target} is a file; name a folder that does not exist")
    if target.is_dir() and any(target.iterdir()):
        raise AnnotationError(f"{target} is not empty; name a folder that does not exist")
    if source.is_dir() and source.resolve() in target.resolve().parents:
        raise AnnotationError(f"{target} lies inside {source}, and would be read with it; name another folder")
    check_folder(target)
