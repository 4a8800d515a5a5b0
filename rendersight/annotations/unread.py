"""The files of a dataset's folder that no reader used, and why: a label file must not be dropped in silence."""

import re
from collections.abc import Iterable
from pathlib import Path

from rendersight.annotations import Fault
from rendersight.annotations.index import FileIndex

_HEAD_BYTES = 65536

# signature -> the program's or format's name, and what to do
_KNOWN = (
    (rb'"classTitle"', "Supervisely's JSON", "export it as COCO or Pascal VOC"),
    (rb'"rectanglelabels"|"original_width"', "Label Studio's JSON", "export it as YOLO or COCO"),
    (rb'"data_row"', "Labelbox's JSON", "export it as COCO"),
    (rb'"box2d"', "BDD100K's or Scalabel's JSON", "convert it to COCO with Scalabel"),
    (rb'"dm_format_version"|"categories"\s*:\s*\{', "Datumaro's JSON", "export it as COCO"),
    (
        rb'^\s*\[\s*\{[^}]*"score"',
        "a list of detections",
        "labels belong in COCO's lists images, annotations, categories",
    ),
    (rb'"image_id"', "COCO without the list categories", "add it, or name the classes with --labels"),
    (rb"^\w+ \d(\.\d+)? -?\d+ -?[\d.]+( -?[\d.]+){11}", "a KITTI label file", "convert it to YOLO or COCO"),
    (
        rb"^(-?[\d.]+ ){8}[A-Za-z][\w-]* \d\s*$|^imagesource:",
        "a DOTA label file",
        "convert it to YOLO's oriented boxes",
    ),
)
_PHOTOS = {
    **dict.fromkeys((".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2"), "a camera's raw format"),
    ".avif": "AVIF",
    ".jxl": "JPEG XL",
}
_BINARY = {
    **dict.fromkeys((".tfrecord", ".tfrecords", ".record"), "TFRecord"),
    **dict.fromkeys((".pkl", ".pickle"), "a pickle"),
    **dict.fromkeys((".npz", ".npy"), "a NumPy file"),
    ".mat": "a MATLAB file",
    ".parquet": "Parquet",
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "a spreadsheet"),
}
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")  # often what the folder was unpacked from
_BY_SUFFIX = {
    **{suffix: f"{name} is not read; convert it to JPEG" for suffix, name in _PHOTOS.items()},
    **{suffix: f"{name} is not read; export another format, or remove it" for suffix, name in _BINARY.items()},
}
_TEXT = (".json", ".jsonl", ".ndjson", ".xml", ".csv", ".tsv", ".yaml", ".yml", ".txt", ".plist")
_WORDS = re.compile(
    rb"\b(bbox|bndbox|box2d|box(es)?|bounding_?box(es)?|annotations?|shapes?|regions?|polygons?|segmentation|points"
    rb"|objects?|coordinates|rect(angle)?s?|labels?|rectanglelabels|category_id|x_?min|classTitle)\b",
    re.IGNORECASE,
)
_NUMBERS = re.compile(rb"^[ \t]*\S+([ \t,]+-?[\d.]+(e-?\d+)?){4,}", re.IGNORECASE | re.MULTILINE)
_DATA_KEYS = (rb"^names\s*:", rb"^(train|val|path)\s*:")  # of a YOLO data.yaml
_ANNOTATIONS = re.compile(rb'"annotations"\s*:\s*\[\s*(.)')
_SCENE = ".scene.json"


def unread(index: FileIndex, used: Iterable[Path]) -> tuple[list[Fault], list[Fault]]:
    """Return the files of a folder that no reader used.

    Returns:
        The files that look like labels or photos, and all other files except images; each with the reason.
    """
    known = {*used, *index.images}
    serious, harmless = [], []
    for path in index.files:
        if path in known:
            continue
        reason = _reason(index, path)
        if reason is None:
            harmless.append(Fault(index.name(path), _why_harmless(path)))
        else:
            serious.append(Fault(index.name(path), reason))
    return serious, harmless


def _why_harmless(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in _ARCHIVES:
        return "is an archive; unpack it if it holds labels"
    if suffix in _BY_SUFFIX:
        return "is not read; there is an image of its stem"
    return "is not a label file" if path.stat().st_size else "is empty"


def guess(path: Path) -> str | None:
    """Return which program's or format's file this probably is, and what to do, or None."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return next(
        (f"looks like {name}: {advice}" for mark, name, advice in _KNOWN if re.search(mark, head, re.MULTILINE)), None
    )


def _reason(index: FileIndex, path: Path) -> str | None:
    """Return why a file that looks like labels or a photo is not read; None if it looks like neither."""
    suffix = path.suffix.lower()
    if suffix in _PHOTOS and path.stem in index.stems:
        return None
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    if suffix not in _TEXT or path.name.endswith(_SCENE) or not _is_label(index, path):
        return None
    return guess(path) or "looks like a label file, but is in no format that is read; export another one, or remove it"


def _is_label(index: FileIndex, path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head.strip() or (b'"caption"' in head and b'"bbox"' not in head):  # COCO's captions
        return False
    if len(head) < _HEAD_BYTES and set(_ANNOTATIONS.findall(head)) == {b"]"}:
        return False
    suffix = path.suffix.lower()
    if suffix == ".txt":
        return path.stem in index.stems or _NUMBERS.search(head) is not None
    if suffix in (".yaml", ".yml"):
        return all(re.search(key, head, re.MULTILINE) for key in _DATA_KEYS)
    return _WORDS.search(head) is not None
