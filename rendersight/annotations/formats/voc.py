"""Pascal VOC: reading and writing of one XML for each image.

The devkit (host.robots.ox.ac.uk/pascal/VOC, devkit_doc: "the top-left pixel in the image has coordinates (1, 1)")
counts pixels from 1 and includes the last one. In the continuous px used here, x0 = xmin - 1 and x1 = xmax. Other
programs count from 0. A coordinate below 1 anywhere proves this, because the devkit has none; then the whole dataset is
read as continuous px, x0 = xmin. A smallest coordinate of 1 proves nothing: labelImg counts from 0 and raises 0 to 1.
The polygons of LabelMe 3.0 (labelme.csail.mit.edu) are pixel edges from 0. Boxes are in px of the upright image, and
it is a fault if the stated size is that of the stored image instead.
"""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree import ElementTree  # builds the tree; expat parses, without document types
from xml.etree.ElementTree import Element, SubElement
from xml.parsers import expat

from rendersight.annotations import (
    DIFFICULT,
    AnnotatedImage,
    AnnotationError,
    Fault,
    LabelledBox,
    Listing,
    ReadOptions,
    Record,
)
from rendersight.annotations.boxes import extent_of_polygon, flags_of, from_origin, plain, whole_number
from rendersight.annotations.index import (
    IMAGE_FOLDERS,
    LABEL_FOLDERS,
    FileIndex,
    counterparts,
    read_text,
    without_twins,
)
from rendersight.annotations.splits import split_of, split_of_folders

IMAGES = "JPEGImages"
ANNOTATIONS = "Annotations"
SETS = "ImageSets"

_ROOT = re.compile(rb"<annotation[\s/>]")
_HEAD_BYTES = 4096
FLAGS = (DIFFICULT, "truncated", "occluded")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_DECIMALS = 9
_MOST_PX = 1e9


def owns(_index: FileIndex, path: Path) -> bool:
    """Return whether an XML file has VOC's element `<annotation>`."""
    with path.open("rb") as file:
        return bool(_ROOT.search(file.read(_HEAD_BYTES)))


def read(index: FileIndex, options: ReadOptions) -> Listing:
    """Read XML files with the images beside them, or in the folder that mirrors theirs (`JPEGImages`, `images`).

    The image of an XML is the file with its stem in one of those folders, else the file that `filename` names. Splits
    come from the lists `ImageSets/Main/{train,val,...}.txt`, else from folders named train, valid or test.

    Raises:
        AnnotationError: no XML has `<annotation>`.
    """
    files = index.with_suffix(".xml")
    paths = [path for path in files if owns(index, path)]
    paths += [path for path in files if path.stem in index.stems and not path.stat().st_size]
    if not paths:
        raise AnnotationError(f"{index.root} holds no Pascal VOC file: an XML with <annotation>")
    images, twins = without_twins(index, index.images)
    pairing = _Pairing(index, {path.with_suffix(""): path for path in images})
    faults: list[Fault] = []
    records: dict[Path, Record] = {}
    broken: set[Path | None] = set()
    for path in paths:
        try:
            record = _record(index, path, pairing)
            assert record.image_path is not None
            if (other := records.setdefault(record.image_path, record)) is not record:
                raise AnnotationError(f"{record.name} is the image of {index.name(other.path)} already; remove one")
        except AnnotationError as error:
            faults.append(Fault(index.name(path), str(error)))
            broken.add(pairing.of_stem(path))
    folders = {path.parent for path in records}
    faults += [fault for fault in twins if (index.root / fault.file).parent in folders]
    for path in images:
        if path.parent in folders and path not in records and path not in broken:
            records[path] = Record(index.name(path), path, None, ())
    found, lists, lost = _with_splits(index, list(records.values()))
    boxes = [item.box_xyxy for record in found for item in record.objects if not item.is_outline]
    origin = options.pixel_origin
    remarks: tuple[str, ...] = ()
    if origin is None and boxes:
        origin = 0 if any(min(box[:2]) < 1 for box in boxes) else 1
        remarks = (_FROM_ZERO if origin == 0 else _FROM_ONE,)
    return Listing(
        root=index.root,
        records=tuple(_moved(record, origin) for record in found) if origin else tuple(found),
        faults=(*faults, *lost),
        unlisted=tuple(index.name(path) for path in images if path not in records and path not in broken),
        remarks=remarks,
        used=tuple(lists),
    )


_FROM_ZERO = (
    "coordinates below 1 show that the program that wrote these files counts pixels from 0; all boxes are read as xmin "
    "to xmax, and not as the VOC devkit counts, xmin - 1 to xmax; if it counts from 1, pass --pixel-origin 1"
)
_FROM_ONE = (
    "boxes are read as the VOC devkit counts, pixels from 1 with the last one included; if your program counts from 0, "
    "as labelImg does, pass --pixel-origin 0, which moves left and upper edges by one pixel"
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
    """Return the text of a VOC file, xmin = x0 + 1 and xmax = x1, with decimals if the boxes have them.

    Ignored boxes are `difficult`.
    """
    top = Element("annotation")
    SubElement(top, "folder").text = IMAGES
    SubElement(top, "filename").text = Path(image.name).name
    size = SubElement(top, "size")
    for key, value in zip(("width", "height", "depth"), (*image.size_wh, 3), strict=True):
        SubElement(size, key).text = str(value)
    SubElement(top, "segmented").text = "0"
    ignored = [
        (box, item.label, item.flags | {DIFFICULT}) for box, item in zip(image.ignored_xyxy, image.ignored, strict=True)
    ]
    for box, label, flags in (*zip(image.boxes_xyxy, image.labels, flags_of(image), strict=True), *ignored):
        item = SubElement(top, "object")
        SubElement(item, "name").text = label
        SubElement(item, "pose").text = "Unspecified"
        for flag in FLAGS:
            SubElement(item, flag).text = str(int(flag in flags))
        corners = SubElement(item, "bndbox")
        x0, y0, x1, y1 = plain(box)
        for key, number in zip(_CORNERS, (x0 + 1, y0 + 1, x1, y1), strict=True):
            SubElement(corners, key).text = f"{round(number, _DECIMALS):.{_DECIMALS}f}".rstrip("0").rstrip(".")
    ElementTree.indent(top)
    return ElementTree.tostring(top, encoding="unicode") + "\n"


def _record(index: FileIndex, path: Path, pairing: "_Pairing") -> Record:
    """Read one XML; boxes are xmin, ymin, xmax, ymax as written. An empty file is an image without objects."""
    top = parse_xml(path) if path.stat().st_size else Element("annotation")
    if top.tag != "annotation":
        raise AnnotationError(f"is not a Pascal VOC file: it begins with <{top.tag}>, not with <annotation>")
    image_path = pairing.image(path, top.findtext("filename"))
    objects = []
    items = top.findall("object")
    if not items and (top.find(".//bndbox") is not None or top.find(".//polygon") is not None):
        raise AnnotationError("has boxes that are not in elements <object> below <annotation>; export it anew")
    for i, item in enumerate(items):
        if item.findtext("deleted") == "1":  # LabelMe 3.0 keeps what was deleted
            continue
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


def parse_xml(path: Path) -> Element:
    """Parse XML but refuse document types, and so entities that grow (the "billion laughs") or open files.

    Raises:
        AnnotationError: the file cannot be read, is not XML, or declares a document type.
    """
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
    raise AnnotationError("declares a document type (<!DOCTYPE>), which is refused; remove the declaration")


@dataclass
class _Pairing:
    """The images of XML files, found by their stems or names."""

    index: FileIndex
    by_stem: dict[Path, Path]
    folders: dict[Path, list[Path]] = field(default_factory=dict)

    def places(self, path: Path) -> list[Path]:
        """Return the folders that may hold the image of an XML."""
        folder = path.parent
        if folder not in self.folders:
            mirrors = counterparts(folder, self.index.root, names=LABEL_FOLDERS, others=IMAGE_FOLDERS)
            self.folders[folder] = [folder, *mirrors]
        return self.folders[folder]

    def of_stem(self, path: Path) -> Path | None:
        """Return the image with the stem of an XML, or None."""
        stems = (folder / path.with_suffix("").name for folder in self.places(path))
        return next((self.by_stem[stem] for stem in stems if stem in self.by_stem), None)

    def image(self, path: Path, written: str | None) -> Path:
        """Return the image that an XML annotates."""
        if (found := self.of_stem(path)) is not None:
            return found
        if not written or not written.strip():
            raise AnnotationError("its image is missing: there is no image of this stem, and filename is empty")
        try:
            return self.index.image_named(written.strip(), self.places(path))
        except AnnotationError as error:
            raise AnnotationError(f"no image of this stem; filename {written.strip()!r}: {error}") from error


def _object(item: Element) -> LabelledBox:
    label = (item.findtext("name") or "").strip()
    if not label:
        raise AnnotationError("has no name")
    flags = frozenset(flag for flag in FLAGS if (item.findtext(flag) or "").strip().lower() in ("1", "true", "yes"))
    corners = item.find("bndbox")
    if corners is None:
        points = [_number(point, key) for point in item.iterfind("polygon/pt") for key in ("x", "y")]
        if not points:
            raise AnnotationError("has neither bndbox nor polygon; draw its box")
        return LabelledBox(label, extent_of_polygon(points), flags, is_outline=True)
    xmin, ymin, xmax, ymax = (_number(corners, key) for key in _CORNERS)
    if xmin - 1 > xmax or ymin - 1 > ymax:
        raise AnnotationError(f"bndbox {xmin:g} {ymin:g} {xmax:g} {ymax:g} ends before it begins")
    return LabelledBox(label, (xmin, ymin, xmax, ymax), flags)


def _number(corners: Element, key: str) -> float:
    text = corners.findtext(key) or ""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < _MOST_PX:
        raise AnnotationError(f"{key} is {text!r:.40}; accepted: a number")
    return value


def _size(top: Element, key: str) -> int | None:
    text = (top.findtext(f"size/{key}") or "").strip()
    number = whole_number(text.removesuffix(".0"))
    if text and number is None:
        raise AnnotationError(f"{key} is {text!r:.40}; accepted: a whole number")
    return number or None  # some programs write 0 if the size is unknown


def _moved(record: Record, origin: int) -> Record:
    """Return a record with its boxes as pixel edges from 0; polygons are edges already."""
    objects = (
        item if item.is_outline else replace(item, box_xyxy=from_origin(item.box_xyxy, origin))
        for item in record.objects
    )
    return replace(record, objects=tuple(objects))


def _with_splits(index: FileIndex, records: list[Record]) -> tuple[list[Record], list[Path], list[Fault]]:
    """Assign splits to the records from the lists, or from folder names if there are none; also return the lists."""
    lists = [
        path
        for path in index.files
        if path.suffix == ".txt" and path.parent.parts[-2:] == (SETS, "Main") and _is_split(path.stem)
    ]
    if not lists:
        return [replace(record, splits=split_of_folders(record.name)) for record in records], [], []
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
        folders = sorted(place for place in base.glob("*") if place.name.lower() in IMAGE_FOLDERS)
        for line in filter(None, lines):
            stems = (folder / text for text in (line, line.strip()) for folder in folders)
            name = next((names[stem] for stem in stems if stem in names), None)
            if name is None:
                faults.append(Fault(index.name(path), f"lists {line!r}, but there is no usable image of this name"))
            else:
                splits.setdefault(name, []).extend(split_of(path.stem))
    return [replace(record, splits=tuple(splits.get(record.name, ()))) for record in records], lists, faults


def _is_split(stem: str) -> bool:
    """Return whether a list is of a split and not of a class in a split, as `cat_train.txt` is."""
    return bool(split_of(stem)) and "_" not in stem


def _stem(record: Record) -> Path:
    assert record.image_path is not None
    return record.image_path.with_suffix("")
