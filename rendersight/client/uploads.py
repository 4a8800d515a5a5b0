"""Conversion of any image input into the bytes of an image file."""

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rendersight.client.errors import UnusableImage

ImageInput: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Image.Image | NDArray[Any]"
)
"""A path, an image file's bytes, a binary file open for reading, a Pillow image, or uint8 (H, W, 3) RGB or (H, W) grey.

The service applies a file's EXIF orientation. The pixels of a Pillow image or an array are sent as they are, without
loss, and boxes are in px of these pixels.
"""

_ACCEPTED = "accepted: a path, bytes, a binary file, a PIL image, or a uint8 array (H, W, 3) RGB or (H, W) grey"
# mode of a Pillow image -> lossless format for it; the service decodes it like any such file
_FORMATS = {
    **dict.fromkeys(("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), "PNG"),
    **dict.fromkeys(("I", "F", "CMYK", "YCbCr", "LAB"), "TIFF"),
}
_FAST = 1  # zlib level; on most networks the highest level takes longer than it saves


@dataclass(frozen=True)
class Upload:
    """An image file to send: its name and its bytes."""

    filename: str
    data: bytes


def upload_of(image: ImageInput) -> Upload:
    """Return the upload for an image.

    Raises:
        UnusableImage: the file does not exist, or the object holds no image.
    """
    if isinstance(image, str | os.PathLike):
        return _of_path(Path(image))
    if isinstance(image, bytes | bytearray | memoryview):
        return Upload("image", bytes(image))
    if isinstance(image, Image.Image):
        return _of_pillow(image)
    if isinstance(image, np.ndarray):
        return _of_pillow(_of_array(image))
    if hasattr(image, "read"):
        return _of_file(image)
    raise UnusableImage(f"a {type(image).__name__} is no image; {_ACCEPTED}")


def _of_path(path: Path) -> Upload:
    try:
        return Upload(path.name, path.read_bytes())
    except OSError as error:
        raise UnusableImage(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a null byte: the text is not a path
        raise UnusableImage(f"{str(path)[:40]!r} is no path: {error}; {_ACCEPTED}") from error


def _of_file(file: IO[bytes]) -> Upload:
    data = file.read()
    if not isinstance(data, bytes):
        raise UnusableImage(f"the file gives {type(data).__name__}; open it in binary mode: open(path, 'rb')")
    name = getattr(file, "name", None)  # a number if the file was opened by its descriptor
    return Upload(Path(name).name if isinstance(name, str) else "image", data)


def _of_array(pixels: NDArray[Any]) -> Image.Image:
    if pixels.dtype != np.uint8 or pixels.shape[2:] not in ((), (3,)) or pixels.ndim < 2 or 0 in pixels.shape:  # noqa: PLR2004
        raise UnusableImage(
            f"an array of {pixels.dtype} {pixels.shape} is no image; accepted: uint8 (H, W, 3) RGB or (H, W) grey"
        )
    return Image.fromarray(pixels)


def _of_pillow(image: Image.Image) -> Upload:
    if image.mode not in _FORMATS:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    name = _FORMATS[image.mode]
    file = io.BytesIO()
    image.save(file, name, **({"compress_level": _FAST} if name == "PNG" else {}))
    return Upload(f"image.{name.lower()}", file.getvalue())
