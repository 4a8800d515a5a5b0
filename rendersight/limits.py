"""Header checks for decompression bombs: small files that are expensive to decode.

The cost of decoding must depend only on the number of pixels, which is limited. Some parts of a file escape that
limit: the scans of a JPEG, each of which passes over all pixels; the colour profiles of a PNG, each decompressed; the
runs of a BMP, expanded in Python; the strips and tiles of a TIFF, which need not fit the image; the images that a HEIC
is made of (see `rendersight.heif`).
"""

import re
import struct
from collections.abc import Callable, Iterator

from rendersight import heif

MAX_SCANS = 100
"""Maximum number of scans in a JPEG.

Encoders write up to a dozen. A hundred scans of 50 megapixels take three seconds. libtiff has the same limit.
"""

MAX_MARKERS = 100_000
"""Maximum number of markers in a JPEG. Checking this many takes a tenth of a second; a segment holds up to 64 KB."""

MAX_PROFILES = 100
"""Maximum number of colour profiles in a PNG, which should have one. Each takes 2 ms."""

MAX_RUN_LENGTH_PIXELS = 10_000_000
"""Maximum size of a run-length encoded BMP. Pillow expands the runs in Python, at worst pixel by pixel: one second."""

MAX_TILES = 200_000
"""Maximum number of strips or tiles in a TIFF: 50 megapixels in tiles of 16 x 16 px."""

# any marker except the restarts, which occur within a scan; ff 00 is a sample, ff ff is fill (ITU T.81, B.1.1.2)
_JPEG_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
_JPEG_SCAN, _JPEG_END = b"\xda", b"\xd9"
_JPEG_BARE = (b"\x01", b"\xd8")  # markers without a length field

_BMP_RUNS = (1, 2)  # BI_RLE8, BI_RLE4
_OS2_HEADER = 12  # bytes; this header has no compression field

_TIFF_OFFSETS = (273, 324)  # StripOffsets, TileOffsets
_TIFF_TILE_SIDES = (322, 323)  # TileWidth, TileLength
_TIFF_INTEGERS = {1: "B", 3: "H", 4: "I", 8: "H", 9: "I", 13: "I", 16: "Q", 17: "Q", 18: "Q"}
"""TIFF field type -> `struct` code. Negative sizes are read as unsigned, so they count as very large."""


def exceeded(data: bytes, image_format: str, *, max_pixels: int | None) -> str | None:
    """Return the reason to refuse a file, or None if it may be decoded.

    Args:
        data: the whole file. Broken files pass; the decoder refuses them.
        image_format: Pillow's name of the file's format.
        max_pixels: maximum number of pixels in an image, and in one tile of a TIFF; None is no limit.
    """
    search = _SEARCHES.get(image_format)
    return None if search is None else search(data, max_pixels)


def _in_jpeg(data: bytes, _max_pixels: int | None) -> str | None:
    markers, scans, at = 0, 0, 2
    while (marker := _JPEG_MARKER.search(data, at)) is not None and marker[1] != _JPEG_END:
        at = marker.end()
        markers += 1
        scans += marker[1] == _JPEG_SCAN
        if scans > MAX_SCANS:
            return f"the JPEG has more than {MAX_SCANS} scans, the limit"
        if markers > MAX_MARKERS:
            return f"the JPEG has more than {MAX_MARKERS} markers, the limit"
        if marker[1] not in _JPEG_BARE:
            at += max(2, int.from_bytes(data[at : at + 2], "big"))
    return None


def _in_png(data: bytes, _max_pixels: int | None) -> str | None:
    # these four letters occur by chance once in 4 GB of compressed bytes, so the chunks need not be parsed
    profiles = data.count(b"iCCP")
    return f"the PNG has {profiles} colour profiles, the limit is {MAX_PROFILES}" if profiles > MAX_PROFILES else None


def _in_bmp(data: bytes, _max_pixels: int | None) -> str | None:
    header = data[14:34].ljust(20, b"\0")
    size, width, height, _, compression = struct.unpack("<IiiII", header)
    pixels = abs(width * height)
    if size > _OS2_HEADER and compression in _BMP_RUNS and pixels > MAX_RUN_LENGTH_PIXELS:
        return f"the run-length encoded BMP has {pixels} px, the limit is {MAX_RUN_LENGTH_PIXELS}"
    return None


def _in_tiff(data: bytes, max_pixels: int | None) -> str | None:
    sides = dict.fromkeys(_TIFF_TILE_SIDES, 0)
    for tag, count, value in _tiff_entries(data):
        if tag in _TIFF_OFFSETS and count > MAX_TILES:
            return f"the TIFF has {count} strips or tiles, the limit is {MAX_TILES}"
        if tag in sides:
            sides[tag] = max(sides[tag], value)  # readers differ in which of several equal tags they use
    width, height = sides.values()
    if max_pixels is not None and width * height > max_pixels:
        return f"a tile of the TIFF has {width * height} px, the limit is {max_pixels}"
    return None


def _tiff_entries(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield tag, count and first value of each integer field in a TIFF's first directory, as far as the data goes.

    See TIFF 6.0, section 2, and BigTIFF, whose fields are wider.
    """
    order = "<" if data.startswith(b"II") else ">"
    offset, number, first_at = ("Q", "Q", 8) if data[2:4] == b"+\0" else ("I", "H", 4)
    head, width = struct.Struct(f"{order}HH{offset}"), struct.calcsize(f"={offset}")

    def read(format_: str, at: int) -> int:
        size = struct.calcsize(f"={format_}")
        return int.from_bytes(data[at : at + size], "little" if order == "<" else "big")

    directory = read(offset, first_at)
    at = directory + struct.calcsize(f"={number}")
    for _ in range(read(number, directory)):
        if at + head.size + width > len(data):
            return
        tag, kind, count = head.unpack_from(data, at)
        at += head.size
        integer = _TIFF_INTEGERS.get(kind)
        if integer is not None:
            fits = struct.calcsize(f"={integer}") <= width
            yield tag, count, read(integer, at if fits else read(offset, at))
        at += width


_SEARCHES: dict[str, Callable[[bytes, int | None], str | None]] = {
    "JPEG": _in_jpeg,
    "PNG": _in_png,
    "BMP": _in_bmp,
    "TIFF": _in_tiff,
    "HEIF": heif.exceeded,
}
