"""A folder of images with LabelMe JSON -> annotated images, and every fault in it at once."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rendersight import images
from rendersight.annotations import AnnotatedImage, AnnotationError, Fault, labelme


@dataclass(frozen=True)
class Folder:
    """A folder of annotated images, read and checked.

    Attributes:
        images: the usable images, sorted by name.
        faults: every file that cannot be used; empty for a sound dataset.
        dropped: boxes left out because no area of them lies inside their image.
        ignored_shapes: how many shapes of each type without an area were passed over.
    """

    images: tuple[AnnotatedImage, ...]
    faults: tuple[Fault, ...]
    dropped: int
    ignored_shapes: Counter[str]


@dataclass(frozen=True)
class _Pair:
    """An image file and the annotation that speaks of it; one of the two may be missing.

    The document is without its `imageData`: a folder's worth of embedded photos does not fit into memory.
    """

    image_path: Path | None
    annotation_path: Path | None
    document: labelme.Document | None

    @property
    def path(self) -> Path:
        """The file that a fault is reported under."""
        path = self.annotation_path or self.image_path
        assert path is not None
        return path


def no_bar(items: Iterable[Any], **_words: Any) -> Iterable[Any]:
    """Show no progress; the arguments are those of tqdm."""
    return items


def read_folder(folder: Path, *, bar: Callable[..., Iterable[Any]] = no_bar) -> Folder:
    """Read a folder of images with LabelMe JSON of the same stem, its sub-folders too; hidden files are left out.

    Every image is decoded once, so that a fault shows now and not in the middle of a training. An image without JSON
    has no objects. The image of a JSON is the file of the same stem, else one that no other JSON claims and that
    `imagePath` names (its last part in the same folder, or the path relative to it), else the embedded `imageData`.
    A JSON without an image of its stem and without "shapes" is some other program's and is passed over.

    Args:
        folder: of the dataset.
        bar: wraps the images in a progress bar, as tqdm does.

    Raises:
        AnnotationError: the folder does not exist.
    """
    if not folder.is_dir():
        raise AnnotationError(f"{folder} is not a folder")
    folder = folder.resolve()  # so that the path an `imagePath` leads to equals the one that the search has found
    pairs, faults = _pair(folder)
    with ThreadPoolExecutor() as pool:  # decoding releases the interpreter's lock
        read = pool.map(lambda pair: _read_or_fault(folder, pair), pairs)
        results: list[Folder] = list(bar(read, total=len(pairs), desc=f"read {folder.name}"))
    ignored: Counter[str] = Counter()
    for result in results:
        faults.extend(result.faults)
        ignored.update(result.ignored_shapes)
    return Folder(
        images=tuple(sorted((image for result in results for image in result.images), key=lambda image: image.name)),
        faults=tuple(sorted(faults, key=lambda fault: fault.file)),
        dropped=sum(result.dropped for result in results),
        ignored_shapes=ignored,
    )


def load_pixels(image: AnnotatedImage) -> images.RgbImage:
    """Return the upright pixels, uint8 (H, W, 3), from the image file or from what the annotation embeds.

    Raises:
        images.ImageError: the image does not decode.
        OSError: the file cannot be read.
    """
    return _pixels(image.image_path, image.annotation_path)


def _pixels(image_path: Path | None, annotation_path: Path | None) -> images.RgbImage:
    if image_path is not None:
        return images.read(image_path)
    assert annotation_path is not None
    data = labelme.parse(annotation_path.read_text("utf-8-sig")).image_data or b""
    return images.decode(data, formats=None, apply_exif=False)  # LabelMe embeds what it shows: already upright


def _pair(folder: Path) -> tuple[list[_Pair], list[Fault]]:
    """Match the image files below a folder with the annotation files."""
    image_files, json_files = _list(folder)
    faults: list[Fault] = []
    unclaimed: dict[Path, Path] = {}  # stem -> image file
    for path in image_files:
        first = unclaimed.setdefault(path.with_suffix(""), path)
        if first != path:
            reason = f"has the same stem as {first.name}; one annotation cannot belong to both"
            faults.append(Fault(_name(folder, path), reason))
    pairs: list[_Pair] = []
    orphans: list[tuple[Path, labelme.Document, bool]] = []  # the last: whether it embeds its image
    for path in json_files:
        image_path = unclaimed.pop(path.with_suffix(""), None)
        try:
            document = _parse(path, must_be_labelme=image_path is not None)
        except (AnnotationError, OSError, UnicodeDecodeError) as error:
            faults.append(Fault(_name(folder, path), str(error)))
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
        image_path = _claim(path, document, unclaimed, taken=set(image_files))
        if image_path is None and not is_embedded:
            reason = f"no image of this stem, imagePath {document.image_path!r} leads to none, and imageData is empty"
            faults.append(Fault(_name(folder, path), reason))
        else:
            pairs.append(_Pair(image_path, path, document))
    return pairs + [_Pair(image_path, None, None) for image_path in unclaimed.values()], faults


def _list(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the image and the JSON files below a folder, each sorted."""
    image_suffixes = images.file_formats()
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    return (
        [path for path in files if path.suffix.lower() in image_suffixes],
        [path for path in files if path.suffix.lower() == ".json"],
    )


def _parse(path: Path, *, must_be_labelme: bool) -> labelme.Document | None:
    """Parse one JSON file; None for some other program's file where that is allowed."""
    text = path.read_text("utf-8-sig")
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
    """Return the image file that `imagePath` leads to, and take it out of the unclaimed ones."""
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


def _read_or_fault(folder: Path, pair: _Pair) -> Folder:
    try:
        return _read(folder, pair)
    except AnnotationError as error:
        fault = Fault(_name(folder, pair.annotation_path or pair.path), str(error))
    except images.ImageError as error:
        fault = Fault(_name(folder, pair.image_path or pair.path), str(error))
    except OSError as error:
        fault = Fault(_name(folder, pair.image_path or pair.path), f"cannot be read: {error.strerror}")
    return Folder((), (fault,), 0, Counter())


def _read(folder: Path, pair: _Pair) -> Folder:
    """Decode the image of a pair and turn its shapes into boxes; the folder returned holds this one image."""
    pixels = _pixels(pair.image_path, pair.annotation_path)
    size_wh = (pixels.shape[1], pixels.shape[0])
    boxes: list[NDArray[np.float32]] = []
    labels: list[str] = []
    dropped, ignored = 0, Counter[str]()
    if pair.document is not None:
        _check_size(pair.document, size_wh)
        for i, shape in enumerate(pair.document.shapes):
            if shape.shape_type in labelme.IGNORED_SHAPE_TYPES:
                ignored[shape.shape_type] += 1
                continue
            try:
                box = labelme.shape_to_xyxy(shape, size_wh=size_wh)
            except AnnotationError as error:
                raise AnnotationError(f"shapes[{i}] ({shape.label}): {error}") from error
            if box is None:
                dropped += 1
            else:
                boxes.append(box)
                labels.append(shape.label)
    image = AnnotatedImage(
        name=_name(folder, pair.image_path or pair.path),
        image_path=pair.image_path,
        annotation_path=pair.annotation_path,
        size_wh=size_wh,
        boxes_xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        labels=tuple(labels),
    )
    return Folder((image,), (), dropped, ignored)


def _check_size(document: labelme.Document, size_wh: tuple[int, int]) -> None:
    stated = document.size_wh
    if any(told is not None and told != seen for told, seen in zip(stated, size_wh, strict=True)):
        raise AnnotationError(
            f"imageWidth x imageHeight is {stated[0]}x{stated[1]}, but the upright image is {size_wh[0]}x{size_wh[1]}"
        )


def _name(folder: Path, path: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()
