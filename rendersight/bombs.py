"""Files that are small to send and dear to decode, told by their headers before a decoder sees them.

What a decoder allocates and how long it takes must follow from the image's pixels, which are limited. These parts of a
file escape that: a JPEG's scans, each of which passes over all pixels; a PNG's colour profiles, each decompressed; a
BMP's runs, expanded in Python; a TIFF's strips and tiles, which need not fit the image.
"""

import re
import struct
from collections.abc import Callable, Iterator

MAX_SCANS = 100
"""Of a JPEG: encoders write up to a dozen. 50 megapixels a hundred times over take three seconds; libtiff's limit."""

MAX_MARKERS = 100_000
"""Of a JPEG: as many as can be looked at within a tenth of a second; segments hold up to 64 KB."""

MAX_PROFILES = 100
"""Of a PNG, which should have one; each takes 2 ms."""

MAX_RUN_LENGTH_PIXELS = 10_000_000
"""Of a BMP in runs, which Pillow expands in Python, at worst pixel by pixel: a second."""

MAX_TILES = 200_000
"""Strips or tiles of a TIFF: 50 megapixels in tiles of 16 x 16 px."""

# any marker but the restarts, which stand within a scan; ff 00 is a sample, ff ff fills (ITU T.81, B.1.1.2)
_JPEG_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
_JPEG_SCAN, _JPEG_END = b"\xda", b"\xd9"
_JPEG_BARE = (b"\x01", b"\xd8")  # markers that no length follows

_BMP_RUNS = (1, 2)  # BI_RLE8, BI_RLE4
_OS2_HEADER = 12  # bytes; it knows no compression

_TIFF_OFFSETS = (273, 324)  # StripOffsets, TileOffsets
_TIFF_TILE_SIDES = (322, 323)  # TileWidth, TileLength
_TIFF_INTEGERS = {1: "B", 3: "H", 4: "I", 8: "H", 9: "I", 13: "I", 16: "Q", 17: "Q", 18: "Q"}
"""What stands behind a field type; a negative number of px, as any that is absurd, is taken for a large one."""


def find(data: bytes, image_format: str, *, max_pixels: int | None) -> str | None:
    """Return why a file is not to be decoded, None where it may be.

    Args:
        data: the whole file; broken ones are the decoder's to refuse.
        image_format: Pillow's name of its format.
        max_pixels: the most pixels of an image, and so of a TIFF's tile; None is no limit.
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
    # four letters among compressed bytes are one in 4 GB: no need to go from chunk to chunk
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
            sides[tag] = max(sides[tag], value)  # where a tag comes twice, readers differ in which one they take
    width, height = sides.values()
    if max_pixels is not None and width * height > max_pixels:
        return f"a tile of the TIFF has {width * height} px, the limit is {max_pixels}"
    return None


def _tiff_entries(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield tag, count and first value of what a TIFF's first directory says in whole numbers, as far as it is there.

    TIFF 6.0, section 2, and BigTIFF, whose fields are wider.
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
}
