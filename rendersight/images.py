"""Decoding of image files to upright RGB arrays, within limits; the only module that opens images with Pillow.

An image is uint8 `(H, W, 3)`, RGB, with its EXIF orientation applied. Only the first frame of an animation is decoded.
"""

import ctypes
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image, ImageFile, UnidentifiedImageError, _imaging, features

from rendersight import heif, limits, sample_depth

# Pillow steps through JPEG segments, PNG chunks and GIF blocks in Python, a few reads each, and remembers many: 20 MB
# of empty blocks took 8 s and 900 MB. A photo of that size needs some thousand reads; a million take less than 1 s.
_MAX_READS = 1_000_000

RgbImage = NDArray[np.uint8]

Need = Callable[[int, int], tuple[int, int]]
"""Height and width of an image, px -> the height and width needed from it, px."""

_OPTIONAL = {"AVIF": features.check("avif"), "HEIF": heif.IS_READABLE}
WEB_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", *(name for name, is_there in _OPTIONAL.items() if is_there))
"""Formats that the service accepts, by Pillow's names."""

# Pillow passes these to Ghostscript, or knows them only by name
_NOT_PHOTOS = ("EPS", "WMF", "MPEG", "HDF5", "GRIB", "BUFR", "PDF")

_ORIENTATION_TAG = 0x0112
# EXIF orientation -> transpose that turns the stored pixels upright (TIFF 6.0, tag 274)
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations of images stored with width and height swapped."""
# orientations that move the margin at the stored image's right or lower edge to the left or to the top
_EXCESS_LEFT = (2, 3, 6, 7)
_EXCESS_ABOVE = (3, 4, 7, 8)
_AVIF_BRANDS = (b"avif", b"avis")


@dataclass(frozen=True, eq=False)
class Photo:
    """An image, possibly decoded at a reduced size.

    Attributes:
        pixels: uint8 (h, w, 3), RGB, upright, read-only.
        height: height of the full upright image, px.
        width: width of the full upright image, px.
        reduction: scale of the decoding: 1, 2, 4 or 8 px of the full image on each axis became one of `pixels`.
        offset_xy: where `pixels` begin in the full image, px, 0 or less, because its sides need not be multiples.
    """

    pixels: RgbImage
    height: int
    width: int
    reduction: int = 1
    offset_xy: tuple[int, int] = (0, 0)

    def in_full(self, boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Convert boxes (N, 4) from px of `pixels` to px of the full upright image, clipped at its edges."""
        moved = boxes_xyxy * np.float32(self.reduction) + np.array(self.offset_xy * 2, np.float32)
        return np.asarray(moved.clip(0, (self.width, self.height) * 2), np.float32)


class ImageError(ValueError):
    """An image that cannot be used.

    ImageError
    ├── UnknownImageFormat   no signature of an accepted format
    ├── ImageTooLarge        more pixels than the limit, by its header
    └── BrokenImage          a known format that does not decode
    """


class UnknownImageFormat(ImageError):
    """Bytes without the signature of an accepted format."""


class ImageTooLarge(ImageError):
    """An image whose header announces more pixels than the limit."""


class BrokenImage(ImageError):
    """Data of a known format that does not decode."""


def file_formats() -> dict[str, str]:
    """Return the formats of photos: file suffix in lower case with its dot -> Pillow's name of the format.

    HEIF is always one of them, so that photos that cannot be read are named and not passed over.
    """
    known = Image.registered_extensions()
    photos = {suffix: name for suffix, name in known.items() if name in Image.OPEN and name not in _NOT_PHOTOS}
    return {**photos, **dict.fromkeys(heif.SUFFIXES, "HEIF")}


def sniff(data: bytes) -> str | None:
    """Return the format of an encoded image by its first bytes, or None if it is not one of `WEB_FORMATS`.

    Signatures: JPEG (ITU T.81), PNG (RFC 2083), GIF89a, BMP, TIFF 6.0, BigTIFF (only little-endian, as in Pillow),
    RIFF/WebP, ISO BMFF `ftyp` for AVIF and HEIF.
    """
    table = (
        ("JPEG", data.startswith(b"\xff\xd8\xff")),
        ("PNG", data.startswith(b"\x89PNG\r\n\x1a\n")),
        ("GIF", data.startswith((b"GIF87a", b"GIF89a"))),
        ("BMP", data.startswith(b"BM")),
        ("TIFF", data.startswith((b"II*\0", b"MM\0*", b"II+\0"))),
        ("WEBP", data.startswith(b"RIFF") and data[8:12] == b"WEBP"),
        ("AVIF", data[4:8] == b"ftyp" and any(brand in data[8:64] for brand in _AVIF_BRANDS)),
        ("HEIF", heif.is_heif(data)),
    )
    return next((name for name, matches in table if matches and name in WEB_FORMATS), None)


def decode(
    data: bytes,
    *,
    max_pixels: int | None = None,
    formats: Sequence[str] | None = WEB_FORMATS,
    apply_exif: bool = True,
) -> RgbImage:
    """Decode one encoded image to an upright RGB array.

    Args:
        data: the whole encoded image.
        max_pixels: maximum width x height in the header, checked before memory is allocated. Pillow's own limit, twice
            `PIL.Image.MAX_IMAGE_PIXELS`, applies in any case.
        formats: Pillow's names of the accepted formats; None accepts those of `file_formats`.
        apply_exif: apply the EXIF orientation; Pillow always applies that of a TIFF, and the plugin that of a HEIC.

    Returns:
        uint8 (H, W, 3), RGB. Grey and palette images are expanded, transparency is laid over white, and CMYK is
        converted without a colour profile. Wider samples are scaled; see `sample_depth.eight_bits`.

    Raises:
        UnknownImageFormat: no known signature.
        ImageTooLarge: more pixels than the limit.
        BrokenImage: a known format that does not decode.
    """
    return np.array(_decode(data, max_pixels, formats, apply_exif=apply_exif, need=None).pixels)


def decode_photo(
    data: bytes,
    *,
    max_pixels: int | None = None,
    need: Need | None = None,
    formats: Sequence[str] | None = WEB_FORMATS,
) -> Photo:
    """Decode one encoded image as `decode` does, but a JPEG no larger than needed.

    Decoding a JPEG at a half, a quarter or an eighth of its size takes much less time. Each pixel is then the mean of
    those it replaces (the DCT's lower frequencies; ITU T.81).

    Args:
        data: the whole encoded image.
        max_pixels: as for `decode`.
        need: takes the image's height and width and returns the minimum height and width of `pixels`, px. A smaller
            image keeps its size. None decodes at full size.
        formats: as for `decode`.

    Raises:
        ImageError: as `decode`.
    """
    return _decode(data, max_pixels, formats, apply_exif=True, need=need)


def _decode(
    data: bytes, max_pixels: int | None, formats: Sequence[str] | None, *, apply_exif: bool, need: Need | None
) -> Photo:
    with _opened(data, max_pixels, formats) as (image, name, accepted):
        width, height = image.size
        reduction = _reduce(image, need)
        pixels = _load(image, data, name, accepted)
        orientation = _orientation(image) if apply_exif else 1  # only now: loading a TIFF has already turned it
        return _upright(_to_rgb(pixels), (width, height), reduction, orientation)


@contextmanager
def _opened(
    data: bytes, max_pixels: int | None, formats: Sequence[str] | None
) -> Iterator[tuple[ImageFile.ImageFile, str | None, tuple[str, ...]]]:
    """Open an image within the limits, and translate Pillow's errors while it is open.

    Yields:
        The image, its format (None if it has no known signature), and the formats that Pillow may try.
    """
    name = _format_of(data, formats)
    limit = _pixel_limit(max_pixels)
    if name is not None and (reason := limits.exceeded(data, name, max_pixels=limit)):
        raise BrokenImage(reason)
    known = dict.fromkeys(file_formats().values())
    accepted = (name,) if name is not None else tuple(other for other in known if other in Image.OPEN)
    try:
        with _open(data, name, accepted) as image:
            width, height = image.size
            if limit is not None and width * height > limit:
                raise ImageTooLarge(f"image has {width * height} px, the limit is {limit}")
            yield image, name, accepted
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        if name is None:
            raise UnknownImageFormat("not an image that Pillow reads") from error
        raise BrokenImage(f"the {name} header cannot be read") from error
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(f"image has more than {limit} px, the limit") from error
    except MemoryError:
        raise
    except Exception as error:  # decoders of untrusted bytes raise many kinds of error
        raise BrokenImage(f"the image does not decode: {error or type(error).__name__}") from error


def _format_of(data: bytes, formats: Sequence[str] | None) -> str | None:
    """Return the format of an encoded image, as `sniff` does, if it is accepted.

    Raises:
        UnknownImageFormat: the format is not among `formats`, or is HEIF without the plugin.
    """
    name = sniff(data)
    if name is None and heif.is_heif(data) and not heif.IS_READABLE:
        raise UnknownImageFormat(heif.NOT_READ)
    if formats is not None and name not in formats:
        start = data[:8].hex(" ") or "nothing"
        raise UnknownImageFormat(f"no signature of {', '.join(formats)}; the data begins with {start}")
    return name


def _open(data: bytes, name: str | None, accepted: tuple[str, ...]) -> ImageFile.ImageFile:
    """Open an image whose format is `name`, or unknown and one of the accepted formats."""
    if name == "HEIF":
        return heif.open_heif(data)
    # a run-length encoded bitmap needs many reads of two bytes
    file = BytesIO(data) if name in (None, "BMP") else _FewReads(data)
    return _FirstFrame(file) if name == "GIF" else Image.open(file, formats=accepted)


def _load(image: ImageFile.ImageFile, data: bytes, name: str | None, accepted: tuple[str, ...]) -> Image.Image:
    """Decode an opened image; twice if it has 16-bit colours of lower depth, because Pillow drops their low bytes."""
    low_bytes = sample_depth.tiles_of_low_bytes(image)
    image.load()
    if not low_bytes or not sample_depth.is_shallow(image):
        return image
    with _open(data, name, accepted) as again:
        again.tile = low_bytes
        return sample_depth.join_bytes(image, again)


def _pixel_limit(max_pixels: int | None) -> int | None:
    """Return the maximum number of pixels to decode: the caller's limit or Pillow's, whichever is lower."""
    pillows = None if Image.MAX_IMAGE_PIXELS is None else 2 * Image.MAX_IMAGE_PIXELS
    return min((limit for limit in (max_pixels, pillows) if limit is not None), default=None)


class _FirstFrame(GifImagePlugin.GifImageFile):
    """A GIF that stays at its first frame.

    Pillow allocates the frame's disposal image when it opens the file, before the caller can check the image's size.
    """

    @property
    def disposal_method(self) -> int:
        """Return 0: do not clear."""
        return 0

    @disposal_method.setter
    def disposal_method(self, _method: int) -> None:
        pass


class _FewReads(BytesIO):
    """A file that allows at most `_MAX_READS` reads."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._left = _MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes.

        Raises:
            BrokenImage: there were too many reads.
        """
        self._left -= 1
        if self._left < 0:
            raise BrokenImage(f"the image is in too many pieces: it takes more than {_MAX_READS} reads, the limit")
        return super().read(size)


def _reduce(image: Image.Image, need: Need | None) -> int:
    """Make a JPEG decode at the smallest scale that leaves the needed size, and return the reduction."""
    if need is None or image.format not in ("JPEG", "MPO"):
        return 1
    width, height = image.size
    needed_h, needed_w = (max(1, side) for side in need(height, width))
    image.draft(None, (needed_w, needed_h))
    return next(factor for factor in (1, 2, 4, 8) if image.size == (-(-width // factor), -(-height // factor)))


def _upright(rgb: Image.Image, stored_wh: tuple[int, int], reduction: int, orientation: int) -> Photo:
    """Apply the EXIF orientation to decoded pixels, and to the margin that reduced decoding adds right and below."""
    if reduction == 1:
        stored_wh = rgb.size  # loading a TIFF has already turned it
    width, height = stored_wh
    x, y = (whole - side * reduction for side, whole in zip(rgb.size, stored_wh, strict=True))  # 0 or less
    if orientation in SIDEWAYS:
        x, y, width, height = y, x, height, width
    if orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[orientation])
    offset = (x if orientation in _EXCESS_LEFT else 0, y if orientation in _EXCESS_ABOVE else 0)
    return Photo(np.asarray(rgb), height, width, reduction, offset)


def read(path: Path) -> RgbImage:
    """Read an image file of any format in `file_formats`, as `decode` does.

    Raises:
        ImageError: as `decode`; the message does not repeat the path.
        OSError: the file cannot be read.
    """
    return decode(path.read_bytes(), formats=None)


def announced_hw(data: bytes, *, max_pixels: int | None = None) -> tuple[int, int]:
    """Return the height and width, px, of an image of `WEB_FORMATS` before its EXIF orientation is applied.

    The checks before decoding are those of `decode_photo`; the pixels are not decoded.

    Raises:
        ImageError: as `decode`.
    """
    with _opened(data, max_pixels, WEB_FORMATS) as (image, _, _):
        width, height = image.size
    return height, width


def size_of(data: bytes, *, apply_exif: bool = True) -> tuple[int, int]:
    """Return the width and height, px, of an upright image, from its header; the pixels are not decoded.

    Raises:
        BrokenImage: the header cannot be read.
    """
    try:
        with Image.open(BytesIO(data)) as image:
            width, height = image.size
            is_turned = apply_exif and image.format != "TIFF"  # Pillow swaps the size of a TIFF itself
            orientation = _orientation(image) if is_turned else 1
    except Exception as error:  # decoders of untrusted bytes raise many kinds of error
        raise BrokenImage(f"the image header cannot be read: {error or type(error).__name__}") from error
    return (height, width) if orientation in SIDEWAYS else (width, height)


def configure_pillow(*, max_pixels: int | None = None) -> None:
    """Configure Pillow for the whole process. Call this only at an application's entry point, before threads start.

    The function silences Pillow's warnings and libtiff's messages: a corrupt EXIF block does not harm the pixels, and
    real damage raises an error. The plugin for HEIC, if it is there, decodes in the calling thread.

    Args:
        max_pixels: maximum size of an image that Pillow opens, so that `decode` may have a limit above Pillow's own;
            None keeps Pillow's limit.
    """
    heif.configure_plugin()
    if max_pixels is not None:
        Image.MAX_IMAGE_PIXELS = -(-max_pixels // 2)  # Pillow refuses an image of more than twice this
    for category in (UserWarning, Image.DecompressionBombWarning):
        warnings.filterwarnings("ignore", category=category, module=r"PIL\.")
    # Pillow has no switch for libtiff; its extension module finds the symbols of the libtiff it is linked to
    library = ctypes.CDLL(_imaging.__file__)
    with suppress(AttributeError):  # libtiff is linked in and not exported
        for set_handler in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
            set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            set_handler(None)


def orientation_of(path: Path) -> int:
    """Return an image file's EXIF orientation, 1 to 8; 1 (upright) if it cannot be read."""
    try:
        with Image.open(path) as image:
            found = _orientation(image)
    except Exception:  # `decode` reports files that do not decode
        return 1
    return found if found in _UPRIGHT else 1


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 (upright) if it cannot be read."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # a broken EXIF block does not harm the pixels
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(sample_depth.eight_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")  # a copy takes as long as decoding does
