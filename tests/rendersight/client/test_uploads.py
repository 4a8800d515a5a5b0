import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rendersight import images
from rendersight.client import UnusableImage
from rendersight.client.uploads import upload_of

PIXELS = np.random.default_rng(3).integers(0, 255, (5, 7, 3), np.uint8)


def test_files_go_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "größer 1.jpg"
    path.write_bytes(b"any bytes")
    with path.open("rb") as file:
        for given in (path, str(path), file):
            upload = upload_of(given)
            assert (upload.filename, upload.data) == ("größer 1.jpg", b"any bytes")
    for data in (b"any bytes", bytearray(b"any bytes"), memoryview(b"any bytes"), io.BytesIO(b"any bytes")):
        assert upload_of(data).data == b"any bytes"


def test_arrays_arrive_without_loss() -> None:
    for pixels in (PIXELS, PIXELS[::-1, ::2], np.asfortranarray(PIXELS)):
        np.testing.assert_array_equal(images.decode(upload_of(pixels).data), pixels)
    grey = PIXELS[:, :, 0]
    np.testing.assert_array_equal(images.decode(upload_of(grey).data), np.stack([grey] * 3, axis=2))


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "I", "I;16", "F", "CMYK", "YCbCr", "HSV"]
)
def test_pillow_images_of_every_mode_are_read_as_their_file_would_be(mode: str) -> None:
    image = Image.new(mode, (7, 5), 255 if mode in ("1", "L", "I", "I;16", "F") else None)
    pixels = images.decode(upload_of(image).data)
    assert pixels.shape == (5, 7, 3)
    if mode in ("1", "L", "I", "F"):
        assert pixels.min() == 255


def test_sixteen_bits_keep_their_high_byte() -> None:
    image = Image.fromarray(np.full((2, 2), 0x8000, np.int32))
    assert image.mode == "I"
    assert np.unique(images.decode(upload_of(image).data)).tolist() == [0x80]


def test_an_opened_photo_is_sent_as_its_pixels_lie() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG", exif=exif)
    with Image.open(file) as image:
        np.testing.assert_array_equal(images.decode(upload_of(image).data), PIXELS)
    assert images.decode(file.getvalue()).shape == (7, 5, 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nowhere.jpg", "nowhere.jpg cannot be read: No such file or directory"),
        (Path(), ". cannot be read: Is a directory"),
        ("\0", r"'\\x00' is no path: .*; accepted: a path, bytes"),
        (PIXELS.astype(np.float32), r"an array of float32 \(5, 7, 3\) is no image; accepted: uint8 \(H, W, 3\)"),
        (PIXELS[:, :, :2], r"an array of uint8 \(5, 7, 2\) is no image"),
        (PIXELS[0, 0], r"an array of uint8 \(3,\) is no image"),
        (PIXELS[:0], r"an array of uint8 \(0, 7, 3\) is no image"),
        (PIXELS[None], r"an array of uint8 \(1, 5, 7, 3\) is no image"),
        (io.StringIO("text"), "the file gives str; open it in binary mode"),
        (None, "a NoneType is no image; accepted: a path, bytes"),
        ([1, 2], "a list is no image"),
    ],
)
def test_what_is_no_image(given: Any, message: str) -> None:
    with pytest.raises(UnusableImage, match=message):
        upload_of(given)
