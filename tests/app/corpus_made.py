"""The cases of the corpus that are made to do damage: bombs, loops, lies, and files of two formats at once."""

import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from tests.app.corpus_sound import (
    LONG,
    SHORT,
    animation,
    bmp,
    chunk,
    grey,
    idat,
    image,
    one_strip,
    one_tile,
    picture,
    png,
    tiff,
)
from tests.app.fakes import encoded


def _zeros(count: int) -> bytes:
    return zlib.compress(bytes(count), 9)


def _jpeg_with(segments: bytes) -> bytes:
    data = image("JPEG/baseline")
    return data[:2] + segments + data[2:]


def _segment(code: int, body: bytes) -> bytes:
    return bytes([0xFF, code]) + struct.pack(">H", len(body) + 2) + body


def _mpo(images: int) -> bytes:
    listed = [
        (0xB000, 7, 4, b"0100"),
        (0xB001, 4, 1, struct.pack("<I", images)),
        (0xB002, 7, 32, struct.pack("<I", 50)),
    ]
    directory = b"".join(struct.pack("<HHI", tag, kind, count) + value for tag, kind, count, value in listed)
    return _jpeg_with(_segment(0xE2, b"MPF\0II*\0\x08\0\0\0\3\0" + directory + bytes(44)))


def _scans(count: int) -> bytes:
    data = image("JPEG/progressive")
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + b"\xff\xd9"


def _large_jpeg_of_empty_scans() -> bytes:
    data = image("JPEG/progressive")
    frame, first = data.index(b"\xff\xc2"), data.index(b"\xff\xda")
    sized = data[: frame + 5] + struct.pack(">HH", 1000, 1000) + data[frame + 9 : first]
    start = b"\xff\xda\0\x0c\3\1\0\2\x11\3\x11\0\0\1"
    return sized + start + (start[:-1] + b"\x10") * 90 + b"\xff\xd9"


def _with_exif(block: bytes) -> bytes:
    return png(32, 32, chunk(b"eXIf", block), idat(32, 32))


def _gif(frame: tuple[int, int, int, int], code_size: int = 8, before: bytes = b"", screen: int = 32) -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", screen, screen, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return head + before + b"," + struct.pack("<HHHHB", *frame, 0) + bytes([code_size, 4]) + b"\0\1\2\3\0;"


def _riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _canvas(side: int, flags: int = 0) -> tuple[bytes, bytes]:
    return b"VP8X", struct.pack("<I", flags) + (side - 1).to_bytes(3, "little") * 2


def _vp8l() -> bytes:
    data = image("WEBP/lossless")
    return data[20 : 20 + int.from_bytes(data[16:20], "little")]


def _box(kind: bytes, body: bytes, length: int | None = None) -> bytes:
    return struct.pack(">I", len(body) + 8 if length is None else length) + kind + body


_FTYP = _box(b"ftyp", b"avif\0\0\0\0avifmif1")
_HEIC_FTYP = _box(b"ftyp", b"heic\0\0\0\0mif1heic")


def _larger_than_announced(image_format: str, **options: Any) -> bytes:
    data = encoded(Image.new("RGB", (2048, 2048), "red"), image_format, **options)
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">II", 32, 32) + data[at + 8 :]


def _looping_exif() -> bytes:
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, 8) for tag in (0x014A, 0x8769, 0x8825, 0xA005))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", 4) + entries + struct.pack("<I", 8)


def _greedy_exif() -> bytes:
    entries = b"".join(struct.pack("<HHII", tag, 7, 100_000, 8) for tag in range(5000, 15_000))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", 10_000) + entries + bytes(4)


def _divided_by_zero() -> bytes:
    entries = struct.pack("<HHII", 0x011A, 5, 1, 38) + struct.pack("<HHII", 0x0128, 3, 1, 2)
    return b"Exif\0\0II*\0\x08\0\0\0\2\0" + entries + bytes(4) + struct.pack("<II", 1, 0)


def _noise(signature: bytes, seed: int) -> bytes:
    return signature + np.random.default_rng(seed).bytes(400)


_SIGNATURES = {
    "JPEG": b"\xff\xd8\xff\xe0",
    "PNG": b"\x89PNG\r\n\x1a\n",
    "WEBP": b"RIFF\x90\1\0\0WEBPVP8 ",
    "GIF": b"GIF89a\x20\0\x20\0",
    "BMP": b"BM\x90\1\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0",
    "TIFF": b"II*\0\x08\0\0\0\x08\0",
    "AVIF": _FTYP,
    "HEIF": _HEIC_FTYP,
}

MADE: dict[str, Callable[[], bytes]] = {
    "no-bytes": lambda: b"",
    "one-byte": lambda: b"\0",
    "text": lambda: b"hello world\n" * 9,
    "svg": lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "pdf": lambda: b"%PDF-1.7\n" + image("JPEG/baseline"),
    "postscript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "zip": lambda: b"PK\3\4" + bytes(90),
    "png-idat-bomb": lambda: png(32, 32, chunk(b"IDAT", _zeros(100_000_000))),
    "png-giant": lambda: png(2**31 - 1, 2**31 - 1, idat(9, 9)),
    "png-one-column": lambda: png(1, 1_000_000, idat(1_000_000, 1)),
    "png-one-row": lambda: png(1_000_000, 1, idat(1, 1_000_000)),
    "png-ztxt-bomb": lambda: png(32, 32, chunk(b"zTXt", b"a\0\0" + _zeros(100_000_000)), idat(32, 32)),
    "png-itxt-bomb": lambda: png(32, 32, chunk(b"iTXt", b"a\0\1\0\0\0" + _zeros(100_000_000)), idat(32, 32)),
    "png-iccp-bomb": lambda: png(32, 32, chunk(b"iCCP", b"a\0\0" + _zeros(100_000_000)), idat(32, 32)),
    "png-many-ztxt": lambda: png(32, 32, chunk(b"zTXt", b"a\0\0" + _zeros(1 << 20)) * 99, idat(32, 32)),
    "png-many-iccp": lambda: png(32, 32, chunk(b"iCCP", b"a\0\0" + _zeros(1 << 20)) * 999, idat(32, 32)),
    "png-many-chunks": lambda: png(32, 32, chunk(b"prVt", b"") * 99_999, idat(32, 32)),
    "png-many-empty-idats": lambda: png(32, 32, chunk(b"IDAT", b"") * 99_999, idat(32, 32)),
    "png-nothing": lambda: png(32, 32),
    "png-pixels-first": lambda: b"\x89PNG\r\n\x1a\n" + idat(32, 32),
    "png-two-headers": lambda: png(32, 32, png(9999, 9999)[8:33], idat(32, 32)),
    "png-odd-palette": lambda: png(32, 32, chunk(b"PLTE", b"odd bytes"), idat(32, 32), colour=3),
    "png-no-palette": lambda: png(32, 32, idat(32, 32), colour=3),
    "png-long-transparency": lambda: png(32, 32, chunk(b"tRNS", bytes(9999)), idat(32, 32)),
    "png-unknown-critical": lambda: png(32, 32, chunk(b"EVIL", b"x"), idat(32, 32)),
    "png-nul-in-text": lambda: png(32, 32, chunk(b"tEXt", b"\0\0\xff"), idat(32, 32)),
    "png-frames-lie": lambda: png(32, 32, chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)), idat(32, 32)),
    "png-looping-exif": lambda: _with_exif(_looping_exif()),
    "png-greedy-exif": lambda: _with_exif(_greedy_exif()),
    "png-random-exif": lambda: _with_exif(_noise(b"II*\0\x08\0\0\0", 1)),
    "gif-no-frame": lambda: b"GIF89a" + struct.pack("<HHBBB", 32, 32, 0, 0, 0) + b";",
    "gif-frame-outside": lambda: _gif((30, 30, 32, 32)),
    "gif-frame-far-outside": lambda: _gif((65_535, 65_535, 65_535, 65_535)),
    "gif-giant-frame-to-be-cleared": lambda: _gif((0, 0, 65_535, 65_535), before=b"!\xf9\4\x08\0\0\0\0"),
    "gif-giant-frame-to-be-kept": lambda: _gif((0, 0, 65_535, 65_535), before=b"!\xf9\4\x0d\0\0\0\0"),
    "gif-frame-without-area": lambda: _gif((0, 0, 0, 0)),
    "gif-screen-without-area": lambda: _gif((0, 0, 4, 4), screen=0),
    **{
        f"gif-code-size-{bits}": (lambda bits=bits: _gif((0, 0, 4, 4), code_size=bits))
        for bits in (0, 1, 9, 12, 13, 255)
    },
    "gif-many-comments": lambda: _gif((0, 0, 4, 4), before=b"!\xfe\1a\0" * 200_000),
    "gif-long-comment": lambda: _gif((0, 0, 4, 4), before=b"!\xfe" + b"\1a" * 500_000 + b"\0"),
    "gif-junk": lambda: _gif((0, 0, 4, 4), before=b"Z" * 1_000_001),
    "gif-many-frames": lambda: animation("GIF", 300),
    "gif-empty-control": lambda: _gif((0, 0, 4, 4), before=b"!\xf9\0"),
    "gif-short-control": lambda: _gif((0, 0, 4, 4), before=b"!\xf9\1\xff\0"),
    "bmp-rle-delta": lambda: bmp(1_000_000, 1, 8, 1, b"\0\2\xff\xff"),
    "bmp-rle-empty-rows": lambda: bmp(1000, 1000, 8, 1, b"\1a\0\0" * 1000),
    "bmp-rle-idle": lambda: bmp(1000, 1000, 8, 1, b"\0\2\0\0" * 100_000),
    "bmp-rle4-absolute": lambda: bmp(1000, 1000, 4, 2, (b"\0\xfc" + b"\x12" * 126) * 4000),
    "bmp-most-negative-height": lambda: bmp(1, -(2**31), 24, 0, bytes(9)),
    "bmp-embeds-a-jpeg": lambda: bmp(40, 32, 24, 4, image("JPEG/baseline")),
    "bmp-embeds-a-png": lambda: bmp(40, 32, 24, 5, image("PNG/rgb")),
    "jpeg-as-many-scans-as-allowed": lambda: _scans(91),
    "jpeg-more-scans-than-allowed": lambda: _scans(92),
    "jpeg-empty-scans": _large_jpeg_of_empty_scans,
    "jpeg-many-segments": lambda: _jpeg_with(b"\xff\xe5\0\2" * 300_000),
    "jpeg-many-comments": lambda: _jpeg_with(_segment(0xFE, b"x") * 90_000),
    "jpeg-many-profiles": lambda: _jpeg_with(_segment(0xE2, b"ICC_PROFILE\0\1\1x") * 60_000),
    "jpeg-many-exifs": lambda: _jpeg_with(_segment(0xE1, b"Exif\0\0" + _greedy_exif()[:60_000]) * 20),
    "jpeg-fill-bytes": lambda: _jpeg_with(b"\xff" * 1_500_000),
    "jpeg-restarts": lambda: image("JPEG/baseline")[:-2] + b"\xff\xd0" * 500_000,
    "jpeg-two-frames": lambda: _jpeg_with(_segment(0xC0, struct.pack(">BHHB", 8, 9999, 9999, 1) + b"\1\x11\0")),
    "jpeg-no-frame": lambda: b"\xff\xd8" + image("JPEG/baseline")[image("JPEG/baseline").index(b"\xff\xda") :],
    "jpeg-unknown-length": lambda: _jpeg_with(_segment(0xC0, struct.pack(">BHHB", 8, 0, 32, 1) + b"\1\x11\0")),
    "jpeg-arithmetic": lambda: image("JPEG/baseline").replace(b"\xff\xc0", b"\xff\xc9"),
    "jpeg-lossless": lambda: image("JPEG/baseline").replace(b"\xff\xc0", b"\xff\xc3"),
    "jpeg-overfull-table": lambda: _jpeg_with(_segment(0xC4, b"\0" + b"\xff" * 16 + bytes(255 * 16))),
    "jpeg-broken-photoshop": lambda: _jpeg_with(_segment(0xED, b"Photoshop 3.0\x008BIM\4\4\xff\xff\xff\xff\xff\xff")),
    "jpeg-broken-adobe": lambda: _jpeg_with(_segment(0xEE, b"Adobe\0\x64\0\0")),
    "jpeg-short-jfif": lambda: _jpeg_with(_segment(0xE0, b"JFIF\0\1")),
    "jpeg-looping-exif": lambda: _jpeg_with(_segment(0xE1, b"Exif\0\0" + _looping_exif())),
    "jpeg-resolution-by-zero": lambda: encoded(picture(), "JPEG", exif=_divided_by_zero()),
    **{f"mpo-of-{count}": (lambda count=count: _mpo(count)) for count in (0, 1, 2, 65_535, 2**31 - 1, 2**32 - 1)},
    "mpo-empty": lambda: _jpeg_with(_segment(0xE2, b"MPF\0II*\0\x08\0\0\0\0\0\0\0\0\0")),
    "mpo-cut": lambda: _jpeg_with(_segment(0xE2, b"MPF\0II*")),
    "tiff-next-is-itself": lambda: tiff(grey(**one_strip(1024)), bytes(1024), next_at=8 + 1024),
    "tiff-next-is-beyond": lambda: tiff(grey(**one_strip(1024)), bytes(1024), next_at=2**32 - 1),
    "tiff-directory-is-the-header": lambda: b"II*\0" + bytes(4) + bytes(90),
    "tiff-directory-loops": lambda: tiff(
        grey(**one_strip(1024), t330=(LONG, 1, 1032), t34665=(LONG, 1, 1032), t34853=(LONG, 1, 1032)), bytes(1024)
    ),
    "tiff-directories-in-a-ring": lambda: tiff(
        grey(**one_strip(1024), t34665=(LONG, 1, 8)), struct.pack("<HHHIII", 1, 34665, 4, 1, 8, 8).ljust(1024, b"\0")
    ),
    "tiff-all-entries": lambda: tiff(
        grey(**one_strip(1024)) | dict.fromkeys(range(1000, 40000), (SHORT, 1, 5)), bytes(1024)
    ),
    "tiff-many-strips": lambda: tiff(
        grey(t273=(LONG, 900_000, 8), t278=(LONG, 1, 1), t279=(LONG, 900_000, 8)), struct.pack("<I", 8) * 900_000
    ),
    "tiff-many-strips-within-the-limit": lambda: tiff(
        grey(t273=(LONG, 90_000, 8), t278=(LONG, 1, 1), t279=(LONG, 90_000, 8)), struct.pack("<I", 8) * 90_000
    ),
    "tiff-strip-count-absurd": lambda: tiff(grey(t273=(LONG, 2**32 - 1, 8), t279=(LONG, 2**32 - 1, 8))),
    "tiff-strip-bytes-absurd": lambda: tiff(grey(**one_strip(2**32 - 1)), bytes(1024)),
    "tiff-deflated-strip-bytes-absurd": lambda: tiff(grey(compression=8, **one_strip(2**32 - 1)), _zeros(1024)),
    "tiff-rows-absurd": lambda: tiff(grey(compression=8, **one_strip(99, height=2**32 - 1)), _zeros(1024)),
    "tiff-strip-bomb": lambda: tiff(grey(compression=8, **one_strip(100_000)), _zeros(100_000_000)),
    "tiff-large-tile": lambda: tiff(grey(compression=8, **one_tile(400_000, 46_336)), _zeros(400_000_000)),
    "tiff-large-lzw-tile": lambda: tiff(grey(compression=5, **one_tile(900, 16_384)), b"\x80" + bytes(999)),
    "tiff-tile-without-area": lambda: tiff(grey(compression=8, **one_tile(99, 0)), _zeros(1024)),
    "tiff-samples-absurd": lambda: tiff(grey(**one_strip(1024), t277=(LONG, 1, 2**31)), bytes(1024)),
    "tiff-bits-absurd": lambda: tiff(grey(**one_strip(1024), t258=(SHORT, 300_000, 8)), bytes(700_000)),
    "tiff-width-as-text": lambda: tiff(grey(**one_strip(1024), t256=(2, 4, 0x20202020)), bytes(1024)),
    "tiff-width-as-fraction": lambda: tiff(grey(**one_strip(1024), t256=(5, 1, 8)), bytes(1024)),
    "tiff-compression-unknown": lambda: tiff(grey(compression=65_000, **one_strip(1024)), bytes(1024)),
    **{
        f"tiff-compression-{code}": (lambda code=code: tiff(grey(compression=code, **one_strip(1024)), bytes(1024)))
        for code in (2, 3, 4, 5, 6, 7, 8, 32_771, 32_773, 32_809, 32_946, 34_676, 34_925, 50_000, 50_001)
    },
    "bigtiff-offsets-absurd": lambda: b"II+\0\x08\0\0\0" + b"\xff" * 90,
    "bigtiff-entries-absurd": lambda: b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0" + b"\xff" * 90,
    "bigtiff-big-endian": lambda: b"MM\0+\0\x08\0\0" + bytes(7) + b"\x10" + bytes(90),
    "webp-giant-canvas": lambda: _riff(_canvas(65_535), (b"VP8L", _vp8l())),
    "webp-canvas-beyond": lambda: _riff(_canvas(1 << 24), (b"VP8L", _vp8l())),
    "webp-canvas-is-not-the-image": lambda: _riff(_canvas(32), (b"VP8L", _vp8l())),
    "webp-no-image": lambda: _riff(_canvas(32)),
    "webp-many-chunks": lambda: _riff(_canvas(40), *[(b"XXXX", b"")] * 90_000, (b"VP8L", _vp8l())),
    "webp-many-frames": lambda: animation("WEBP", 300),
    "webp-broken-exif": lambda: _riff(_canvas(40, 8), (b"VP8L", _vp8l()), (b"EXIF", _greedy_exif())),
    "webp-riff-of-nothing": lambda: b"RIFF\0\0\0\0WEBP" + image("WEBP/lossless")[12:],
    "avif-type-alone": lambda: _FTYP,
    "avif-endless-box": lambda: _FTYP + _box(b"meta", bytes(90), length=0),
    "avif-64-bit-box": lambda: _FTYP + _box(b"meta", b"\x7f" + b"\xff" * 7 + bytes(90), length=1),
    "avif-many-boxes": lambda: _FTYP + _box(b"free", b"") * 90_000,
    "avif-nested-boxes": lambda: _FTYP + b"".join(_box(b"meta", bytes(4), length=8 * (9999 - n)) for n in range(9999)),
    "avif-many-frames": lambda: animation("AVIF", 100, speed=10),
    "avif-holds-a-larger-one": lambda: _larger_than_announced("AVIF", speed=10),
    "heic-holds-a-larger-one": lambda: _larger_than_announced("HEIF"),
    "heic-type-alone": lambda: _HEIC_FTYP,
    "heic-many-boxes": lambda: _HEIC_FTYP + _box(b"free", b"") * 90_000,
    "heic-nested-boxes": lambda: (
        _HEIC_FTYP + b"".join(_box(b"meta", bytes(4), length=8 * (999 - n)) for n in range(999))
    ),
    "heic-brand-on-an-avif": lambda: _HEIC_FTYP + image("AVIF/colour")[len(_FTYP) :],
    "both-bmp-and-avif": lambda: b"BM\0\x20ftypavif" + image("AVIF/colour")[12:],
    "both-gif-and-jpeg": lambda: b"GIF89a" + image("JPEG/baseline"),
    "both-jpeg-and-html": lambda: _jpeg_with(_segment(0xFE, b"<html><script>alert(1)</script>")),
    "both-jpeg-and-png": lambda: _jpeg_with(_segment(0xE9, image("PNG/rgb")[:9000])),
    "both-jpeg-and-zip": lambda: image("JPEG/baseline") + b"PK\3\4" + bytes(90) + b"PK\5\6" + bytes(18),
    "both-png-and-tiff": lambda: image("PNG/rgb") + image("TIFF/raw"),
    **{
        f"noise-{name}-{seed}": (lambda name=name, seed=seed: _noise(_SIGNATURES[name], seed))
        for name in _SIGNATURES
        for seed in range(20)
    },
}
