"""Pascal VOC: reading and writing of one XML for each image.

The devkit (host.robots.ox.ac.uk/pascal/VOC, devkit_doc: "the top-left pixel in the image has coordinates (1, 1)")
counts pixels from 1 and includes the last one. In the continuous px used here, x0 = xmin - 1 and x1 = xmax. Other
programs count from 0. A coordinate below 1 anywhere proves this, because the devkit has none; then the whole dataset is
read as continuous px, x0 = xmin. Boxes are in px of the upright image, and it is a fault if the stated size is that of
the stored image instead.
"""

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree  # builds the tree; expat parses, without document types
from xml.etree.ElementTree import Element, SubElement
from xml.parsers import expat

from rendersight.annotations import AnnotatedImage, AnnotationError, Fault, LabelledBox, Listing, Record
from rendersight.annotations.boxes import flags_of, plain, whole_number
from rendersight.annotations.index import FileIndex, read_text, split_of, split_of_folders, without_twins

IMAGES = "JPEGImages"
ANNOTATIONS = "Annotations"
SETS = "ImageSets"

_ROOT = re.compile(rb"<annotation[\s/>]")
_HEAD_BYTES = 4096
_IMAGE_FOLDERS = (IMAGES, "images", "Images")
_FLAGS = ("difficult", "truncated", "occluded")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_DECIMALS = 9
_MOST_PX = 1e9


def mark(index: FileIndex) -> str | None:
    """Return which file of a folder is Pascal VOC, in words, or None."""
    found = next((path for path in index.with_suffix(".xml") if _is_annotation(path)), None)
    return f"{index.name(found)} with <annotation>" if found else None


def _is_annotation(path: Path) -> bool:
    with path.open("rb") as file:
        return bool(_ROOT.search(file.read(_HEAD_BYTES)))


def read(index: FileIndex) -> Listing:
    """Read XML files with the images beside them, or in `JPEGImages` next to `Annotations`.

    The image of an XML is the file with its stem in one of those folders, else the file that `filename` names. An image
    in those folders without an XML has no objects. Splits come from the lists `ImageSets/Main/{train,val,...}.txt`,
    else from folders named train, valid or test. Difficult objects are kept as objects.

    Raises:
        AnnotationError: no XML has `<annotation>`.
    """
    paths = [path for path in index.with_suffix(".xml") if _is_annotation(path)]
    if not paths:
        raise AnnotationError(f"{index.root} holds no Pascal VOC file: an XML with <annotation>")
    images, twins = without_twins(index, index.images)
    by_stem = {path.with_suffix(""): path for path in images}
    faults: list[Fault] = []
    records: dict[Path, Record] = {}
    broken: set[Path | None] = set()
    for path in paths:
        try:
            record = _record(index, path, by_stem)
            assert record.image_path is not None
            if (other := records.setdefault(record.image_path, record)) is not record:
                raise AnnotationError(f"{record.name} is the image of {index.name(other.path)} already")
        except AnnotationError as error:
            faults.append(Fault(index.name(path), str(error)))
            broken.add(_of_stem(path, by_stem))
    folders = {path.parent for path in records}
    faults += [fault for fault in twins if (index.root / fault.file).parent in folders]
    for path in images:
        if path.parent in folders and path not in records and path not in broken:
            records[path] = Record(index.name(path), path, None, ())
    found, lost = _with_splits(index, list(records.values()))
    from_zero = any(value < 1 for record in found for item in record.objects for value in item.box_xyxy[:2])
    if not from_zero:
        found = [_from_one(record) for record in found]
    return Listing(
        root=index.root,
        records=tuple(found),
        faults=(*faults, *lost),
        unlisted=tuple(index.name(path) for path in images if path not in records and path not in broken),
        remarks=(_FROM_ZERO,) if from_zero else (),
    )


_FROM_ZERO = (
    "coordinates below 1 show that the program that wrote these files counts px from 0; all boxes are read so, "
    "xmin to xmax, and not as the VOC devkit has them, xmin - 1 to xmax"
)


def write(folder: Path, images: list[AnnotatedImage], _class_names: tuple[str, ...]) -> None:
    """Write `Annotations/STEM.xml` for each image, and `ImageSets/Main/SPLIT.txt` for each split."""
    for image in images:
        path = (folder / ANNOTATIONS / image.name).with_suffix(".xml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(to_xml(image), "utf-8")
    for split in sorted({split for image in images for split in image.splits}):
        listed = [Path(image.name).with_suffix("").as_posix() for image in images if split in image.splits]
        path = folder / SETS / "Main" / f"{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{stem}\n" for stem in listed), "utf-8")


def to_xml(image: AnnotatedImage) -> str:
    """Return the text of a VOC file, xmin = x0 + 1 and xmax = x1, with decimals if the boxes have them."""
    top = Element("annotation")
    SubElement(top, "folder").text = IMAGES
    SubElement(top, "filename").text = Path(image.name).name
    size = SubElement(top, "size")
    for key, value in zip(("width", "height", "depth"), (*image.size_wh, 3), strict=True):
        SubElement(size, key).text = str(value)
    SubElement(top, "segmented").text = "0"
    for box, label, flags in zip(image.boxes_xyxy, image.labels, flags_of(image), strict=True):
        item = SubElement(top, "object")
        SubElement(item, "name").text = label
        SubElement(item, "pose").text = "Unspecified"
        for flag in _FLAGS:
            SubElement(item, flag).text = str(int(flag in flags))
        corners = SubElement(item, "bndbox")
        x0, y0, x1, y1 = plain(box)
        for key, number in zip(_CORNERS, (x0 + 1, y0 + 1, x1, y1), strict=True):
            SubElement(corners, key).text = f"{round(number, _DECIMALS):.{_DECIMALS}f}".rstrip("0").rstrip(".")
    ElementTree.indent(top)
    return ElementTree.tostring(top, encoding="unicode") + "\n"


def _record(index: FileIndex, path: Path, by_stem: dict[Path, Path]) -> Record:
    """Read one XML; boxes are xmin, ymin, xmax, ymax as written."""
    top = _parse(path)
    if top.tag != "annotation":
        raise AnnotationError(f"not a Pascal VOC file: it begins with <{top.tag}>")
    image_path = _image(index, path, by_stem, top.findtext("filename"))
    objects = []
    for i, item in enumerate(top.findall("object")):
        try:
            objects.append(_object(item))
        except AnnotationError as error:
            raise AnnotationError(f"object {i + 1} ({item.findtext('name')}): {error}") from error
    return Record(
        name=index.name(image_path),
        image_path=image_path,
        annotation_path=path,
        objects=tuple(objects),
        stated_wh=(_size(top, "width"), _size(top, "height")),
        size_field="size",
    )


def _parse(path: Path) -> Element:
    """Parse XML but refuse document types, and so entities that grow (the "billion laughs") or open files."""
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(path.read_bytes(), True)
        return builder.close()
    except expat.ExpatError as error:
        raise AnnotationError(f"not XML: {error}") from error
    except OSError as error:
        raise AnnotationError(f"cannot be read: {error.strerror}") from error


def _refuse(*_declaration: object) -> None:
    raise AnnotationError("it declares a document type (<!DOCTYPE>), which VOC's files have no use for")


def _places(path: Path) -> list[Path]:
    """Return the folders that may hold the image of an XML."""
    places = [path.parent]
    if ANNOTATIONS in path.parts:
        place = len(path.parts) - 1 - path.parts[::-1].index(ANNOTATIONS)
        before, after = path.parts[:place], path.parts[place + 1 : -1]
        places += [Path(*before, name, *after) for name in _IMAGE_FOLDERS]
    return places


def _of_stem(path: Path, by_stem: dict[Path, Path]) -> Path | None:
    """Return the image with the stem of an XML, or None."""
    stems = (folder / path.with_suffix("").name for folder in _places(path))
    return next((by_stem[stem] for stem in stems if stem in by_stem), None)


def _image(index: FileIndex, path: Path, by_stem: dict[Path, Path], written: str | None) -> Path:
    """Return the image that an XML annotates."""
    if (found := _of_stem(path, by_stem)) is not None:
        return found
    if not written or not written.strip():
        raise AnnotationError("no image of this stem, and no filename in it")
    try:
        return index.image_named(written.strip(), _places(path))
    except AnnotationError as error:
        raise AnnotationError(f"no image of this stem; filename {written.strip()!r}: {error}") from error


def _object(item: Element) -> LabelledBox:
    label = (item.findtext("name") or "").strip()
    if not label:
        raise AnnotationError("it has no name")
    corners = item.find("bndbox")
    if corners is None:
        raise AnnotationError("it has no bndbox")
    xmin, ymin, xmax, ymax = (_number(corners, key) for key in _CORNERS)
    if xmin - 1 > xmax or ymin - 1 > ymax:
        raise AnnotationError(f"bndbox {xmin:g} {ymin:g} {xmax:g} {ymax:g} ends before it begins")
    flags = frozenset(flag for flag in _FLAGS if (item.findtext(flag) or "").strip().lower() in ("1", "true"))
    return LabelledBox(label, (xmin, ymin, xmax, ymax), flags)


def _number(corners: Element, key: str) -> float:
    text = corners.findtext(key) or ""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < _MOST_PX:
        raise AnnotationError(f"{key} is {text!r}, a number is needed")
    return value


def _size(top: Element, key: str) -> int | None:
    text = (top.findtext(f"size/{key}") or "").strip()
    number = whole_number(text.removesuffix(".0"))
    if text and number is None:
        raise AnnotationError(f"{key} is {text!r:.40}, a whole number is needed")
    return number or None  # some programs write 0 if the size is unknown


def _from_one(record: Record) -> Record:
    moved = (
        replace(item, box_xyxy=(item.box_xyxy[0] - 1, item.box_xyxy[1] - 1, *item.box_xyxy[2:]))
        for item in record.objects
    )
    return replace(record, objects=tuple(moved))


def _with_splits(index: FileIndex, records: list[Record]) -> tuple[list[Record], list[Fault]]:
    """Assign splits to the records from the lists, or from folder names if there are no lists."""
    lists = [
        path
        for path in index.files
        if path.suffix == ".txt" and path.parent.parts[-2:] == (SETS, "Main") and _is_split(path.stem)
    ]
    if not lists:
        return [replace(record, splits=split_of_folders(record.name)) for record in records], []
    splits: dict[str, list[str]] = {}
    faults = []
    names = {_stem(record): record.name for record in records}
    for path in lists:
        base = path.parent.parent.parent
        try:
            lines = [line.rstrip("\r") for line in read_text(path).split("\n")]
        except AnnotationError as error:
            faults.append(Fault(index.name(path), str(error)))
            continue
        for line in filter(None, lines):
            name = _listed(base, line, names) or _listed(base, line.strip(), names)
            if name is None:
                faults.append(Fault(index.name(path), f"lists {line!r}, of which there is no usable image"))
            else:
                splits.setdefault(name, []).extend(split_of(path.stem))
    return [replace(record, splits=tuple(splits.get(record.name, ()))) for record in records], faults


def _is_split(stem: str) -> bool:
    """Return whether a list is of a split and not of a class in a split, as `cat_train.txt` is."""
    return bool(split_of(stem)) and "_" not in stem


def _stem(record: Record) -> Path:
    assert record.image_path is not None
    return record.image_path.with_suffix("")


def _listed(base: Path, listed: str, names: dict[Path, str]) -> str | None:
    return next((names[base / folder / listed] for folder in _IMAGE_FOLDERS if base / folder / listed in names), None)
