"""Uploads that mean harm: small images of every format, cut, changed, lying in their headers, and made to do damage.

A case is known by its name, from which `build` makes the same bytes again: `JPEG/progressive/flip-12`. Nothing is
stored. The formats' fields: ITU T.81, RFC 2083 and the APNG specification, RFC 9649 (WebP), GIF89a, TIFF 6.0, MP-CIPA
DC-007, and ISO/IEC 14496-12 for the boxes of AVIF and HEIF.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from tests.app.corpus_made import MADE
from tests.app.corpus_sound import VARIANTS, image

CUTS = 16
FLIPS = 64
SPLICES = 8
LIES = (0, 1, 65_535, 2**31 - 1, -1)  # cut to the field's width
_MOST_CHANGED_BYTES = 8

Order = Literal["big", "little"]


def names() -> list[str]:
    """Return the names of all cases."""
    found = [f"made/{name}" for name in MADE]
    for variant in VARIANTS:
        found.append(f"{variant}/whole")
        found += [f"{variant}/cut-{index}" for index in range(CUTS)]
        found += [f"{variant}/flip-{seed}" for seed in range(FLIPS)]
        found += [f"{variant}/splice-{seed}" for seed in range(SPLICES)]
        found += [f"{variant}/{field.name}={lie}" for field in _fields(variant) for lie in LIES]
    return found


def build(name: str) -> bytes:
    """Return the bytes of a case."""
    variant, _, change = name.rpartition("/")
    if variant == "made":
        return MADE[change]()
    data = image(variant)
    kind, _, number = change.partition("-")
    match kind:
        case "whole":
            return data
        case "cut":
            return data[: len(data) * int(number) // CUTS]
        case "flip":
            return _flipped(data, random_of(name), mend=int(number) % 2 == 0)
        case "splice":
            return _spliced(data, random_of(name))
    field_name, _, lie = change.rpartition("=")
    field = next(field for field in _fields(variant) if field.name == field_name)
    changed = bytearray(data)
    value = int(lie) & (1 << 8 * field.size) - 1
    changed[field.at : field.at + field.size] = value.to_bytes(field.size, field.order)
    return _mended(bytes(changed)) if field.is_summed else bytes(changed)


def random_of(name: str) -> np.random.Generator:
    """Return the random numbers of a case."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def _flipped(data: bytes, random: np.random.Generator, *, mend: bool) -> bytes:
    """Change a few bytes, most of them in the first half, where headers are."""
    changed = bytearray(data)
    for _ in range(random.integers(1, _MOST_CHANGED_BYTES + 1)):
        changed[int(len(data) * random.random() ** 2)] = random.integers(256)
    return _mended(bytes(changed)) if mend else bytes(changed)


def _spliced(data: bytes, random: np.random.Generator) -> bytes:
    """Drop, repeat or move a piece, or go on with another image."""
    start, end = sorted(random.integers(0, len(data), 2).tolist())
    other = image(list(VARIANTS)[random.integers(len(VARIANTS))])
    pieces = (
        [data[:start], data[end:]],
        [data[:end], data[start:]],
        [data[:start], data[end:], data[start:end]],
        [data[:end], other[random.integers(len(other)) :]],
        [data[:start], other, data[start:]],
    )
    return b"".join(pieces[random.integers(len(pieces))])


def _mended(data: bytes) -> bytes:
    """Give each chunk of a PNG the checksum of what it now holds; what is no PNG stays."""
    if not data.startswith(b"\x89PNG"):
        return data
    mended, at = bytearray(data), 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            break
        mended[end : end + 4] = struct.pack(">I", zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return bytes(mended)


@dataclass(frozen=True)
class _Field:
    """A whole number in a file: where it is, and whether a checksum covers it."""

    name: str
    at: int
    size: int
    order: Order
    is_summed: bool = False


@cache
def _fields(variant: str) -> tuple[_Field, ...]:
    """Return the numbers of a sound image that a header may lie about."""
    return tuple(_FIELDS[variant.partition("/")[0]](image(variant)))


def _jpeg_fields(data: bytes) -> Iterator[_Field]:
    at = 2
    while data[at + 1] != 0xDA:
        code = data[at + 1]
        yield _Field(f"length-{code:x}-at-{at}", at + 2, 2, "big")
        if code in (0xC0, 0xC1, 0xC2):
            sides = [("precision", 4, 1), ("height", 5, 2), ("width", 7, 2), ("components", 9, 1), ("sampling", 11, 1)]
            yield from (_Field(name, at + offset, size, "big") for name, offset, size in sides)
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    yield _Field("scan-length", at + 2, 2, "big")
    yield _Field("scan-components", at + 4, 1, "big")


def _png_fields(data: bytes) -> Iterator[_Field]:
    for name, at, size in [
        ("width", 16, 4),
        ("height", 20, 4),
        ("bits", 24, 1),
        ("colour", 25, 1),
        ("interlace", 28, 1),
    ]:
        yield _Field(name, at, size, "big", is_summed=True)
    at = 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8].decode()
        yield _Field(f"length-{kind}-at-{at}", at, 4, "big")
        yield _Field(f"checksum-{kind}-at-{at}", at + 8 + length, 4, "big")
        if kind in ("acTL", "fcTL"):
            yield from (
                _Field(f"{kind}-{at}-{n}", at + 8 + 4 * n, 4, "big", is_summed=True) for n in range(length // 4)
            )
        at += 12 + length


def _webp_fields(data: bytes) -> Iterator[_Field]:
    yield _Field("riff-length", 4, 4, "little")
    at = 12
    while at < len(data):
        kind, length = data[at : at + 4].decode(), int.from_bytes(data[at + 4 : at + 8], "little")
        yield _Field(f"length-{kind.strip()}-at-{at}", at + 4, 4, "little")
        sides = {"VP8 ": (14, 16, 2), "VP8L": (9, 11, 2), "VP8X": (12, 15, 3), "ANMF": (14, 17, 3)}.get(kind)
        if sides is not None:
            yield from (_Field(f"side-{at + side}", at + side, sides[2], "little") for side in sides[:2])
        if kind == "ANMF":
            yield from (_Field(f"frame-{at + 8 + n}", at + 8 + n, 3, "little") for n in (0, 3))
        at += 8 + length + length % 2


def _gif_fields(data: bytes) -> Iterator[_Field]:
    frame = data.index(b",", 13 + (3 << (data[10] & 7) + 1 if data[10] & 128 else 0))
    screen = [("screen-width", 6), ("screen-height", 8)]
    sides = [("left", frame + 1), ("top", frame + 3), ("width", frame + 5), ("height", frame + 7)]
    yield from (_Field(name, at, 2, "little") for name, at in screen + sides)
    yield from (_Field(name, at, 1, "little") for name, at in [("flags", 10), ("frame-flags", frame + 9)])
    yield from (_Field(f"byte-{at}", at, 1, "little") for at in (frame + 10, frame + 11))


def _bmp_fields(data: bytes) -> Iterator[_Field]:
    layout = [("file-size", 2, 4), ("start", 10, 4), ("header-size", 14, 4), ("width", 18, 4), ("height", 22, 4)]
    layout += [("planes", 26, 2), ("bits", 28, 2), ("compression", 30, 4), ("size", 34, 4), ("colours", 46, 4)]
    yield from (_Field(name, at, size, "little") for name, at, size in layout)


def _tiff_fields(data: bytes) -> Iterator[_Field]:
    is_big = data[2] == 43
    size, head = (8, 8) if is_big else (4, 2)
    start = int.from_bytes(data[8:16] if is_big else data[4:8], "little")
    yield _Field("directory", 8 if is_big else 4, size, "little")
    yield _Field("entries", start, head, "little")
    entries = int.from_bytes(data[start : start + head], "little")
    for index in range(entries):
        at = start + head + index * (4 + 2 * size)
        tag = int.from_bytes(data[at : at + 2], "little")
        yield _Field(f"type-{tag}", at + 2, 2, "little")
        yield _Field(f"count-{tag}", at + 4, size, "little")
        yield _Field(f"value-{tag}", at + 4 + size, size, "little")
    yield _Field("next", start + head + entries * (4 + 2 * size), size, "little")


def _box_fields(data: bytes) -> Iterator[_Field]:
    for kind in (
        b"ftyp",
        b"meta",
        b"iloc",
        b"iinf",
        b"iref",
        b"iprp",
        b"ipco",
        b"hvcC",
        b"ipma",
        b"mdat",
        b"moov",
        b"trak",
        b"stsz",
        b"stco",
    ):
        at = data.find(kind)
        if at > 0:
            yield _Field(f"length-{kind.decode()}", at - 4, 4, "big")
            yield from (_Field(f"{kind.decode()}-{n}", at + n, 4, "big") for n in (8, 12, 16))
    at = data.find(b"ispe")
    while at > 0:
        yield _Field(f"width-at-{at}", at + 8, 4, "big")
        yield _Field(f"height-at-{at}", at + 12, 4, "big")
        at = data.find(b"ispe", at + 1)


_FIELDS: dict[str, Callable[[bytes], Iterator[_Field]]] = {
    "JPEG": _jpeg_fields,
    "PNG": _png_fields,
    "WEBP": _webp_fields,
    "GIF": _gif_fields,
    "BMP": _bmp_fields,
    "TIFF": _tiff_fields,
    "AVIF": _box_fields,
    "HEIF": _box_fields,
}
