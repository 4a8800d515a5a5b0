"""HEIC photos: decoded by the plugin within the limits, refused if they are built to be expensive."""

import struct
import subprocess
import sys
from io import BytesIO

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from rendersight import heif, images
from rendersight.images import BrokenImage, ImageTooLarge, UnknownImageFormat, decode

CODEC_ERROR = 12  # 8-bit steps that a good HEIC of a smooth picture may be off


def picture(height: int = 48, width: int = 80) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([x * 3, y * 5, x + y], axis=2).astype(np.uint8))


def encode(image: Image.Image, **options: object) -> bytes:
    buffer = BytesIO()
    pillow_heif.from_pillow(image).save(buffer, quality=95, **options)
    return buffer.getvalue()


def box(kind: bytes, *content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(b"".join(content)), kind) + b"".join(content)


def container(
    sizes: dict[int, tuple[int, int]],
    references: list[tuple[bytes, int, list[int]]] = [],  # noqa: B006 - not changed
    *,
    lengths: dict[int, int] = {},  # noqa: B006 - not changed
    iloc: bytes = b"",
    properties: bytes = b"",
    more: bytes = b"",
) -> bytes:
    """A HEIC without pixels whose main image is item 1: id -> width and height; kind, from and to; id -> bytes."""
    sized = b"".join(box(b"ispe", struct.pack(">III", 0, *size)) for size in sizes.values())
    owned = [struct.pack(">HBB", item, 1, number) for number, item in enumerate(sizes, 1)]
    linked = [box(kind, struct.pack(f">HH{len(to)}H", item, len(to), *to)) for kind, item, to in references]
    placed = [struct.pack(">HHHII", item, 0, 1, 0, length) for item, length in lengths.items()]
    inside = [
        box(b"pitm", struct.pack(">IH", 0, 1)),
        box(b"iprp", box(b"ipco", sized, properties), box(b"ipma", struct.pack(">II", 0, len(owned)), *owned)),
        box(b"iref", bytes(4), *linked),
        iloc or box(b"iloc", bytes(4), b"\x44\x00", struct.pack(">H", len(placed)), *placed),
    ]
    return box(b"ftyp", b"heic\0\0\0\0mif1heic") + box(b"meta", bytes(4), *inside, more)


class TestDecoding:
    def test_pixels_are_those_of_the_picture(self) -> None:
        decoded = decode(encode(picture()), formats=("HEIF",))
        assert np.abs(decoded.astype(int) - np.asarray(picture())).max() <= CODEC_ERROR

    def test_transparency_is_white(self) -> None:
        image = picture().convert("RGBA")
        image.putalpha(Image.new("L", image.size, 0))
        assert decode(encode(image)).min() >= 255 - CODEC_ERROR

    def test_10_bits_are_scaled(self) -> None:
        wide = np.asarray(picture()).astype(np.uint16) << 8
        buffer = BytesIO()
        pillow_heif.encode("RGB;16", (80, 48), wide.tobytes(), buffer, quality=95)
        decoded = decode(buffer.getvalue())
        assert np.abs(decoded.astype(int) - np.asarray(picture())).max() <= CODEC_ERROR

    def test_comes_out_upright(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        decoded = decode(encode(picture(), exif=exif.tobytes()))
        upright = np.asarray(picture().transpose(Image.Transpose.ROTATE_270))
        assert np.abs(decoded.astype(int) - upright).max() <= CODEC_ERROR

    def test_the_header_decides_whether_it_is_too_large(self) -> None:
        data = encode(picture(64, 64))
        assert decode(data, max_pixels=4096).shape == (64, 64, 3)
        with pytest.raises(ImageTooLarge, match="image has 4096 px, the limit is 4095"):
            decode(data, max_pixels=4095)

    def test_more_pixels_than_announced_are_refused(self) -> None:
        data = encode(Image.new("RGB", (2048, 2048), "red"))
        at = data.index(b"ispe") + 8
        with pytest.raises(BrokenImage, match="Security limit exceeded"):
            decode(data[:at] + struct.pack(">II", 64, 64) + data[at + 8 :])

    def test_without_the_plugin_the_error_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(heif, "IS_READABLE", False)
        monkeypatch.setattr(images, "WEB_FORMATS", tuple(name for name in images.WEB_FORMATS if name != "HEIF"))
        for formats in (images.WEB_FORMATS, None):
            with pytest.raises(UnknownImageFormat, match="HEIC is not read here: convert the photo to JPEG"):
                decode(encode(picture()), formats=formats)

    def test_decoding_leaves_pillow_as_it_is(self) -> None:
        program = """
import sys
from PIL import Image
from rendersight import images
assert "pillow_heif" not in sys.modules
assert images.decode(sys.stdin.buffer.read()).shape == (48, 80, 3)
assert "HEIF" not in Image.OPEN and ".heic" not in Image.registered_extensions()
"""
        subprocess.run([sys.executable, "-c", program], input=encode(picture()), check=True)


class TestBombs:
    def test_a_phone_s_photo_passes(self) -> None:
        """A grid of 48 tiles with a gain map, a thumbnail and metadata."""
        tiles = dict.fromkeys(range(2, 50), (512, 512))
        sizes = {1: (4032, 3024), **tiles, 50: (2016, 1512), 51: (320, 240)}
        references = [(b"dimg", 1, list(tiles)), (b"auxl", 50, [1]), (b"thmb", 51, [1]), (b"cdsc", 52, [1])]
        assert heif.exceeded(container(sizes, references, lengths={52: 60_000}), 4032 * 3024) is None

    def test_an_image_that_is_used_many_times(self) -> None:
        data = container({1: (100, 100), 2: (100, 100)}, [(b"dimg", 1, [2] * 500)])
        assert heif.exceeded(data, 10_000) == "the HEIC takes 5010000 px to decode, the limit is 50000"
        assert heif.exceeded(data, None) is None

    def test_alpha_images_of_all_tiles_count(self) -> None:
        data = container({1: (64, 64), 2: (8, 8), 3: (64, 64)}, [(b"dimg", 1, [2] * 64), (b"auxl", 3, [2])])
        assert heif.exceeded(data, 4096) == f"the HEIC takes {4096 + 64 * (64 + 4096)} px to decode, the limit is 20480"

    def test_a_cropped_image_counts_whole(self) -> None:
        large = {1: (9000, 9000)}
        assert heif.exceeded(container(large), 50_000_000) is None  # the decoder's own header check refuses it
        cropped = container(large, properties=box(b"clap", bytes(32)))
        assert heif.exceeded(cropped, 50_000_000) == "an image in the HEIC has 81000000 px, the limit is 50000000"

    def test_a_part_that_is_larger_than_the_limit(self) -> None:
        data = container({1: (64, 64), 2: (9000, 9000)}, [(b"auxl", 2, [1])])
        assert heif.exceeded(data, 50_000_000) == "an image in the HEIC has 81000000 px, the limit is 50000000"

    def test_metadata_counts_for_each_image_that_has_it(self) -> None:
        sizes = dict.fromkeys(range(1, 21), (64, 64))
        data = container(sizes, [(b"cdsc", 99, list(sizes))], lengths={99: 5_000_000})
        assert heif.exceeded(data, None) == "the HEIC has 100000000 bytes of metadata, the limit is 67108864"

    def test_extents_without_bytes_are_not_counted_one_by_one(self) -> None:
        """Each of a thousand items has 65,535 extents, and each extent is the whole file."""
        items = b"".join(struct.pack(">HHH", item, 0, 65_535) for item in range(1000))
        iloc = box(b"iloc", bytes(4), b"\0\0", struct.pack(">H", 1000), items)
        data = container({1: (8, 8)}, [(b"cdsc", 7, [1])], iloc=iloc)
        assert "bytes of metadata, the limit is" in str(heif.exceeded(data, None))

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (container({1: (8, 8)}, [(b"dimg", 1, [1])]), "images nested more than 4 deep, the limit"),
            (container({1: (8, 8)}, [(b"dimg", 1, [7])]), "no size for the image 7"),
            (container({1: (8, 8)}, more=box(b"pitm", bytes(6))), "the box pitm twice"),
            (container({1: (8, 8)}, [(b"free", 1, [1] * 60_000)] * 3), "360040 bytes in the box iref, the limit is"),
            (container({1: (8, 8)})[:-20], "a box that is cut short"),
            (container({1: (8, 8)}) + box(b"meta", bytes(4)), "the box meta twice"),
            (container({1: (8, 8)}) + box(b"free") * 10_000, "more than 10000 boxes in a row"),
        ],
        ids=["loop", "no size", "twice", "large", "cut", "two", "many"],
    )
    def test_unusual_structures_are_refused(self, data: bytes, reason: str) -> None:
        found = heif.exceeded(data, None)
        assert found is not None
        assert reason in found


def test_the_plugin_decodes_in_the_calling_thread_of_an_application() -> None:
    program = """
from rendersight import images
images.configure_pillow()
from pillow_heif import options
print(options.DECODE_THREADS)
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "1\n"
