"""HEIC and HEIF photos: their signature, their cost, and the optional plugin for Pillow that decodes them.

The plugin is `pillow-heif`. It is not among the requirements, because its wheels hold an encoder under the GPL (x265).
The file format is ISO/IEC 23008-12 (items and their references) in the boxes of ISO/IEC 14496-12.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from io import BytesIO

from PIL import ImageFile

SUFFIXES = (".heic", ".heif", ".hif")
"""Suffixes of HEIF files, in lower case."""

IS_READABLE = find_spec("pillow_heif") is not None
"""Whether the plugin is installed."""

NOT_READ = (
    "HEIC is not read here: convert the photo to JPEG, or install the plugin that reads it with pip install pillow-heif"
)

MAX_PASSES = 5
"""Maximum number of pixels decoded for each pixel of the limit. A grid and its tiles, with alpha, make four."""

MAX_DEPTH = 4
"""Maximum number of images that one image passes through: an overlay of grids of tiles with alpha images."""

MAX_BOXES = 10_000
"""Maximum number of boxes in a row."""

MAX_BOX_BYTES = 1 << 18
"""Maximum size of a box that describes items. A phone's photo of fifty tiles needs a few kilobytes."""

MAX_METADATA_BYTES = 1 << 26
"""Maximum size of all metadata, counted once for each image that refers to it; the plugin copies it as often."""

# brands of still images and sequences in HEVC (ISO/IEC 23008-12, B.4); `mif1` alone may hold any codec
_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_DESCRIBING = (b"pitm", b"iref", b"iprp", b"iloc")


def is_heif(data: bytes) -> bool:
    """Return whether the first bytes of a file are the signature of a HEIF file with HEVC images."""
    return data[4:8] == b"ftyp" and any(brand in data[8:64] for brand in _BRANDS)


def open_heif(data: bytes) -> ImageFile.ImageFile:
    """Open an encoded image with the plugin's own class; Pillow's registry of formats stays as it is."""
    from pillow_heif import HeifImageFile  # noqa: PLC0415 - optional

    image: ImageFile.ImageFile = HeifImageFile(BytesIO(data))  # type: ignore[no-untyped-call]
    return image


def configure_plugin() -> None:
    """Make the plugin decode in the calling thread and look for no other image than the main one."""
    if IS_READABLE:
        from pillow_heif import options  # noqa: PLC0415 - optional

        options.DECODE_THREADS = 1
        options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False


def exceeded(data: bytes, max_pixels: int | None) -> str | None:
    """Return the reason to refuse a file, or None if it may be decoded; see `rendersight.limits`.

    An image can be a grid or an overlay of other images, each with an alpha image, and one item can be used many times.
    The file's header gives the size of the result only.
    """
    try:
        items = _read_items(data)
        decoded = items.decoded_pixels()
    except _Unusual as error:
        return f"the HEIC has {error}"
    if items.metadata_bytes > MAX_METADATA_BYTES:
        return f"the HEIC has {items.metadata_bytes} bytes of metadata, the limit is {MAX_METADATA_BYTES}"
    if max_pixels is None or (items.pixels[items.main] > max_pixels and not items.is_cropped):
        return None  # the header announces what is too large
    largest = max(items.pixels.values(), default=0)
    if largest > max_pixels:
        return f"an image in the HEIC has {largest} px, the limit is {max_pixels}"
    if decoded > MAX_PASSES * max_pixels:
        return f"the HEIC takes {decoded} px to decode, the limit is {MAX_PASSES * max_pixels}"
    return None


class _Unusual(ValueError):
    """A structure that no camera writes."""


@dataclass
class _Items:
    """The images in a file, and the properties that make decoding the main one expensive.

    Attributes:
        main: id of the main image.
        is_cropped: whether an image is larger than it is shown (`clap`).
        pixels: id of an image -> width x height.
        parts: id of an image -> ids of the images that it is made of, as often as each is used.
        metadata_bytes: sum of the metadata's sizes, each counted for every image that refers to it.
    """

    main: int = 0
    is_cropped: bool = False
    pixels: dict[int, int] = field(default_factory=dict)
    parts: defaultdict[int, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    metadata_bytes: int = 0

    def decoded_pixels(self) -> int:
        """Return the number of pixels that are decoded for the main image.

        Raises:
            _Unusual: an image has no size, or images are nested too deep.
        """
        known: dict[int, int] = {}

        def count(item: int, depth: int) -> int:
            if depth > MAX_DEPTH:
                raise _Unusual(f"images nested more than {MAX_DEPTH} deep, the limit")
            if item not in self.pixels:
                raise _Unusual(f"no size for the image {item}")
            if item not in known:
                parts = self.parts.get(item, {}).items()
                known[item] = self.pixels[item] + sum(times * count(part, depth + 1) for part, times in parts)
            return known[item]

        return count(self.main, 0)


def _read_items(data: bytes) -> _Items:
    """Read the items of the file's `meta` box.

    Raises:
        _Unusual: a box occurs twice or is too large, so readers could differ.
    """
    items, boxes = _Items(), dict.fromkeys(_DESCRIBING, memoryview(b""))
    seen = set()
    for kind, box in _boxes(memoryview(data)):
        if kind != b"meta":
            continue
        if kind in seen:
            raise _Unusual("the box meta twice")
        seen.add(kind)
        for inner, content in _boxes(box[4:]):
            if inner not in _DESCRIBING:
                continue
            if inner in seen:
                raise _Unusual(f"the box {inner.decode()} twice")
            if len(content) > MAX_BOX_BYTES:
                raise _Unusual(f"{len(content)} bytes in the box {inner.decode()}, the limit is {MAX_BOX_BYTES}")
            seen.add(inner)
            boxes[inner] = content
    try:
        _read_main(boxes[b"pitm"], items)
        _read_sizes(boxes[b"iprp"], items)
        _read_references(boxes[b"iref"], _lengths(boxes[b"iloc"], len(data)), items)
    except IndexError:
        raise _Unusual("a box that is cut short") from None
    return items


def _boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the type and the content of each box (ISO/IEC 14496-12, 4.2).

    Raises:
        _Unusual: there are too many boxes.
    """
    at = count = 0
    while at + 8 <= len(data):
        count += 1
        if count > MAX_BOXES:
            raise _Unusual(f"more than {MAX_BOXES} boxes in a row, the limit")
        size, kind, head = int.from_bytes(data[at : at + 4], "big"), bytes(data[at + 4 : at + 8]), 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        elif size == 0:
            size = len(data) - at
        if size < head:
            return
        yield kind, data[at + head : at + size]
        at += size


class _Numbers:
    """Reader of big-endian integers; IndexError at the end of the data."""

    def __init__(self, data: memoryview) -> None:
        self._data, self._at = data, 0

    def next(self, size: int) -> int:
        """Return the integer in the next `size` bytes."""
        self._at += size
        if self._at > len(self._data):
            raise IndexError(size)
        return int.from_bytes(self._data[self._at - size : self._at], "big")


def _read_main(pitm: memoryview, items: _Items) -> None:
    numbers = _Numbers(pitm)
    version = numbers.next(4) >> 24
    items.main = numbers.next(4 if version else 2)


def _read_sizes(iprp: memoryview, items: _Items) -> None:
    """Read the sizes (`ispe`) among the properties, and the items that they belong to (`ipma`)."""
    pixels: dict[int, int] = {}
    for kind, box in _boxes(iprp):
        if kind == b"ipco":
            for number, (name, content) in enumerate(_boxes(box), 1):
                if name == b"ispe":
                    numbers = _Numbers(content[4:])
                    pixels[number] = numbers.next(4) * numbers.next(4)
                items.is_cropped |= name == b"clap"
    for kind, box in _boxes(iprp):
        if kind == b"ipma":
            numbers = _Numbers(box)
            version_flags = numbers.next(4)
            id_size, index_size = 4 if version_flags >> 24 else 2, 2 if version_flags & 1 else 1
            for _ in range(numbers.next(4)):
                item = numbers.next(id_size)
                for _ in range(numbers.next(1)):
                    index = numbers.next(index_size) & (0x7FFF if index_size == 2 else 0x7F)  # noqa: PLR2004
                    if index in pixels:
                        items.pixels[item] = max(items.pixels.get(item, 0), pixels[index])


def _lengths(iloc: memoryview, file_size: int) -> dict[int, int]:
    """Return the length of each item's data, bytes."""
    numbers = _Numbers(iloc)
    version = numbers.next(4) >> 24
    sizes = numbers.next(2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    lengths: dict[int, int] = {}
    for _ in range(numbers.next(2 if version < 2 else 4)):  # noqa: PLR2004
        item = numbers.next(2 if version < 2 else 4)  # noqa: PLR2004
        numbers.next((2 if version else 0) + 2 + base_size)  # construction method, data reference, base offset
        extents, skipped = numbers.next(2), (index_size if version else 0) + offset_size
        if skipped + length_size == 0:  # any number of extents takes no bytes, and each is the whole file
            lengths[item] = extents * file_size
            continue
        for _ in range(extents):
            numbers.next(skipped)
            lengths[item] = lengths.get(item, 0) + (numbers.next(length_size) or file_size)
    return lengths


def _read_references(iref: memoryview, lengths: Mapping[int, int], items: _Items) -> None:
    """Read which images are made of which others (`dimg`, `auxl`), and which metadata they have (`cdsc`)."""
    id_size = 4 if bytes(iref[:1]) == b"\1" else 2
    for kind, box in _boxes(iref[4:]):
        numbers = _Numbers(box)
        item = numbers.next(id_size)
        for _ in range(numbers.next(2)):
            other = numbers.next(id_size)
            if kind == b"dimg":
                items.parts[item][other] += 1
            elif kind == b"auxl":  # from the alpha or depth image to the image that it belongs to
                items.parts[other][item] += 1
            elif kind == b"cdsc":  # from the metadata to an image
                items.metadata_bytes += lengths.get(item, 0)
