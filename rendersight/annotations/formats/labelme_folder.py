"""LabelMe datasets: folders of images with JSON beside them, and the pairing of images with JSON files."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath

from rendersight.annotations import (
    IGNORE,
    AnnotatedImage,
    AnnotationError,
    Fault,
    LabelledBox,
    Listing,
    ReadOptions,
    Record,
)
from rendersight.annotations.boxes import flags_of, from_origin, plain
from rendersight.annotations.formats import labelme
from rendersight.annotations.index import (
    IMAGE_FOLDERS,
    LABEL_FOLDERS,
    FileIndex,
    counterparts,
    read_text,
    without_twins,
)
from rendersight.annotations.splits import split_of_folders

_SHAPES = re.compile(rb'"shapes"\s*:')
_HEAD_BYTES = 4096
_IGNORED = frozenset({IGNORE})


@dataclass(frozen=True)
class _Pair:
    """An image file and its annotation; one of the two may be missing.

    The document is stored without its `imageData`, because all embedded photos of a folder may not fit into memory.
    """

    image_path: Path | None
    annotation_path: Path | None
    document: labelme.Document | None


def owns(index: FileIndex, path: Path) -> bool:
    """Return whether a JSON file of a folder has LabelMe's list of shapes."""
    if index.entry is not None:
        return False
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)  # LabelMe writes the list before the image
        return bool(_SHAPES.search(head) or _SHAPES.search(head + file.read()))


def read(index: FileIndex, options: ReadOptions) -> Listing:
    """Read images with LabelMe JSON of the same stem, including those in sub-folders.

    Folders named train, valid or test give the split. Shapes with the same label and `group_id` are one object, as in
    LabelMe's own exporters (`labelme2coco.py`, `labelme2voc.py`).

    The image of a JSON is the file with the same stem. Otherwise it is the file that `imagePath` names (its last part
    in the same folder, or the path relative to it), unless another JSON claims that file. Otherwise it is the embedded
    `imageData`. A JSON without an image of its stem and without "shapes" belongs to another program and is not used.
    """
    pairs, faults = _pair(index)
    records: list[Record] = []
    ignored: Counter[str] = Counter()
    merged = 0
    for pair in pairs:
        try:
            record, passed_over, joined = _record(index, pair, options)
        except AnnotationError as error:
            assert pair.annotation_path is not None  # an image alone has no shapes
            faults.append(Fault(index.name(pair.annotation_path), str(error)))
        else:
            records.append(record)
            ignored.update(passed_over)
            merged += joined
    remark = f"{merged} shapes are joined with another one of their label and group_id: they are one object"
    return Listing(index.root, tuple(records), tuple(faults), ignored, remarks=(remark,) if merged else ())


def write(folder: Path, images: list[AnnotatedImage], _class_names: tuple[str, ...]) -> None:
    """Write a JSON beside each image of a folder, including images without objects; the flag `ignore` marks a box."""
    for image in images:
        path = (folder / image.name).with_suffix(".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        rectangles = [
            labelme.Rectangle(label, tuple(plain(box)), flags=flags)
            for box, label, flags in zip(image.boxes_xyxy, image.labels, flags_of(image), strict=True)
        ]
        rectangles += [
            labelme.Rectangle(item.label, tuple(plain(box)), flags=item.flags if item.is_ignored() else _IGNORED)
            for box, item in zip(image.ignored_xyxy, image.ignored, strict=True)
        ]
        text = labelme.to_json(rectangles, image_name=PurePosixPath(image.name).name, size_wh=image.size_wh)
        path.write_text(text + "\n", "utf-8")


def _pair(index: FileIndex) -> tuple[list[_Pair], list[Fault]]:
    """Match the image files below a folder with the annotation files."""
    image_files, faults = without_twins(index, index.images)
    unclaimed = {path.with_suffix(""): path for path in image_files}
    pairs: list[_Pair] = []
    orphans: list[tuple[Path, labelme.Document, bool]] = []  # the bool: whether the JSON embeds its image
    mirrors: dict[Path, list[Path]] = {}
    for path in index.with_suffix(".json"):
        folder = path.parent
        if folder not in mirrors:
            mirrors[folder] = counterparts(folder, index.root, names=LABEL_FOLDERS, others=IMAGE_FOLDERS)
        stems = (place / path.stem for place in (folder, *mirrors[folder]))
        image_path = next((unclaimed.pop(stem) for stem in stems if stem in unclaimed), None)
        try:
            document = _parse(path, must_be_labelme=image_path is not None)
        except AnnotationError as error:
            faults.append(Fault(index.name(path), str(error)))
            continue
        if document is None:
            continue
        is_embedded = document.image_data is not None
        document = replace(document, image_data=None)
        if image_path is not None:
            pairs.append(_Pair(image_path, path, document))
        else:
            orphans.append((path, document, is_embedded))
    for path, document, is_embedded in orphans:
        image_path = _claim(path, document, unclaimed, taken=set(index.images))
        if image_path is None and not is_embedded:
            reason = (
                f"its image is missing: no image has this stem, imagePath {document.image_path!r} leads to none, and "
                "imageData is empty"
            )
            faults.append(Fault(index.name(path), reason))
        else:
            pairs.append(_Pair(image_path, path, document))
    return pairs + [_Pair(image_path, None, None) for image_path in unclaimed.values()], faults


def _parse(path: Path, *, must_be_labelme: bool) -> labelme.Document | None:
    """Parse one JSON file; return None for another program's file unless it must be LabelMe's."""
    text = read_text(path)
    if must_be_labelme and not text:  # an image without objects, as YOLO's empty label file
        return labelme.Document((), None, None, (None, None))
    if not must_be_labelme:
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise AnnotationError(f"not JSON: {error}") from error
        if not isinstance(data, dict) or "shapes" not in data:
            return None
    return labelme.parse(text)


def _claim(
    annotation_path: Path, document: labelme.Document, unclaimed: dict[Path, Path], *, taken: set[Path]
) -> Path | None:
    """Return the image file that `imagePath` leads to, and remove it from the unclaimed ones."""
    for candidate in _candidates(annotation_path, document):
        if unclaimed.get(candidate.with_suffix("")) == candidate:
            return unclaimed.pop(candidate.with_suffix(""))
        if candidate not in taken and candidate.is_file():
            return candidate
    return None


def _candidates(annotation_path: Path, document: labelme.Document) -> Iterator[Path]:
    if document.image_path:
        path = PureWindowsPath(document.image_path)  # splits at both kinds of slash
        if path.name:
            yield annotation_path.parent / path.name
        if not path.anchor:
            yield Path(os.path.normpath(annotation_path.parent / path.as_posix()))


def _record(index: FileIndex, pair: _Pair, options: ReadOptions) -> tuple[Record, Counter[str], int]:
    """Convert the shapes of a pair to objects; also count the shapes without a box and those joined with another."""
    objects: dict[object, LabelledBox] = {}
    ignored: Counter[str] = Counter()
    merged = 0
    for i, shape in enumerate(pair.document.shapes if pair.document is not None else ()):
        if shape.shape_type in labelme.IGNORED_SHAPE_TYPES:
            ignored[shape.shape_type] += 1
            continue
        try:
            box = from_origin(labelme.extent(shape), options.pixel_origin or 0)
        except AnnotationError as error:
            raise AnnotationError(f"shapes[{i}] ({shape.label}): {error}") from error
        found = LabelledBox(shape.label, box, shape.flags, is_outline=shape.shape_type != "rectangle")
        key = i if shape.group_id is None else (shape.label, shape.group_id)
        if (other := objects.get(key)) is not None:
            merged += 1
            x0, y0, x1, y1 = zip(box, other.box_xyxy, strict=True)
            box = (min(x0), min(y0), max(x1), max(y1))
            found = LabelledBox(shape.label, box, shape.flags | other.flags, is_outline=True)
        objects[key] = found
    path = pair.image_path or pair.annotation_path
    assert path is not None
    name = index.name(path)
    record = Record(
        name=name,
        image_path=pair.image_path,
        annotation_path=pair.annotation_path,
        objects=tuple(objects.values()),
        stated_wh=pair.document.size_wh if pair.document is not None else (None, None),
        size_field="imageWidth x imageHeight",
        splits=split_of_folders(name),
    )
    return record, ignored, merged
