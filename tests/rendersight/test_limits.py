"""Small files that would cost far more than their pixels are refused, and what only looks like them is not."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from rendersight import limits
from rendersight.images import BrokenImage, decode

GREY = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))


def encode(image: Image.Image, name: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def jpeg_of(scans: int, *, between: bytes = b"") -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    data = encode(GREY, "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + (data[last:-2] + between) * (scans - data.count(b"\xff\xda") + 1) + b"\xff\xd9"


class TestJpeg:
    def test_a_hundred_scans_are_read(self) -> None:
        assert decode(jpeg_of(100)).shape == (16, 16, 3)

    @pytest.mark.parametrize("between", [b"", b"\xff\xff\xff", b"junk", b"\xff\xfe\0\4\xff\xd9"])
    def test_one_more_is_refused_whatever_stands_between(self, between: bytes) -> None:
        with pytest.raises(BrokenImage, match="the JPEG has more than 100 scans"):
            decode(jpeg_of(101, between=between))

    def test_a_progressive_photo_has_a_tenth_of_it(self) -> None:
        data = encode(GREY.convert("RGB"), "JPEG", progressive=True)
        assert data.count(b"\xff\xda") == 10
        assert decode(data).shape == (16, 16, 3)

    @pytest.mark.parametrize("where", ["a comment", "behind the end"])
    def test_what_looks_like_a_scan_elsewhere_does_not_count(self, where: str) -> None:
        data, many = encode(GREY, "JPEG"), b"\xff\xda" * 1000
        full = {"a comment": data[:2] + b"\xff\xfe" + struct.pack(">H", 2002) + many + data[2:]}
        np.testing.assert_array_equal(decode(full.get(where, data + many)), decode(data))

    def test_markers_are_counted_up_to_a_limit(self) -> None:
        data = encode(GREY, "JPEG")
        comments = data[:2] + b"\xff\xfe\0\2" * 200_000 + data[2:]
        assert limits.exceeded(comments, "JPEG", max_pixels=None) == "the JPEG has more than 100000 markers, the limit"

    @pytest.mark.parametrize("end", range(2, 40))
    def test_a_cut_one_is_left_to_the_decoder(self, end: int) -> None:
        assert limits.exceeded(jpeg_of(10)[:end], "JPEG", max_pixels=None) is None


def png_with(profiles: int) -> bytes:
    data = encode(GREY, "PNG")
    body = b"iCCP" + b"x\0\0" + zlib.compress(bytes(100))
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:33] + chunk * profiles + data[33:]


def test_a_png_has_at_most_a_hundred_colour_profiles() -> None:
    np.testing.assert_array_equal(decode(png_with(100)), decode(encode(GREY, "PNG")))
    with pytest.raises(BrokenImage, match="the PNG has 101 colour profiles, the limit is 100"):
        decode(png_with(101))


def bmp(width: int, height: int, compression: int, header: int = 40) -> bytes:
    return b"BM" + bytes(12) + struct.pack("<IiiHHI", header, width, height, 1, 8, compression) + bytes(60)


@pytest.mark.parametrize("compression", [1, 2])
@pytest.mark.parametrize("height", [2001, -2001])
def test_a_run_length_encoded_bmp_has_a_limit_of_its_own(height: int, compression: int) -> None:
    with pytest.raises(BrokenImage, match="the run-length encoded BMP has 10005000 px, the limit is 10000000"):
        decode(bmp(5000, height, compression))
    for other in (bmp(5000, 2000, compression), bmp(5000, height, 0), bmp(5000, height, 3), bmp(5000, height, 1, 12)):
        assert limits.exceeded(other, "BMP", max_pixels=None) is None
    assert limits.exceeded(b"BM", "BMP", max_pixels=None) is None


def tiff(*entries: tuple[int, int, int, int], order: str = "<", big: bool = False, after: bytes = b"") -> bytes:
    """A TIFF's header and directory; an entry is tag, type, count and what stands in its field, as a LONG or LONG8."""
    mark = b"II" if order == "<" else b"MM"
    if big:
        head = mark + struct.pack(order + "HHHQQ", 43, 8, 0, 16, len(entries))
        return head + b"".join(struct.pack(order + "HHQQ", *entry) for entry in entries) + after
    head = mark + struct.pack(order + "HIH", 42, 8, len(entries))
    return head + b"".join(struct.pack(order + "HHII", *entry) for entry in entries) + after


SHORT, LONG, LONG8 = 3, 4, 16


class TestTiff:
    @pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])
    @pytest.mark.parametrize("tag", [273, 324])
    def test_strips_and_tiles_are_counted(self, tag: int, order: str, big: bool) -> None:
        many = tiff((tag, LONG, 200_001, 8), order=order, big=big)
        assert limits.exceeded(many, "TIFF", max_pixels=1) == "the TIFF has 200001 strips or tiles, the limit is 200000"
        assert limits.exceeded(tiff((tag, LONG, 200_000, 8), order=order, big=big), "TIFF", max_pixels=1) is None

    @pytest.mark.parametrize("big", [False, True])
    @pytest.mark.parametrize("kind", [SHORT, LONG])
    def test_a_tile_is_held_to_the_pixel_limit(self, kind: int, big: bool) -> None:
        tiled = tiff((322, kind, 1, 100), (323, kind, 1, 200), big=big)
        assert limits.exceeded(tiled, "TIFF", max_pixels=20_000) is None
        assert limits.exceeded(tiled, "TIFF", max_pixels=None) is None
        assert (
            limits.exceeded(tiled, "TIFF", max_pixels=19_999) == "a tile of the TIFF has 20000 px, the limit is 19999"
        )

    def test_of_a_side_that_is_given_twice_the_larger_counts(self) -> None:
        for sides in ((16, 5000), (5000, 16)):
            data = tiff(*((322, LONG, 1, side) for side in sides), (323, LONG, 1, 10))
            assert limits.exceeded(data, "TIFF", max_pixels=49_999) is not None

    def test_a_side_that_does_not_fit_its_field_stands_elsewhere(self) -> None:
        data = tiff((322, LONG8, 1, 34), (323, LONG, 1, 10), after=struct.pack("<Q", 5000))
        assert limits.exceeded(data, "TIFF", max_pixels=49_999) == "a tile of the TIFF has 50000 px, the limit is 49999"

    def test_it_ends_where_the_file_ends(self) -> None:
        data = tiff((322, LONG, 1, 100), (323, LONG8, 1, 2**32 - 1), (324, LONG, 1, 8))
        for end in range(4, len(data)):
            assert limits.exceeded(data[:end], "TIFF", max_pixels=1) is None
        assert limits.exceeded(b"II+\0" + b"\xff" * 100, "TIFF", max_pixels=1) is None

    def test_a_small_file_with_a_large_tile_is_refused_before_it_is_decoded(self) -> None:
        grey = [(256, LONG, 1, 16), (257, LONG, 1, 16), (258, SHORT, 1, 8), (259, SHORT, 1, 8), (262, SHORT, 1, 1)]
        pixels = zlib.compress(bytes(10_000_000))

        def tiled(side: int) -> bytes:
            tile = [(322, LONG, 1, side), (323, LONG, 1, side), (324, LONG, 1, 122), (325, LONG, 1, len(pixels))]
            return tiff(*grey, *tile, after=bytes(4) + pixels)

        assert decode(tiled(32), max_pixels=1024).shape == (16, 16, 3)
        with pytest.raises(BrokenImage, match="a tile of the TIFF has 2147024896 px, the limit is 50000000"):
            decode(tiled(46_336), max_pixels=50_000_000)
