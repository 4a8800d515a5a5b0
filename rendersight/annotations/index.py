"""The files of a dataset's folder, listed once, and the lookup of images by name."""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote

from rendersight import images
from rendersight.annotations import AnnotationError, Fault

LABEL_FOLDERS = ("annotations", "labels", "annotation", "label", "anns", "ann", "xmls", "xml", "bboxes", "bbox", "txt")
"""Names of folders of label files, in lower case. A file in one of them belongs to the dataset in the parent folder."""

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages", "photos", "photo", "pictures", "frames")
"""Names of folders of images that stand beside a folder of label files, in lower case."""

_PLACE = "*"  # stands for the word that differs between a folder of images and its folder of labels

ENTRY_SUFFIXES = (".json", ".yaml", ".yml", ".xml", ".csv")
"""Suffixes of single files that can describe a whole dataset."""


class FileIndex:
    """The files below a dataset's folder; hidden files and folders are left out, links to files are followed.

    Attributes:
        root: the folder, resolved, so that equal paths compare equal.
        entry: the file given as the dataset; None if a folder was given.
    """

    def __init__(self, source: Path) -> None:
        """Find the dataset's folder: the given one, or that of a file such as `data.yaml` or `annotations/train.json`.

        Raises:
            AnnotationError: neither exists, or the kind of file does not describe a dataset.
        """
        if not source.is_dir() and not (source.is_file() and source.suffix.lower() in ENTRY_SUFFIXES):
            raise AnnotationError(
                f"{source} is not a folder of images, nor a file that describes one ({', '.join(ENTRY_SUFFIXES)})"
            )
        self.entry = None if source.is_dir() else source.resolve()
        if self.entry is None:
            self.root = source.resolve()
        else:
            inside = self.entry.parent.name.lower() in LABEL_FOLDERS
            self.root = self.entry.parent.parent if inside else self.entry.parent

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """All files, sorted."""
        return tuple(files_below(self.root))

    @cached_property
    def images(self) -> tuple[Path, ...]:
        """All files with a suffix that the image decoder knows, sorted."""
        suffixes = images.file_formats()
        return tuple(path for path in self.files if path.suffix.lower() in suffixes)

    def with_suffix(self, *suffixes: str) -> list[Path]:
        """Return the files with the given suffixes, lower case with their dot; only the entry if a file was given."""
        if self.entry is not None:
            return [self.entry] if self.entry.suffix.lower() in suffixes else []
        return [path for path in self.files if path.suffix.lower() in suffixes]

    def name(self, path: Path) -> str:
        """Return a path for messages: relative to the folder, with forward slashes."""
        return name_below(self.root, path)

    def text(self, path: Path) -> str:
        """Return the text of a file that belongs to no single image.

        Raises:
            AnnotationError: as `read_text`; the message begins with the file's name.
        """
        try:
            return read_text(path)
        except AnnotationError as error:
            raise AnnotationError(f"{self.name(path)}: {error}") from error

    @cached_property
    def stems(self) -> frozenset[str]:
        """The stems of all images."""
        return frozenset(path.stem for path in self.images)

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        found = defaultdict(list)
        for path in self.images:
            found[_folded(path.stem)].append(path)
        return dict(found)

    @cached_property
    def _by_file_name(self) -> dict[str, list[Path]]:
        found = defaultdict(list)
        for path in self.images:
            found[_folded(path.name)].append(path)
        return dict(found)

    def image_named(self, written: str, folders: Iterable[Path]) -> Path:
        """Return the image file that a name in an annotation means.

        The function tries `folders` in their order. Otherwise it searches the whole dataset for the file name, in any
        case, in any Unicode form and with `%20` for a space, and compares more of the path's end until only one file is
        left. A path that is absolute or leads out of the folder is not followed.

        Args:
            written: the name, with slashes of either kind.
            folders: folders that may hold the image.

        Raises:
            AnnotationError: no image matches, or several do.
        """
        windows = PureWindowsPath(written)
        parts = [part for part in windows.parts if part not in (windows.anchor, ".")]
        if not windows.anchor and ".." not in parts:
            for folder in folders:
                if (path := folder.joinpath(*parts)).is_file():
                    return path
        found = self._by_file_name.get(_folded(windows.name)) or self._by_file_name.get(
            _folded(unquote(windows.name)), []
        )
        found = [path for path in found if path.name == windows.name] or found
        for length in range(2, len(parts) + 1):
            if len(found) <= 1:
                break
            found = [path for path in found if path.parts[-length:] == tuple(parts[-length:])] or found
        if len(found) > 1:
            told = ", ".join(self.name(path) for path in found[:3])
            raise AnnotationError(f"several images have this name: {told}; write more of the path")
        if not found:
            return self._of_stem(windows.name)
        return found[0]

    def _of_stem(self, written: str) -> Path:
        """Return the only image with the stem of a name, if the name itself has no image suffix."""
        has_suffix = PurePosixPath(written).suffix.lower() in images.file_formats()
        found = self._by_stem.get(_folded(PurePosixPath(written).stem if has_suffix else written), [])
        if has_suffix or len(found) != 1:
            raise AnnotationError("no such image file" + (f", but there is {self.name(found[0])!r}" if found else ""))
        return found[0]


def _folded(name: str) -> str:
    """Return a name for comparison: without case, and composed, because macOS writes é as two characters."""
    return unicodedata.normalize("NFC", name).lower()


def name_below(root: Path, path: Path) -> str:
    """Return a path relative to a folder, with forward slashes."""
    return Path(os.path.relpath(path, root)).as_posix()


def files_below(folder: Path) -> list[Path]:
    """Return the files below a folder, except hidden ones, sorted."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def images_below(folder: Path) -> list[Path]:
    """Return the image files below a folder, except hidden ones, sorted."""
    suffixes = images.file_formats()
    return [path for path in files_below(folder) if path.suffix.lower() in suffixes]


def images_in(folder: Path) -> list[Path]:
    """Return the image files directly in a folder; none if the folder does not exist."""
    suffixes = images.file_formats()
    return [path for path in folder.glob("*") if path.suffix.lower() in suffixes]


def counterparts(folder: Path, root: Path, *, names: Sequence[str], others: Sequence[str]) -> list[Path]:
    """Return the folders that mirror a folder, such as `labels/train` for `images/train`.

    The last part of the path below `root` with a word of `names`, such as `images` or `train_images`, is replaced by
    each folder beside it that has a word of `others` in its place, in their order. Without such a part, the folder's
    own sub-folders that are called so are returned. Case does not matter.
    """
    parts = Path(name_below(root, folder)).parts
    patterns = [_pattern(part, names)[0] for part in parts]
    place = next((i for i in reversed(range(len(parts))) if _PLACE in patterns[i]), len(parts))
    wanted = (*patterns, _PLACE)[place]
    before, after = Path(os.path.normpath(root.joinpath(*parts[:place]))), parts[place + 1 :]
    found = sorted((*_pattern(path.name, others), path) for path in before.glob("*") if path.is_dir())
    beside = sorted((rank, path) for pattern, rank, path in found if pattern == wanted)
    return [mirror for _, path in beside if (mirror := path.joinpath(*after)).is_dir()]


def _pattern(name: str, words: Sequence[str]) -> tuple[str, int]:
    """Return a folder's name in lower case with a mark in place of the first of some words, and the word's rank."""
    parts = re.split(r"([_. -])", name.lower())
    rank, at = min(
        ((words.index(part), i) for i, part in enumerate(parts) if part in words), default=(len(words), None)
    )
    return "".join(_PLACE if i == at else part for i, part in enumerate(parts)), rank


def without_twins(index: FileIndex, paths: Iterable[Path]) -> tuple[list[Path], list[Fault]]:
    """Keep one image of each stem, for formats that pair annotations by stem; the others are faults."""
    first: dict[Path, Path] = {}
    faults = []
    for path in paths:
        if (twin := first.setdefault(path.with_suffix(""), path)) != path:
            reason = f"has the same stem as {twin.name}; a label file cannot belong to both, so rename or remove one"
            faults.append(Fault(index.name(path), reason))
    return list(first.values()), faults


def read_text(path: Path) -> str:
    """Return a file's text in UTF-8, with or without a byte order mark.

    Raises:
        AnnotationError: the file cannot be read, or has another encoding.
    """
    try:
        return path.read_text("utf-8-sig")
    except OSError as error:
        raise AnnotationError(f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(f"is not UTF-8, save it as UTF-8: {error}") from error
