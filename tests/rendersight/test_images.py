"""Bytes -> upright RGB, within limits, and nothing but `ImageError` for bytes that are no picture."""

import struct
import subprocess
import sys
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from rendersight import images
from rendersight.images import (
    WEB_FORMATS,
    BrokenImage,
    ImageError,
    ImageTooLarge,
    RgbImage,
    UnknownImageFormat,
    decode,
    read,
    sniff,
)

ORIENTATION = 0x0112
JPEG_ERROR = 12  # 8-bit steps that a good JPEG of a smooth picture may be off


def picture(height: int = 24, width: int = 40) -> RgbImage:
    """A smooth picture that is like none of its mirror images."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 / width, y * 255 / height, (x + 2 * y) * 80 / (width + height)], axis=2).astype(np.uint8)


def encode(image: RgbImage | Image.Image, name: str, **options: object) -> bytes:
    buffer = BytesIO()
    source = image if isinstance(image, Image.Image) else Image.fromarray(image)
    if name == "HEIF":  # is not registered with Pillow
        pillow_heif.from_pillow(source).save(buffer, **options)
    else:
        source.save(buffer, name, **options)
    return buffer.getvalue()


def from_pixels(mode: str, *rows: list[object]) -> Image.Image:
    image = Image.new(mode, (len(rows[0]), len(rows)))
    for y, row in enumerate(rows):
        for x, value in enumerate(row):
            image.putpixel((x, y), value)  # type: ignore[arg-type]
    return image


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


class TestFormats:
    def test_the_service_takes_the_eight_formats(self) -> None:
        assert WEB_FORMATS == ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "HEIF")

    @pytest.mark.parametrize("name", ["PNG", "BMP", "TIFF"])
    def test_lossless_formats_give_the_very_pixels(self, name: str) -> None:
        decoded = decode(encode(picture(), name))
        assert decoded.dtype == np.uint8
        np.testing.assert_array_equal(decoded, picture())

    def test_lossless_webp_gives_the_very_pixels(self) -> None:
        np.testing.assert_array_equal(decode(encode(picture(), "WEBP", lossless=True)), picture())

    @pytest.mark.parametrize("name", ["JPEG", "WEBP", "AVIF"])
    def test_lossy_formats_give_nearly_the_pixels(self, name: str) -> None:
        decoded = decode(encode(picture(), name, quality=95))
        assert decoded.shape == (24, 40, 3)
        assert np.abs(decoded.astype(int) - picture()).mean() < JPEG_ERROR / 4

    def test_of_an_animated_gif_the_first_frame_counts(self) -> None:
        first, second = Image.new("RGB", (6, 4), "red"), Image.new("RGB", (6, 4), "blue")
        data = encode(first, "GIF", save_all=True, append_images=[second])
        np.testing.assert_array_equal(decode(data), np.full((4, 6, 3), (255, 0, 0), np.uint8))

    @pytest.mark.parametrize("name", WEB_FORMATS)
    def test_sniff_names_the_format_by_its_first_bytes(self, name: str) -> None:
        assert sniff(encode(picture(), name)[:64]) == name

    @pytest.mark.parametrize(
        "data", [b"", b"\xff\xd8", b"hello world", b"%PDF-1.7", b"RIFF\0\0\0\0WAVE", b"<svg/>", b"MM\0+"]
    )
    def test_no_signature_is_an_unknown_format(self, data: bytes) -> None:
        assert sniff(data) is None
        with pytest.raises(UnknownImageFormat, match="no signature of JPEG, PNG"):
            decode(data)

    def test_a_format_that_is_not_accepted_is_unknown(self) -> None:
        with pytest.raises(UnknownImageFormat):
            decode(encode(picture(), "PPM"))
        with pytest.raises(UnknownImageFormat, match="no signature of PNG;"):
            decode(encode(picture(), "JPEG"), formats=("PNG",))

    def test_without_a_list_whatever_pillow_reads_is_accepted(self) -> None:
        np.testing.assert_array_equal(decode(encode(picture(), "PPM"), formats=None), picture())
        with pytest.raises(UnknownImageFormat):
            decode(b"hello world", formats=None)

    def test_the_result_may_be_written_to(self) -> None:
        decoded = decode(encode(picture(), "PNG"))
        decoded[0, 0] = 7
        assert decoded.flags.c_contiguous


class TestModes:
    def test_grey_is_expanded(self) -> None:
        assert decode(encode(from_pixels("L", [0, 100, 255]), "PNG")).tolist() == [[[0] * 3, [100] * 3, [255] * 3]]

    def test_one_bit_is_black_and_white(self) -> None:
        assert decode(encode(from_pixels("1", [0, 1]), "PNG")).tolist() == [[[0] * 3, [255] * 3]]

    def test_alpha_is_laid_over_white(self) -> None:
        # 128/255 of the colour and 127/255 of white: 200 -> 227, 100 -> 177, 50 -> 152
        image = from_pixels("RGBA", [(200, 100, 50, 128), (255, 0, 0, 0), (10, 20, 30, 255)])
        assert decode(encode(image, "PNG")).tolist() == [[[227, 177, 152], [255, 255, 255], [10, 20, 30]]]

    def test_grey_with_alpha_is_laid_over_white(self) -> None:
        image = from_pixels("LA", [(100, 128), (0, 0), (0, 255)])
        assert decode(encode(image, "PNG")).tolist() == [[[177] * 3, [255] * 3, [0] * 3]]

    def test_a_palette_is_expanded(self) -> None:
        image = from_pixels("P", [0, 1, 2])
        image.putpalette([9, 8, 7, 200, 100, 50, 1, 2, 3])
        assert decode(encode(image, "PNG")).tolist() == [[[9, 8, 7], [200, 100, 50], [1, 2, 3]]]

    @pytest.mark.parametrize("transparency", [1, bytes([255, 0, 255])], ids=["one index", "alpha for each"])
    def test_a_transparent_palette_entry_is_white(self, transparency: int | bytes) -> None:
        image = from_pixels("P", [0, 1, 2])
        image.putpalette([9, 8, 7, 200, 100, 50, 1, 2, 3])
        decoded = decode(encode(image, "PNG", transparency=transparency))
        assert decoded.tolist() == [[[9, 8, 7], [255, 255, 255], [1, 2, 3]]]

    def test_a_transparent_colour_without_alpha_channel_is_white(self) -> None:
        image = from_pixels("RGB", [(10, 20, 30), (1, 2, 3)])
        assert decode(encode(image, "PNG", transparency=(10, 20, 30))).tolist() == [[[255] * 3, [1, 2, 3]]]

    def test_cmyk_is_converted(self) -> None:
        image = from_pixels("CMYK", [(0, 0, 0, 0), (0, 255, 255, 0), (0, 0, 0, 255)])
        assert decode(encode(image, "TIFF")).tolist() == [[[255] * 3, [255, 0, 0], [0] * 3]]

    def test_cmyk_jpeg_is_converted(self) -> None:
        decoded = decode(encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95))
        assert np.abs(decoded.astype(int) - (255, 0, 0)).max() <= JPEG_ERROR


def as_stored(upright: RgbImage, orientation: int) -> RgbImage:
    """Store an upright picture as TIFF 6.0, tag 274, says: which side row 0 and column 0 are."""
    rows_then_columns = {
        1: upright,  # row 0 is the top, column 0 the left side
        2: upright[:, ::-1],  # top, right
        3: upright[::-1, ::-1],  # bottom, right
        4: upright[::-1],  # bottom, left
        5: upright.swapaxes(0, 1),  # left, top
        6: upright[:, ::-1].swapaxes(0, 1),  # right, top
        7: upright[::-1, ::-1].swapaxes(0, 1),  # right, bottom
        8: upright[::-1].swapaxes(0, 1),  # left, bottom
    }
    return np.ascontiguousarray(rows_then_columns[orientation])


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("name", ["PNG", "TIFF", "WEBP"])
    def test_lossless_pictures_come_out_upright(self, name: str, orientation: int) -> None:
        options: dict[str, object] = {"lossless": True} if name == "WEBP" else {}
        data = encode(as_stored(picture(), orientation), name, exif=exif_of(orientation), **options)
        np.testing.assert_array_equal(decode(data), picture())
        assert images.size_of(data) == (40, 24)

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("name", ["JPEG", "AVIF"])
    def test_lossy_pictures_come_out_upright(self, name: str, orientation: int) -> None:
        data = encode(as_stored(picture(), orientation), name, exif=exif_of(orientation), quality=95)
        decoded = decode(data)
        assert decoded.shape == (24, 40, 3)
        assert images.size_of(data) == (40, 24)
        assert np.abs(decoded.astype(int) - picture()).mean() < JPEG_ERROR / 4

    def test_a_compressed_tiff_comes_out_upright(self) -> None:
        data = encode(as_stored(picture(), 6), "TIFF", exif=exif_of(6), compression="tiff_lzw")
        np.testing.assert_array_equal(decode(data), picture())

    def test_it_can_be_left_as_stored(self) -> None:
        stored = as_stored(picture(), 6)
        data = encode(stored, "PNG", exif=exif_of(6))
        np.testing.assert_array_equal(decode(data, apply_exif=False), stored)
        assert images.size_of(data, apply_exif=False) == (24, 40)

    @pytest.mark.parametrize("orientation", [0, 9, 65535])
    def test_an_orientation_that_does_not_exist_turns_nothing(self, orientation: int) -> None:
        data = encode(picture(), "PNG", exif=exif_of(orientation))
        np.testing.assert_array_equal(decode(data), picture())

    @pytest.mark.parametrize(
        "block",
        [
            b"no TIFF header at all",
            b"II*\0\x08\0\0\0",  # ends before its directory
            b"II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0\xff\xff\0\0\xff\xff\xff\x7f" * 3,  # tags beyond the end
            b"II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, ORIENTATION, 2, 6, 26, 0) + b"upside",  # text for a number
        ],
        ids=["no header", "no directory", "tags beyond the end", "text"],
    )
    @pytest.mark.parametrize("name", ["JPEG", "PNG"])
    def test_a_broken_exif_block_neither_spoils_the_pixels_nor_warns(self, name: str, block: bytes) -> None:
        images.configure_pillow()
        expected = decode(encode(picture(), name))
        np.testing.assert_array_equal(decode(encode(picture(), name, exif=b"Exif\0\0" + block)), expected)


SIDE = 40_000  # 1.6 gigapixels

GIANTS = {
    "PNG": b"\x89PNG\r\n\x1a\n"
    + png_chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0))
    + png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    + png_chunk(b"IEND", b""),
    "GIF": b"GIF89a"
    + struct.pack("<HHBBB", SIDE, SIDE, 0, 0, 0)  # the screen
    + b","
    + struct.pack("<HHHHB", 0, 0, SIDE, SIDE, 0)  # the frame
    + b"\x08",
    "GIF, its frame to be cleared": b"GIF89a"
    + struct.pack("<HHBBB", 8, 8, 0, 0, 0)
    + b"!\xf9\4\x08\0\0\0\0"  # the disposal: to the background
    + b","
    + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0)
    + b"\x08",
    "BMP": b"BM"
    + struct.pack("<IHHI", 1054, 0, 0, 54)
    + struct.pack("<IiiHHIIiiII", 40, SIDE, -SIDE, 1, 24, 0, 1000, 0, 0, 0, 0),
    "WEBP": b"RIFF"
    + struct.pack("<I", 30)
    + b"WEBPVP8L"
    + struct.pack("<IBI", 18, 0x2F, 16_382 | 16_382 << 14)  # the most that WebP can say, 268 megapixels
    + bytes(13),
    "WEBP, its canvas": b"RIFF"
    + struct.pack("<I", 52)
    + b"WEBPVP8X"
    + struct.pack("<II", 10, 0)
    + (SIDE - 1).to_bytes(3, "little") * 2
    + b"VP8L"
    + struct.pack("<IBI", 18, 0x2F, SIDE - 1)
    + bytes(13),
}


class TestPixelLimit:
    def test_the_limit_itself_is_allowed(self) -> None:
        assert decode(encode(picture(), "PNG"), max_pixels=960).shape == (24, 40, 3)

    def test_one_pixel_more_is_refused_with_both_numbers(self) -> None:
        with pytest.raises(ImageTooLarge, match="image has 960 px, the limit is 959"):
            decode(encode(picture(), "PNG"), max_pixels=959)

    def test_a_turned_tiff_is_held_to_the_same_limit(self) -> None:
        with pytest.raises(ImageTooLarge, match="960"):
            decode(encode(picture(), "TIFF", exif=exif_of(6)), max_pixels=959)

    @pytest.mark.parametrize("name", GIANTS)
    def test_what_pillow_refuses_is_refused_without_a_limit(self, name: str) -> None:
        with pytest.raises(ImageTooLarge, match="the limit"):
            decode(GIANTS[name])

    def test_an_application_may_raise_pillows_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        data = encode(picture(), "PNG")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
        with pytest.raises(ImageTooLarge, match="image has more than 800 px, the limit"):
            decode(data, max_pixels=1000)
        images.configure_pillow(max_pixels=961)
        assert decode(data, max_pixels=1000).shape == (24, 40, 3)
        with pytest.raises(Image.DecompressionBombError):
            Image.open(BytesIO(encode(picture(31, 32), "PNG")))

    def test_a_gif_makes_no_room_for_what_clears_its_first_frame(self) -> None:
        frame = b"!\xf9\4\x08\0\0\0\0" + b"," + struct.pack("<HHHHB", 0, 0, 9_000, 9_000, 0) + b"\x08"
        data = b"GIF89a" + struct.pack("<HHBBB", 9_000, 9_000, 0, 0, 0) + frame
        with Image.open(BytesIO(data)) as opened:
            assert opened.dispose is not None  # type: ignore[attr-defined]
        with images._FirstFrame(BytesIO(data)) as opened:
            assert opened.dispose is None
        with pytest.raises(ImageTooLarge, match="image has 81000000 px, the limit is 50000000"):
            decode(data, max_pixels=50_000_000)

    @pytest.mark.parametrize("name", GIANTS)
    def test_a_lying_header_costs_no_memory(self, name: str, tmp_path: Path) -> None:
        (tmp_path / "giant").write_bytes(GIANTS[name])
        program = """
import resource, sys
from pathlib import Path
from rendersight.images import ImageTooLarge, decode
data = Path(sys.argv[1]).read_bytes()
before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode(data, max_pixels=50_000_000)
except ImageTooLarge:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib)
"""
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program, tmp_path / "giant"],
            cwd=Path(images.__file__).parents[1],
            capture_output=True,
            text=True,
            check=True,
        )
        assert int(done.stdout) < 32 * 1024


# what a file may lose at its end and still hold every pixel: checksums and end marks
TAIL_BYTES = {"PNG": 24, "GIF": 2}


class TestBrokenData:
    @pytest.mark.parametrize("name", WEB_FORMATS)
    def test_a_truncated_file_is_a_broken_image(self, name: str) -> None:
        data = encode(picture(), name)
        for length in np.linspace(16, len(data) - 1 - TAIL_BYTES.get(name, 0), 60).astype(int):
            with pytest.raises(BrokenImage):
                decode(data[:length])

    @pytest.mark.parametrize("name", WEB_FORMATS)
    def test_a_few_changed_bytes_give_pixels_or_an_image_error(self, name: str) -> None:
        data = encode(picture(), name)
        outcomes = {"pixels": 0, "error": 0}
        for seed in range(100):
            random = np.random.default_rng(seed)
            changed = bytearray(data)
            for position in random.integers(0, len(data), random.integers(1, 5)):
                changed[position] = random.integers(256)
            try:
                decoded = decode(bytes(changed), max_pixels=100_000)
            except ImageError:
                outcomes["error"] += 1
            else:
                outcomes["pixels"] += 1
                assert decoded.ndim == 3
                assert decoded.shape[2] == 3
                assert decoded.size > 0
        assert min(outcomes.values()) > 0, outcomes

    @pytest.mark.parametrize("name", WEB_FORMATS)
    def test_a_bare_signature_is_a_broken_image(self, name: str) -> None:
        with pytest.raises(BrokenImage):
            decode(encode(picture(), name)[:16])

    def test_random_bytes_behind_a_signature_are_a_broken_image(self) -> None:
        for seed in range(50):
            with pytest.raises(BrokenImage):
                decode(b"\x89PNG\r\n\x1a\n" + np.random.default_rng(seed).bytes(300))

    def test_an_image_without_pixels_is_broken(self) -> None:
        header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 5, 8, 2, 0, 0, 0))
        with pytest.raises(BrokenImage):
            decode(b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(b"")) + png_chunk(b"IEND", b""))


class TestPieces:
    """Pillow reads the parts of a file one by one in Python; a file of millions of them is refused."""

    @pytest.mark.parametrize(
        ("name", "head", "piece"),
        [
            ("JPEG", b"\xff\xd8", b"\xff"),
            ("JPEG", b"\xff\xd8", b"\xff\x00"),
            ("PNG", encode(picture(), "PNG")[:33], png_chunk(b"tEXt", b"a\0b")),
            ("GIF", encode(picture(), "GIF")[:13] + bytes(768), b"!\xfe\x01a\0"),
        ],
        ids=["JPEG fill bytes", "JPEG junk", "PNG chunks", "GIF comments"],
    )
    def test_more_pieces_than_the_limit_are_a_broken_image(
        self, name: str, head: bytes, piece: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(images, "_MAX_READS", 10_000)
        with pytest.raises(BrokenImage, match="too many pieces: it takes more than 10000 reads, the limit"):
            decode(head + piece * 12_000)

    def test_a_run_length_encoded_bitmap_may_have_them(self) -> None:
        side, run = 1100, b"\x01\x07\x01\x09"  # a pixel, and another
        palette = bytes(range(256)) * 4
        pixels = run * (side * side // 2)
        sizes = struct.pack("<IHHI", 1078 + len(pixels), 0, 0, 1078)
        header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(pixels), 0, 0, 256, 0)
        rows = b"".join(pixels[start : start + 2 * side] + b"\0\0" for start in range(0, len(pixels), 2 * side))
        decoded = decode(b"BM" + sizes + header + palette + rows)
        assert decoded.shape == (side, side, 3)
        assert decoded[0, 0].tolist() != decoded[0, 1].tolist()


def test_libtiff_prints_nothing_in_an_application(capfd: pytest.CaptureFixture[str]) -> None:
    images.configure_pillow()
    data = bytearray(encode(picture(), "TIFF", compression="tiff_adobe_deflate"))
    data[8:40] = bytes(32)
    with pytest.raises(BrokenImage):
        decode(bytes(data))
    assert capfd.readouterr() == ("", "")


def test_the_library_leaves_the_process_as_it_was() -> None:
    program = """
import ctypes, io, pkgutil, sys, warnings
from importlib import import_module
from PIL import Image, _imaging

def state():
    library, handlers = ctypes.CDLL(_imaging.__file__), []
    for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        if set_handler := getattr(library, name, None):
            set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            handlers.append(set_handler(None))
            set_handler(handlers[-1])
    return Image.MAX_IMAGE_PIXELS, handlers, warnings.filters[:]

import numpy  # which adds filters of its own
before = state()
import rendersight
for module in pkgutil.walk_packages(rendersight.__path__, "rendersight."):
    if not module.name.endswith("__main__"):
        import_module(module.name)
from rendersight.images import decode
for name in ("PNG", "TIFF", "GIF"):
    Image.new("RGB", (4, 4)).save(file := io.BytesIO(), name)
    decode(file.getvalue(), max_pixels=50)
after = state()
assert before == after, (before, after)
"""
    subprocess.run([sys.executable, "-c", program], cwd=Path(images.__file__).parents[1], check=True)


class TestRead:
    def test_a_file_is_read_whatever_its_suffix_says(self, tmp_path: Path) -> None:
        path = tmp_path / "photo.jpg"
        path.write_bytes(encode(picture(), "PNG"))
        np.testing.assert_array_equal(read(path), picture())

    def test_a_missing_file_is_an_os_error(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "nothing.png")


def test_file_formats_are_photos_that_pillow_reads_itself() -> None:
    formats = images.file_formats()
    assert formats[".jpg"] == formats[".jpeg"] == "JPEG"
    assert {".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm"} <= set(formats)
    assert not {".eps", ".ps", ".mpg", ".h5", ".pdf"} & set(formats)


def test_a_format_that_pillow_hands_to_another_program_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "drawing.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    with pytest.raises(images.UnknownImageFormat):
        images.read(path)


def half(height: int, width: int) -> tuple[int, int]:
    return height // 2, width // 2


class TestDecodingReduced:
    @pytest.mark.parametrize(
        ("needed", "reduction"),
        [((101, 67), 1), ((51, 34), 1), ((50, 33), 2), ((26, 16), 2), ((25, 16), 4), ((0, 0), 8)],
        ids=str,
    )
    def test_a_jpeg_is_reduced_as_far_as_the_need_allows(self, needed: tuple[int, int], reduction: int) -> None:
        photo = images.decode_photo(encode(picture(101, 67), "JPEG", quality=95), need=lambda height, width: needed)
        assert photo.reduction == reduction
        assert photo.pixels.shape == (-(-101 // reduction), -(-67 // reduction), 3)
        assert (photo.height, photo.width) == (101, 67)

    def test_the_need_is_told_the_size_as_it_is_stored_and_all_formats_are_taken(self) -> None:
        asked = []

        def need(height: int, width: int) -> tuple[int, int]:
            asked.append((height, width))
            return 1, 1

        assert images.decode_photo(encode(picture(24, 40), "JPEG"), need=need).reduction == 8
        assert images.decode_photo(encode(picture(24, 40), "PNG"), need=need).reduction == 1
        assert asked == [(24, 40)]

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
    def test_boxes_come_back_to_the_pixel_whichever_way_it_is_turned(self, orientation: int, mode: str) -> None:
        stored = np.full((83, 101, 3), 40, np.uint8)
        stored[40:80, 56:96] = 250  # on the grid of 8 px, so that its edges stay sharp
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        data = encode(Image.fromarray(stored).convert(mode), "JPEG", quality=100, exif=exif)

        def box_of(pixels: RgbImage) -> list[float]:
            rows, columns = np.nonzero(pixels[:, :, 1] > 128)
            return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]

        whole = images.decode_photo(data)
        photo = images.decode_photo(data, need=half)
        assert photo.reduction == 2
        assert (photo.height, photo.width) == whole.pixels.shape[:2]
        boxes = np.array([box_of(photo.pixels)], np.float32)
        assert photo.in_full(boxes).tolist() == [box_of(whole.pixels)]

    def test_a_box_that_reaches_beyond_the_edge_ends_there(self) -> None:
        photo = images.decode_photo(encode(picture(101, 67), "JPEG"), need=half)
        assert photo.in_full(np.array([[30, 40, 34, 51]], np.float32)).tolist() == [[60, 80, 67, 101]]

    def test_it_looks_like_the_photo_made_smaller(self) -> None:
        image = picture(96, 160)
        photo = images.decode_photo(encode(image, "JPEG", quality=95), need=half)
        mean = image.reshape(48, 2, 80, 2, 3).mean(axis=(1, 3))
        assert np.abs(photo.pixels - mean).max() <= JPEG_ERROR


def test_a_photo_of_another_format_is_decoded_where_the_caller_asks_for_it() -> None:
    data = encode(picture(24, 40), "PPM")
    with pytest.raises(images.UnknownImageFormat):
        images.decode_photo(data)
    np.testing.assert_array_equal(images.decode_photo(data, formats=None).pixels, images.decode(data, formats=None))


def test_announces_the_size_that_will_be_decoded() -> None:
    file = BytesIO()
    Image.new("RGB", (40, 30)).save(file, "PNG")
    assert images.announced_hw(file.getvalue()) == (30, 40)
    with pytest.raises(images.ImageTooLarge, match="1200 px, the limit is 1000"):
        images.announced_hw(file.getvalue(), max_pixels=1000)
    with pytest.raises(images.UnknownImageFormat):
        images.announced_hw(b"no image")
