"""Reading of a dataset in any format: its annotated images and all its faults."""

import os
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from rendersight import images
from rendersight.annotations import (
    IGNORE_LABEL,
    AnnotatedImage,
    AnnotationError,
    Fault,
    LabelledBox,
    Listing,
    ReadOptions,
    Record,
    formats,
    unread,
)
from rendersight.annotations.boxes import BoxXyxy, clipped
from rendersight.annotations.formats import labelme
from rendersight.annotations.index import FileIndex, name_below
from rendersight.annotations.splits import is_image_list, read_lists, split_of

_BACKGROUND = "_background_"
"""Label that LabelMe reserves for the background."""

_ASTRAY = "is the label file of no image; put it beside its image, or into a folder labels beside the folder images"
_ROUNDING_PX = 0.01
_READ_ALL = ReadOptions()


@dataclass(frozen=True)
class Misfit:
    """A box that reaches beyond its image or has no area.

    Attributes:
        image: the image's name.
        label: the object's class name.
        box_xyxy: the box as written in its file, px.
        beyond_px: maximum distance that the box reaches beyond the image.
        is_kept: whether a part of the box lies inside the image; the image's box is then this part.
    """

    image: str
    label: str
    box_xyxy: BoxXyxy
    beyond_px: float
    is_kept: bool


@dataclass(frozen=True)
class AnnotatedDataset:
    """A dataset that was read and checked.

    Attributes:
        images: the usable images, sorted by name.
        faults: every file that cannot be used; empty for a sound dataset.
        misfits: boxes that reach beyond their image, or have no area inside it and are left out.
        ignored_shapes: number of skipped shapes, by type or label, that give no box.
        format: the dataset's format, a key of `formats.FORMATS`.
        root: the folder that names are relative to.
        class_names: the declared classes in the dataset's order, used or not; LabelMe and VOC declare none.
        unlisted: names of image files in the folder that the dataset's files do not mention.
        remarks: how ambiguous files were interpreted.
        unused: files that are neither images nor read, with the reason; label files among them only if the options
            leave them out, otherwise they are faults.
        outlines: number of boxes that are the extent of an outline in the file.
        unlabelled: names of images that are left out because they have no label file, while others have one.
    """

    images: tuple[AnnotatedImage, ...]
    faults: tuple[Fault, ...]
    misfits: tuple[Misfit, ...]
    ignored_shapes: Counter[str]
    format: str
    root: Path
    class_names: tuple[str, ...] = ()
    unlisted: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    unused: tuple[Fault, ...] = ()
    outlines: int = 0
    unlabelled: tuple[str, ...] = ()

    @property
    def dropped(self) -> int:
        """Number of boxes left out because no area of them lies inside their image."""
        return sum(1 for misfit in self.misfits if not misfit.is_kept)


def no_bar(items: Iterable[Any], **_words: Any) -> Iterable[Any]:
    """Return the items without a progress bar; the arguments are those of tqdm."""
    return items


@dataclass
class _Seen:
    """The result of checking one record.

    Attributes:
        image: the image with its boxes; None if it cannot be used.
        fault: why it cannot be used.
        is_unread: whether the image's format is not read.
        misfits: boxes that do not fit into the image.
    """

    image: AnnotatedImage | None = None
    fault: Fault | None = None
    is_unread: bool = False
    misfits: list[Misfit] = field(default_factory=list)


def read_annotations(
    source: Path,
    options: ReadOptions = _READ_ALL,
    *,
    decode: bool = True,
    bar: Callable[..., Iterable[Any]] = no_bar,
) -> AnnotatedDataset:
    """Read a dataset: a folder in any of `formats.FORMATS`, or a file that describes one, such as COCO's JSON.

    Every file is used, or named with the reason.

    Args:
        source: the folder or file.
        options: how to read it.
        decode: decode every image, so that faults appear now and not in the middle of a training; False reads only the
            headers, for a caller that decodes every image it needs at once.
        bar: wraps the images in a progress bar, as tqdm does.

    Raises:
        AnnotationError: the source does not exist, or has files of several formats.
    """
    index = FileIndex(source)
    name = options.format or formats.recognise(index)
    listing = _with_listed_splits(index, _without_background(formats.format_of(name).read(index, options)))
    unread_faults, unused = _unread(index, listing, name, options)
    with ThreadPoolExecutor() as pool:  # decoding releases the GIL
        looks = pool.map(lambda record: _look(listing.root, record, options, decode=decode), listing.records)
        seen: list[_Seen] = list(bar(looks, total=len(listing.records), desc=f"read {source.name}"))
    images_read = sorted((item.image for item in seen if item.image is not None), key=lambda image: image.name)
    labelled = [image for image in images_read if image.annotation_path is not None]
    used = images_read if options.negatives or not labelled else labelled
    faults = [
        *listing.faults,
        *unread_faults,
        *(item.fault for item in seen if item.fault is not None and not (item.is_unread and options.ignore_unread)),
    ]
    unused += [item.fault for item in seen if item.fault is not None and item.is_unread and options.ignore_unread]
    return AnnotatedDataset(
        images=tuple(used),
        faults=tuple(sorted(faults, key=lambda fault: fault.file)),
        misfits=tuple(misfit for item in seen for misfit in item.misfits),
        ignored_shapes=listing.ignored_shapes,
        format=name,
        root=listing.root,
        class_names=listing.class_names,
        unlisted=listing.unlisted,
        unlabelled=tuple(image.name for image in images_read if image.annotation_path is None and used is labelled),
        remarks=listing.remarks,
        unused=tuple(unused),
        outlines=sum(item.is_outline for record in listing.records for item in record.objects),
    )


def _without_background(listing: Listing) -> Listing:
    """Leave out the objects of LabelMe's background and count them; its reserved labels are no classes."""
    ignored = Counter(item.label for record in listing.records for item in record.objects if item.label == _BACKGROUND)
    records = [
        replace(record, objects=tuple(item for item in record.objects if item.label != _BACKGROUND))
        for record in listing.records
    ]
    return replace(
        listing,
        records=tuple(records),
        ignored_shapes=listing.ignored_shapes + ignored,
        class_names=tuple(name for name in listing.class_names if name not in (IGNORE_LABEL, _BACKGROUND)),
    )


def _with_listed_splits(index: FileIndex, listing: Listing) -> Listing:
    """Assign splits by lists such as `train.txt` that the format's own reader did not read."""
    known = set(listing.used)
    lists = {path: split_of(path.stem)[0] for path in index.files if path not in known and is_image_list(index, path)}
    if index.entry is not None or not lists:
        return listing
    if any(record.splits for record in listing.records):
        told = ", ".join(index.name(path) for path in lists)
        remark = f"lists of images are not used, because other files or folders give the split: {told}"
        return replace(listing, used=(*listing.used, *lists), remarks=(*listing.remarks, remark))
    splits, faults = read_lists(index, lists)
    records = [
        replace(record, splits=splits.get(record.image_path, ()) if record.image_path else ())
        for record in listing.records
    ]
    return replace(listing, records=tuple(records), faults=(*listing.faults, *faults), used=(*listing.used, *lists))


def _unread(index: FileIndex, listing: Listing, name: str, options: ReadOptions) -> tuple[list[Fault], list[Fault]]:
    """Return faults for label files and photos that are not read, and all other files that are not used."""
    if index.entry is not None:  # the file says what belongs to the dataset
        return [], []
    told = [Path(os.path.normpath(listing.root / fault.file)) for fault in listing.faults]
    labels = [record.annotation_path for record in listing.records if record.annotation_path is not None]
    serious, harmless = unread.unread(index, [*listing.used, *labels, *told])
    faults = []
    for fault in serious:
        other = formats.owner(index, index.root / fault.file)
        if options.ignore_unread:
            harmless.append(fault)
        elif other == name and listing.faults:
            harmless.append(Fault(fault.file, "is not read because of the faults"))
        elif options.format is not None and other not in (None, name):
            harmless.append(Fault(fault.file, f"is {other}, and --format {name} leaves it out"))
        else:
            reason = fault.reason if other != name else _ASTRAY
            faults.append(Fault(fault.file, f"{reason}. Or continue without it: --ignore-unread"))
    return faults, sorted(harmless, key=lambda fault: fault.file)


def load_pixels(image: AnnotatedImage) -> images.RgbImage:
    """Return the upright pixels, uint8 (H, W, 3), from the image file or from the annotation that embeds them.

    Raises:
        images.ImageError: the image does not decode.
        OSError: the file cannot be read.
    """
    return _pixels(image.image_path, image.annotation_path)


def load_bytes(image: AnnotatedImage) -> bytes:
    """Return the encoded image, from its file or from the annotation that embeds it.

    Raises:
        OSError: the file cannot be read.
    """
    return _bytes(image.image_path, image.annotation_path)


def _bytes(image_path: Path | None, annotation_path: Path | None) -> bytes:
    if image_path is not None:
        return image_path.read_bytes()
    assert annotation_path is not None
    return labelme.parse(annotation_path.read_text("utf-8-sig")).image_data or b""


def _pixels(image_path: Path | None, annotation_path: Path | None) -> images.RgbImage:
    # LabelMe embeds an image as shown, so it is already upright
    return images.decode(_bytes(image_path, annotation_path), formats=None, apply_exif=image_path is not None)


def _look(root: Path, record: Record, options: ReadOptions, *, decode: bool) -> _Seen:
    """Read a record's image or its header, check its size and clip its boxes."""
    try:
        if decode:
            pixels = _pixels(record.image_path, record.annotation_path)
            size_wh = (pixels.shape[1], pixels.shape[0])
        else:
            data = _bytes(record.image_path, record.annotation_path)
            size_wh = images.size_of(data, apply_exif=record.image_path is not None)
        _check_size(record, size_wh)
    except AnnotationError as error:
        return _Seen(fault=Fault(name_below(root, record.path), str(error)))
    except images.ImageError as error:
        fault = Fault(name_below(root, record.image_path or record.path), str(error))
        return _Seen(fault=fault, is_unread=isinstance(error, images.UnknownImageFormat))
    except OSError as error:
        return _Seen(
            fault=Fault(name_below(root, record.image_path or record.path), f"cannot be read: {error.strerror}")
        )
    return _put(record, size_wh, with_difficult=options.with_difficult)


def _put(record: Record, size_wh: tuple[int, int], *, with_difficult: bool) -> _Seen:
    """Clip a record's boxes to its image, and keep the ignored ones apart."""
    kept: list[LabelledBox] = []
    ignored: list[LabelledBox] = []
    boxes = []
    misfits = []
    for item in record.objects:
        box = _in_px(item.box_xyxy, size_wh) if record.is_normalised else item.box_xyxy
        inside = clipped(box, size_wh=size_wh)
        beyond = max(-box[0], -box[1], box[2] - size_wh[0], box[3] - size_wh[1], 0.0)
        if inside is None or beyond > _ROUNDING_PX:
            misfits.append(Misfit(record.name, item.label, box, beyond, is_kept=inside is not None))
        if inside is None:
            continue
        if item.is_ignored(with_difficult=with_difficult):
            x0, y0, x1, y1 = inside.tolist()
            ignored.append(replace(item, box_xyxy=(x0, y0, x1, y1)))
        else:
            kept.append(item)
            boxes.append(inside)
    image = AnnotatedImage(
        name=record.name,
        image_path=record.image_path,
        annotation_path=record.annotation_path,
        size_wh=size_wh,
        boxes_xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        labels=tuple(item.label for item in kept),
        flags=tuple(item.flags for item in kept) if any(item.flags for item in kept) else (),
        splits=record.splits,
        ignored=tuple(ignored),
    )
    return _Seen(image, misfits=misfits)


def _in_px(box: BoxXyxy, size_wh: tuple[int, int]) -> BoxXyxy:
    width, height = size_wh
    return box[0] * width, box[1] * height, box[2] * width, box[3] * height


def _check_size(record: Record, size_wh: tuple[int, int]) -> None:
    stated = record.stated_wh
    if all(told is None or told == seen for told, seen in zip(stated, size_wh, strict=True)):
        return
    reason = f"{record.size_field} is {stated[0]}x{stated[1]}, but the upright image is {size_wh[0]}x{size_wh[1]}"
    if record.image_path is not None and stated == size_wh[::-1]:
        orientation = images.orientation_of(record.image_path)
        if orientation in images.SIDEWAYS:
            reason += (
                f"; it is stored as {stated[0]}x{stated[1]} and turned by its EXIF orientation {orientation}: "
                "boxes count in the upright image"
            )
    raise AnnotationError(reason)
