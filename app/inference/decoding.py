"""An image as it was sent, and its pixels."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from app import errors
from rendersight import images
from rendersight.images import Need, Photo


@dataclass(frozen=True)
class EncodedImage:
    """One image as it was sent.

    Attributes:
        name: its file's name without a folder; where none was given, `photo` with the suffix of its format.
        pieces: its bytes, one after the other.
    """

    name: str
    pieces: Sequence[bytes | memoryview] = field(repr=False)

    @property
    def data(self) -> bytes:
        """All of its bytes, put together anew."""
        return b"".join(self.pieces)


def decode(image: EncodedImage, *, max_pixels: int, need: Need | None = None) -> Photo:
    """Decode an image; it blocks.

    Args:
        image: as it was sent.
        max_pixels: the most pixels (width x height), by the image's header.
        need: as `images.decode_photo` takes it.

    Raises:
        UnknownImageFormat: no signature of `images.WEB_FORMATS`.
        ImageTooLarge: more than `max_pixels`, by its header.
        BrokenImage: a known format that does not decode.
    """
    try:
        return images.decode_photo(image.data, max_pixels=max_pixels, need=need)
    except images.UnknownImageFormat as error:
        raise errors.UnknownImageFormat(str(error)) from error
    except images.ImageTooLarge as error:
        raise errors.ImageTooLarge(str(error)) from error
    except images.BrokenImage as error:
        raise errors.BrokenImage(str(error)) from error
