"""YOLO: reading and writing of one text file of numbers for each image, and `data.yaml` with the class names.

The format is Ultralytics' (docs.ultralytics.com/datasets/detect). Each object is a line `class cx cy width height`, or
the outline of a segment `class x y x y ...`, in fractions of the image's width and height. Classes count from 0. The
loader of Ultralytics applies the EXIF orientation, so boxes are relative to the upright image. Darknet
(github.com/AlexeyAB/darknet) has the same label files, with `obj.data` and `obj.names` in place of `data.yaml`.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from rendersight.annotations import (
    AnnotatedImage,
    AnnotationError,
    Fault,
    Listing,
    ReadOptions,
)
from rendersight.annotations.boxes import whole_number
from rendersight.annotations.formats.yolo_labels import (
    IMAGES,
    is_label_file,
    label_finder,
    label_path,
    listing_of,
    to_lines,
)
from rendersight.annotations.index import (
    FileIndex,
    images_below,
    name_below,
    read_text,
    without_twins,
)
from rendersight.annotations.splits import is_image_list, read_lists, split_of, split_of_folders

DATA = "data.yaml"
UNASSIGNED = "unassigned"
"""Key in `data.yaml` for the images without a split, if other images have one."""

_NAME_FILES = ("classes.txt", "obj.names", "labels.txt", "class.txt", "names.txt", "predefined_classes.txt")
_NAME_SUFFIXES = (".names", ".labels")
_SPLIT_KEYS = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "trainval": "trainval",
    "minival": "minival",
    UNASSIGNED: "",
}
_MOST_DIGITS = 10


def owns(index: FileIndex, path: Path) -> bool:
    """Return whether a file is a YAML that describes a YOLO dataset, or the label file of an image."""
    if path.suffix.lower() != ".txt":
        return path == _data_file(index)
    return path.stem in index.stems and is_label_file(path)


def read(index: FileIndex, options: ReadOptions) -> Listing:
    """Read the images and their label files, as `data.yaml` or the folder itself arranges them.

    `data.yaml` names folders of images, or lists of images, as train, val and test. Paths are relative to `path`, else
    to the YAML's folder. If a path leads nowhere, its first folders are left out until it does, because Roboflow and
    shared datasets write paths of other folders.

    Without `data.yaml`, all images of the folder are read. `obj.data`, or else lists such as `train.txt`, or else
    folders named train, valid or test, give the split. The class names are the lines of `classes.txt`, `obj.names`,
    `labels.txt` or a file `*.names`, anywhere in the folder. Without such a file they are the names of the options,
    else the numbers.

    The label file of an image is the file of its stem with the suffix `.txt` beside it, or in the folder of labels
    that mirrors its own (`labels/train` for `images/train`; see `index.LABEL_FOLDERS`).

    Raises:
        AnnotationError: there is neither `data.yaml` nor a label file, or `pixel_origin` is given.
    """
    if options.pixel_origin is not None:
        raise AnnotationError(
            "YOLO's numbers are fractions of the image, so --pixel-origin does not apply; leave it out"
        )
    if (path := _data_file(index)) is not None:
        return _Data(index, path).read()
    return _read_folder(index, options)


def _read_folder(index: FileIndex, options: ReadOptions) -> Listing:
    """Read a folder without `data.yaml`."""
    images, faults = without_twins(index, index.images)
    find = label_finder(index.root)
    texts = [path for image in images if (path := find(image)) is not None]
    if not texts and not any(owns(index, path) for path in index.with_suffix(".txt")):
        raise AnnotationError(
            f"{index.root} holds neither a {DATA} with names and train, val or test, nor label files (.txt)"
        )
    splits, lists, lost = _declared_splits(index)
    names, used, remarks = _class_names(index, options, texts)
    parts = {path: splits.get(path, ()) if lists else split_of_folders(index.name(path)) for path in images}
    listing = listing_of(index.root, parts, names, [*faults, *lost])
    return replace(listing, used=(*listing.used, *lists, *used), remarks=remarks)


def _class_names(
    index: FileIndex, options: ReadOptions, texts: list[Path]
) -> tuple[dict[int, str], list[Path], tuple[str, ...]]:
    """Return the names of the classes, the files that were read, and remarks.

    Raises:
        AnnotationError: two files give different names.
    """
    found: dict[Path, tuple[str, ...]] = {}
    for path in _names_files(index):
        lines = [line.strip() for line in index.text(path).split("\n")]
        while lines and not lines[-1]:
            lines.pop()
        found[path] = tuple(lines)
    for path in index.with_suffix(".yaml", ".yml"):  # one without train, val or test
        if names := _listed_names(path):
            found[path] = names
    different = list(dict.fromkeys(found.values()))
    if len(different) > 1:
        files = " and ".join(index.name(path) for path in found)
        raise AnnotationError(f"{files} give different class names; keep one of the files")
    if different:
        return {number: name for number, name in enumerate(different[0]) if name}, list(found), ()
    if options.class_names:
        return dict(enumerate(options.class_names)), [], ()
    numbers = sorted({number for path in texts for number in _numbers_of(path)})
    told = "no file names the classes, so their names are their numbers; name them with --labels or in a classes.txt"
    return {number: str(number) for number in numbers}, [], (told,)


def _names_files(index: FileIndex) -> list[Path]:
    return [
        path
        for path in index.files
        if path.name.lower() in _NAME_FILES or (path.suffix.lower() in _NAME_SUFFIXES and path.stem not in index.stems)
    ]


def _listed_names(path: Path) -> tuple[str, ...]:
    """Return the names that a YAML lists, or nothing if it is about something else."""
    try:
        data = _load_yaml(path)
    except AnnotationError:
        return ()
    names = data.get("names") if isinstance(data, dict) else None
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else ()


def _numbers_of(path: Path) -> set[int]:
    """Return the class numbers in a label file; skip malformed lines, which `_objects` reports."""
    words = [line.split() for line in path.read_bytes().split(b"\n")]
    return {int(line[0]) for line in words if line and line[0].isdigit() and len(line[0]) < _MOST_DIGITS}


def _declared_splits(index: FileIndex) -> tuple[dict[Path, tuple[str, ...]], list[Path], list[Fault]]:
    """Return the split of each image that a list of images names, the files that were read, and faults.

    The lists are those that `obj.data` names (`train = data/train.txt`), and lists that are named for a split.
    """
    data_files = [path for path in index.files if path.suffix.lower() == ".data"]
    lists = {path: split_of(path.stem)[0] for path in index.files if is_image_list(index, path)}
    for path in data_files:
        for line in index.text(path).split("\n"):
            key, _, value = (part.strip() for part in line.partition("="))
            if key in _SPLIT_KEYS and (found := _ending_with(index, value)) is not None:
                lists[found] = _SPLIT_KEYS[key]
    splits, faults = read_lists(index, lists)
    return splits, [*data_files, *lists], faults


def _ending_with(index: FileIndex, written: str) -> Path | None:
    """Return the file that a path in `obj.data` means, without the leading folders of another machine, or None."""
    parts = PurePosixPath(written.replace("\\", "/")).parts
    for start in range(len(parts)):
        if (path := index.root.joinpath(*parts[start:])).is_file():
            return path
    return None


def write(folder: Path, images: list[AnnotatedImage], class_names: tuple[str, ...]) -> None:
    """Write a label file for each image, and `data.yaml`, in which splits are lists of images.

    Without splits, `train` is all images and `val` is empty, because Ultralytics requires both keys.
    """
    numbers = {name: number for number, name in enumerate(class_names)}
    for image in images:
        path = label_path(folder / IMAGES / image.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in to_lines(image, numbers)), "utf-8")
    splits = sorted({split for image in images for split in image.splits})
    parts = {split: [image for image in images if split in image.splits] for split in splits}
    if rest := [image for image in images if splits and not image.splits]:
        parts[UNASSIGNED] = rest
    for split, part in parts.items():
        text = "".join(f"./{IMAGES}/{image.name}\n" for image in part)
        (folder / f"{split}.txt").write_text(text, "utf-8")
    places: dict[str, str | None] = {"train": None, "val": None}
    places.update({split: f"{split}.txt" for split in parts} if parts else {"train": IMAGES})
    content = {**places, "names": dict(enumerate(class_names))}
    (folder / DATA).write_text(_yaml().safe_dump(content, sort_keys=False, allow_unicode=True), "utf-8")


def _data_file(index: FileIndex) -> Path | None:
    """Return the YAML that describes the dataset, the one nearest to the top, or None."""
    candidates = index.with_suffix(".yaml", ".yml")
    for path in sorted(candidates, key=lambda path: (len(path.parts), path.name != DATA)):
        try:
            data = _load_yaml(path)
        except AnnotationError:
            if path.name == DATA or index.entry:
                return path
        else:
            if isinstance(data, dict) and "names" in data and {"path", *_SPLIT_KEYS} & set(data):
                return path
    return None


def _yaml() -> Any:
    try:
        import yaml  # noqa: PLC0415 - optional
    except ImportError as error:
        raise AnnotationError("YOLO's data.yaml needs PyYAML: pip install pyyaml") from error
    return yaml


def _load_yaml(path: Path) -> Any:
    """Parse YAML into text, lists and dicts only: a class named `no` stays text, and no tag creates an object."""
    yaml = _yaml()
    try:
        return yaml.load(read_text(path), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise AnnotationError(f"not YAML: {' '.join(str(error).split())}") from error


@dataclass
class _Data:
    """A `data.yaml` being read."""

    index: FileIndex
    path: Path
    root: Path = field(init=False)
    faults: list[Fault] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    lists: list[Path] = field(default_factory=list)

    def read(self) -> Listing:
        """Read the file and everything that it names."""
        try:
            data = _load_yaml(self.path)
        except AnnotationError as error:
            return Listing(self.index.root, (), (Fault(self.index.name(self.path), str(error)),))
        if not isinstance(data, dict):
            reason = "is not a YOLO dataset; accepted: a mapping with names and train, val or test"
            return Listing(self.index.root, (), (Fault(self.index.name(self.path), reason),))
        self.root = self._root(data.get("path"))
        try:
            names = self._names(data)
        except AnnotationError as error:  # without names, every label file would repeat the fault
            return Listing(self.root, (), (Fault(name_below(self.root, self.path), str(error)),))
        splits: dict[Path, dict[str, None]] = {}
        for key, split in _SPLIT_KEYS.items():
            for path in self._images(key, data.get(key)):
                splits.setdefault(path, {}).update({split: None} if split else {})
        told = {split for found in splits.values() for split in found}
        parts = {path: () if told == {"train"} else tuple(found) for path, found in splits.items()}
        kept, twins = without_twins(self._index_of_root, parts)
        listing = listing_of(
            self.root,
            {path: parts[path] for path in kept},
            names,
            [*self.faults, *twins],
            with_points="kpt_shape" in data,
        )
        unlisted = [path for path in self.index.images if path not in splits] if self.index.entry is None else []
        others = [path for path in self.index.files if is_image_list(self.index, path) and path not in self.lists]
        if others and self.index.entry is None:
            unnamed = ", ".join(self.index.name(path) for path in others)
            self.remarks.append(f"lists that {self.index.name(self.path)} does not name are not used: {unnamed}")
        find = label_finder(self.root)
        theirs = (label for image in unlisted if (label := find(image)) is not None)
        return replace(
            listing,
            unlisted=tuple(name_below(self.root, path) for path in unlisted),
            remarks=tuple(self.remarks),
            used=(*listing.used, self.path, *self.lists, *others, *theirs, *_names_files(self.index)),
        )

    def _blame(self, reason: str) -> None:
        self.faults.append(Fault(name_below(self.root, self.path), reason))

    def _root(self, written: object) -> Path:
        here = self.path.parent
        if isinstance(written, str) and written and (root := here / written).is_dir():
            return root.resolve()
        return here  # `path` belongs to another machine, as in most shared datasets

    def _names(self, data: dict[str, Any]) -> dict[int, str]:
        """Return the names of the classes.

        Raises:
            AnnotationError: there are none.
        """
        names = data.get("names")
        items = dict(enumerate(names)) if isinstance(names, list) else names
        if not isinstance(items, dict) or not items:
            raise AnnotationError(f"names is {names!r:.40}; accepted: a list of names, such as names: [nut, bolt]")
        found: dict[int, str] = {}
        for key, name in items.items():
            number = whole_number(str(key))
            if not isinstance(name, str) or not name.strip() or number is None:
                raise AnnotationError(f"names: {key!r:.20}: {name!r:.40}; accepted: a number and its name")
            found[number] = name
        if (count := data.get("nc")) is not None and count != str(len(found)):
            self._blame(f"nc is {count!r:.20}, but there are {len(found)} names; correct one of them")
        return dict(sorted(found.items()))

    def _images(self, key: str, places: object) -> Iterator[Path]:
        """Yield the images of a key such as `train` or `val`."""
        for place in places if isinstance(places, list) else [places]:
            if place is None or place in ("", "null", "~"):
                continue
            if not isinstance(place, str):
                self._blame(f"{key}: {place!r:.40} is not a path")
                continue
            found = next((path for path in self._candidates(place) if path.exists()), None)
            if found is None:
                reason = f"{key}: {place!r} is neither a folder nor a list of images"
                if key == "test":  # Ultralytics does not read it in training
                    self.remarks.append(f"left out: {name_below(self.root, self.path)}: {reason}")
                else:
                    self._blame(reason)
            elif found.is_dir():
                yield from images_below(found)
            else:
                yield from self._listed(found)

    def _candidates(self, place: str) -> Iterator[Path]:
        """Yield the paths that an entry of `data.yaml` may mean, also without leading folders of another machine."""
        for base in dict.fromkeys((self.root, self.path.parent)):
            yield Path(os.path.normpath(base / place))
        parts = [part for part in PurePosixPath(place.replace("\\", "/")).parts if part not in ("..", "/")]
        for base in dict.fromkeys((self.root, self.path.parent)):
            for start in range(max(len(parts) - 1, 1)):  # the last folder alone may be another split's
                if not split_of_folders("/".join((*parts[:start], ""))):
                    yield base.joinpath(*parts[start:])

    @cached_property
    def _index_of_root(self) -> FileIndex:
        return FileIndex(self.root)

    def _listed(self, path: Path) -> Iterator[Path]:
        """Yield the images of a list with one path per line."""
        self.lists.append(path)
        try:
            lines = [line.rstrip("\r") for line in read_text(path).split("\n")]
        except AnnotationError as error:
            self.faults.append(Fault(name_below(self.root, path), str(error)))
            return
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            written = line.replace("\\", "/").removeprefix("./")
            candidates = (Path(os.path.normpath(base / written)) for base in (path.parent, self.root))
            found = next((path for path in candidates if path.is_file()), None)
            try:
                yield found or self._index_of_root.image_named(written, ())
            except AnnotationError as error:
                self.faults.append(Fault(name_below(self.root, path), f"line {number}: {line!r}: {error}"))
