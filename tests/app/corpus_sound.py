"""The sound images of the corpus, several of each format, and what builds formats that Pillow does not write."""

import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from tests.app.fakes import encoded


@cache
def image(variant: str) -> bytes:
    """Return a sound image: `JPEG/progressive`."""
    return VARIANTS[variant]()


def picture(mode: str = "RGB", width: int = 40, height: int = 32) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(5).integers(0, 24, (height, width, 3))
    pixels = np.stack([x * 5, y * 6, (x + y) * 3], axis=2) + noise
    return Image.fromarray(pixels.astype(np.uint8)).convert(mode)


def _frames(count: int = 3, side: int = 32) -> list[Image.Image]:
    return [Image.new("RGB", (side, side), (index * 70 % 256, index // 4, 200)) for index in range(count)]


def animation(name: str, count: int = 3, **options: Any) -> bytes:
    first, *rest = _frames(count)
    data = encoded(first, name, save_all=True, append_images=rest, **options)
    return timeless(data) if name == "AVIF" else data


def timeless(avif: bytes) -> bytes:
    """Return an AVIF sequence without the times of its making, so that a case can be made again.

    ISO/IEC 14496-12: `mvhd`, `tkhd` and `mdhd` have their times after version and flags, as 64 bits in version 1.
    """
    data = bytearray(avif)
    for box in (b"mvhd", b"tkhd", b"mdhd"):
        at = data.index(box) + 4
        size = 16 if data[at] == 1 else 8
        data[at + 4 : at + 4 + size] = bytes(size)
    return bytes(data)


def exif_block() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "what the picture shows"
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0a comment"
    return exif.tobytes()


def bmp(width: int, height: int, bits: int, compression: int, pixels: bytes) -> bytes:
    palette = b"".join(bytes([level, 255 - level, 7, 0]) for level in range(1 << bits)) if bits <= 8 else b""
    start = 54 + len(palette)
    return (
        b"BM"
        + struct.pack("<IHHI", start + len(pixels), 0, 0, start)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(pixels), 0, 0, 0, 0)
        + palette
        + pixels
    )


_RLE8 = b"".join(b"\x20\x05\x06\x09\0\4abcd\0\0" if y != 3 else b"\0\2\5\1\5\7" for y in range(32)) + b"\0\1"
_RLE4 = b"".join(b"\x20\x5a\x06\x93\0\0" for _ in range(32)) + b"\0\1"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *more: bytes, bits: int = 8, colour: int = 0, interlaced: int = 0) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IEND", b"")


def idat(rows: int, row_bytes: int) -> bytes:
    return chunk(b"IDAT", zlib.compress(bytes(rows * (1 + row_bytes)), 9))


def _interlaced_png() -> bytes:
    passes = [(8, 8, 0, 0), (8, 8, 0, 4), (8, 4, 4, 0), (4, 4, 0, 2), (4, 2, 2, 0), (2, 2, 0, 1), (2, 1, 1, 0)]
    rows = [
        bytes(1) + bytes(range(len(range(left, 40, dx)))) for dy, dx, top, left in passes for _ in range(top, 32, dy)
    ]
    return png(40, 32, chunk(b"IDAT", zlib.compress(b"".join(rows))), interlaced=1)


SHORT, LONG = 3, 4


def tiff(entries: dict[int, tuple[int, int, int]], pixels: bytes = b"", next_at: int = 0) -> bytes:
    """A TIFF: tag -> type, count and value, which is an offset where it does not fit; the pixels are at 8."""
    start = 8 + len(pixels) + len(pixels) % 2
    listed = b"".join(struct.pack("<HHII", tag, *entries[tag]) for tag in sorted(entries))
    head = b"II*\0" + struct.pack("<I", start) + pixels.ljust(start - 8, b"\0")
    return head + struct.pack("<H", len(entries)) + listed + struct.pack("<I", next_at)


def grey(width: int = 32, height: int = 32, compression: int = 1, **more: tuple[int, int, int]) -> dict[int, Any]:
    return {
        256: (LONG, 1, width),
        257: (LONG, 1, height),
        258: (SHORT, 1, 8),
        259: (SHORT, 1, compression),
        262: (SHORT, 1, 1),
        277: (SHORT, 1, 1),
    } | {int(tag[1:]): entry for tag, entry in more.items()}


def one_strip(byte_count: int, height: int = 32) -> dict[str, tuple[int, int, int]]:
    return {"t273": (LONG, 1, 8), "t278": (LONG, 1, height), "t279": (LONG, 1, byte_count)}


def one_tile(byte_count: int, side: int) -> dict[str, tuple[int, int, int]]:
    sides = {"t322": (LONG, 1, side), "t323": (LONG, 1, side)}
    return {**sides, "t324": (LONG, 1, 8), "t325": (LONG, 1, byte_count)}


def _tiled(compression: int) -> bytes:
    tile = bytes(range(256)) * 16
    pixels = zlib.compress(tile) if compression != 1 else tile
    return tiff(grey(compression=compression, **one_tile(len(pixels), 64)), pixels)


VARIANTS: dict[str, Callable[[], bytes]] = {
    "JPEG/baseline": lambda: encoded(picture(), "JPEG"),
    "JPEG/progressive": lambda: encoded(picture(), "JPEG", progressive=True),
    "JPEG/cmyk": lambda: encoded(picture("CMYK"), "JPEG"),
    "JPEG/grey": lambda: encoded(picture("L"), "JPEG"),
    "JPEG/full-colour": lambda: encoded(picture(), "JPEG", subsampling=0, quality=98, restart_marker_blocks=2),
    "JPEG/exif": lambda: encoded(picture(), "JPEG", exif=exif_block(), comment=b"a comment", icc_profile=bytes(300)),
    "JPEG/broken-exif": lambda: encoded(picture(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(40)),
    "JPEG/two-in-one": lambda: encoded(picture(), "MPO", save_all=True, append_images=[picture()]),
    "PNG/rgb": lambda: encoded(picture()),
    "PNG/rgba": lambda: encoded(picture("RGBA")),
    "PNG/grey-alpha": lambda: encoded(picture("LA")),
    "PNG/palette": lambda: encoded(
        picture("P"), transparency=bytes(range(100)), exif=exif_block(), icc_profile=bytes(99)
    ),
    "PNG/16-bit": lambda: encoded(Image.fromarray(np.arange(1280, dtype=np.uint16).reshape(32, 40) * 50)),
    "PNG/1-bit": lambda: encoded(picture("1")),
    "PNG/interlaced": _interlaced_png,
    "PNG/animated": lambda: animation("PNG"),
    "WEBP/lossy": lambda: encoded(picture(), "WEBP", exif=exif_block()),
    "WEBP/lossless": lambda: encoded(picture(), "WEBP", lossless=True),
    "WEBP/alpha": lambda: encoded(picture("RGBA"), "WEBP"),
    "WEBP/animated": lambda: animation("WEBP"),
    "GIF/single": lambda: encoded(picture(), "GIF", comment=b"a comment"),
    "GIF/interlaced": lambda: encoded(picture("L"), "GIF", interlace=1),
    "GIF/transparent": lambda: encoded(picture("P"), "GIF", transparency=3),
    "GIF/animated": lambda: animation("GIF", duration=20, loop=0, disposal=2),
    "BMP/24-bit": lambda: encoded(picture(), "BMP"),
    "BMP/32-bit": lambda: encoded(picture("RGBA"), "BMP"),
    "BMP/palette": lambda: encoded(picture("P"), "BMP"),
    "BMP/1-bit": lambda: encoded(picture("1"), "BMP"),
    "BMP/16-bit": lambda: bmp(40, 32, 16, 0, bytes(range(256)) * 10),
    "BMP/rle8": lambda: bmp(42, 32, 8, 1, _RLE8),
    "BMP/rle4": lambda: bmp(38, 32, 4, 2, _RLE4),
    "TIFF/raw": lambda: encoded(picture(), "TIFF"),
    "TIFF/lzw": lambda: encoded(picture(), "TIFF", compression="tiff_lzw"),
    "TIFF/deflate": lambda: encoded(picture("RGBA"), "TIFF", compression="tiff_adobe_deflate"),
    "TIFF/jpeg": lambda: encoded(picture(), "TIFF", compression="jpeg"),
    "TIFF/packbits": lambda: encoded(picture("L"), "TIFF", compression="packbits"),
    "TIFF/fax": lambda: encoded(picture("1"), "TIFF", compression="group4"),
    "TIFF/16-bit": lambda: encoded(Image.fromarray(np.arange(1280, dtype=np.uint16).reshape(32, 40)), "TIFF"),
    "TIFF/float": lambda: encoded(Image.fromarray(np.linspace(0, 1, 1280, dtype=np.float32).reshape(32, 40)), "TIFF"),
    "TIFF/cmyk": lambda: encoded(picture("CMYK"), "TIFF", exif=exif_block()),
    "TIFF/palette": lambda: encoded(picture("P"), "TIFF"),
    "TIFF/strips": lambda: encoded(picture(), "TIFF", compression="tiff_lzw", strip_size=480),
    "TIFF/tiles": lambda: _tiled(1),
    "TIFF/deflated-tiles": lambda: _tiled(8),
    "TIFF/pages": lambda: animation("TIFF"),
    "TIFF/big": lambda: encoded(picture(), "TIFF", big_tiff=True),
    "AVIF/colour": lambda: encoded(picture(), "AVIF", exif=exif_block()),
    "AVIF/alpha": lambda: encoded(picture("RGBA"), "AVIF"),
    "AVIF/animated": lambda: animation("AVIF"),
    "HEIF/colour": lambda: encoded(picture(), "HEIF", exif=exif_block()),
    "HEIF/alpha": lambda: encoded(picture("RGBA"), "HEIF"),
    "HEIF/tiles": lambda: encoded(picture(width=160, height=128), "HEIF", tile_size=64),
}
