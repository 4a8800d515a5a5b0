"""The encoded image of a request, and its decoding to pixels."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from app import errors
from rendersight import images
from rendersight.images import Need, Photo

_ERRORS: dict[type[images.ImageError], type[errors.ServiceError]] = {
    images.UnknownImageFormat: errors.ImageNotRecognized,
    images.ImageTooLarge: errors.TooManyPixels,
    images.BrokenImage: errors.ImageNotDecodable,
}


@dataclass(frozen=True)
class EncodedImage:
    """One image as the client sent it.

    Attributes:
        name: file name without a folder. If the client gave none, `photo` with the suffix of the image's format.
        pieces: the image's bytes in order, in one or more chunks.
    """

    name: str
    pieces: Sequence[bytes | memoryview] = field(repr=False)

    @property
    def data(self) -> bytes:
        """The image's bytes, joined into a new object."""
        return b"".join(self.pieces)


def decode(image: EncodedImage, *, max_pixels: int, need: Need | None = None) -> Photo:
    """Decode an image. The call blocks.

    Args:
        image: the encoded image.
        max_pixels: maximum number of pixels (width x height), checked against the image's header.
        need: as in `images.decode_photo`.

    Raises:
        ImageNotRecognized: the data has the signature of none of `images.WEB_FORMATS`.
        TooManyPixels: the header announces more than `max_pixels`.
        ImageNotDecodable: the format is known, but decoding fails.
    """
    try:
        return images.decode_photo(image.data, max_pixels=max_pixels, need=need)
    except images.ImageError as error:
        raise _ERRORS[type(error)](str(error)) from error


def announced_hw(image: EncodedImage, *, max_pixels: int) -> tuple[int, int]:
    """Return the height and width, px, in an image's header, before its EXIF orientation is applied. The call blocks.

    Raises:
        ServiceError: as `decode`.
    """
    try:
        return images.announced_hw(image.data, max_pixels=max_pixels)
    except images.ImageError as error:
        raise _ERRORS[type(error)](str(error)) from error
