"""Scaling of samples wider than 8 bits, such as those of 12-bit cameras in 16-bit files."""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

_DEPTHS = (8, 10, 12, 14, 16, 24, 32)
_SHALLOW = 64  # high bytes below it are those of samples with at most 14 bits
_OVERSHOOT = 1.25  # resampling and sharpening make floats a little brighter than white
_LEAST_GREY_VALUE = 16
_OTHER_BYTE_ORDER = {"16B": "16L", "16L": "16B", "16N": "16B" if sys.byteorder == "little" else "16L"}


def eight_bits(samples: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale samples to 8 bits.

    Integers count as samples of 8, 10, 12, 14, 16, 24 or 32 bits, the fewest that hold the largest sample. The upper 8
    bits remain. Floats are fractions of white if the largest is at most 1.25. From 16 on, they are grey values of as
    many bits. A float may be brighter than white by a quarter; it becomes white.

    Args:
        samples: integers or floats of any shape. Negative samples and NaN become black.

    Raises:
        ValueError: the scale of floats is unknown.
    """
    if samples.dtype.kind == "f":
        largest = float(samples.max(initial=0.0, where=np.isfinite(samples)))
        whites = (1, *(2**depth - 1 for depth in _DEPTHS))
        white = next((white for white in whites if largest <= _OVERSHOOT * white), None)
        if white is None or _OVERSHOOT < largest < _LEAST_GREY_VALUE:
            raise ValueError(
                f"the largest float is {largest:g}, and the scale is unknown; accepted are fractions of white up to "
                f"{_OVERSHOOT} and grey values from {_LEAST_GREY_VALUE}. Save the image with 8 bits"
            )
        shades = np.nan_to_num(samples, nan=0.0)  # a copy, for 50 megapixels 200 MB: changed in place from here on
        shades.clip(0, white, out=shades)
        shades *= 255 / white
        return np.asarray(shades.round(out=shades), np.uint8)
    bits = int(samples.max(initial=0)).bit_length()
    depth = next(depth for depth in _DEPTHS if bits <= depth)
    positive = samples if samples.dtype.kind == "u" else samples.clip(0)
    return np.asarray(positive >> (depth - 8), np.uint8)


def tiles_of_low_bytes(image: ImageFile.ImageFile) -> list[ImageFile._Tile]:
    """Return the tiles that decode the low bytes of 16-bit colours; none if the image has no such colours.

    Pillow keeps the high byte of a 16-bit colour. Decoded in the other byte order, that is the low byte.
    """
    tiles = []
    for tile in image.tile:
        mode, *others = (tile.args,) if isinstance(tile.args, str) else tile.args or ("",)
        colours, _, depth = str(mode).partition(";")
        if colours not in ("RGB", "RGBA") or depth not in _OTHER_BYTE_ORDER:
            return []
        swapped = f"{colours};{_OTHER_BYTE_ORDER[depth]}"
        tiles.append(tile._replace(args=(swapped, *others) if others else swapped))
    return tiles


def is_shallow(high: Image.Image) -> bool:
    """Return whether 16-bit colours use at most 14 bits, by their high bytes."""
    return int(np.asarray(high)[..., :3].max()) < _SHALLOW


def join_bytes(high: Image.Image, low: Image.Image) -> Image.Image:
    """Join the high and the low bytes of 16-bit colours, scaled to 8 bits: RGB or RGBA."""
    wide = np.asarray(high).astype(np.uint16)
    wide <<= 8
    wide |= np.asarray(low)
    if high.mode == "RGB":
        return Image.fromarray(eight_bits(wide))
    return Image.fromarray(np.concatenate([eight_bits(wide[..., :3]), eight_bits(wide[..., 3:])], axis=2))
