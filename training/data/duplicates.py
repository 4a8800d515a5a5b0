"""Detection of duplicate photos: equal files, and copies that were scaled, recompressed or changed in brightness.

Two photos are candidates if they agree in most bits of a difference hash (dHash,
hackerfactor.com/blog/?/archives/529-Kind-of-Like-That.html). Each bit says whether a cell of a small grey picture is
brighter than its left neighbour. The hash alone confuses two photos of the same empty desk. Therefore a candidate only
counts if no cell of the thumbnails differs by much, so an object that has moved separates two photos. Mirrored, rotated
and cropped copies are not found.
"""

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rendersight import images
from rendersight.annotations import AnnotatedImage
from rendersight.annotations.dataset import load_bytes, load_pixels

SIDE = 32
_HASH_SIDE = 16
# Measured on 306 photos of dice on three tables. Copies (half the size, JPEG quality 40, 20 % brighter, less contrast)
# differ from their originals in at most 37 bits, and by at most 17 in any cell. Different photos differ by at least 91
# in some cell, although 132 pairs of them differ in at most 26 bits.
_MOST_BITS = 64
_MOST_DIFFERENCE = 40.0
_SPREAD = 50.0
_FLAT = 2.0
_DECODED_PX = 2 * SIDE
_BLOCK = 2048


@dataclass(frozen=True, eq=False)
class Look:
    """Thumbnail and hashes of an image, to compare it with others.

    Attributes:
        name: name of the image.
        sha256: sha256 of its file.
        orientation: EXIF orientation, 1 to 8.
        thumbnail: float32 (32, 32), grey, normalised to the same mean and standard deviation in every image.
        bits: float32 (256,), 1 if a cell is brighter than its left neighbour, else -1.
        is_flat: whether the image is almost uniform, such as a white picture. A flat image only equals the same file.
        grey_range: darkest and brightest of 32 x 32 grey cells, 0 to 255.
        mean_grey: mean luminance, 0 to 255.
    """

    name: str
    sha256: str
    orientation: int
    thumbnail: NDArray[np.float32]
    bits: NDArray[np.float32]
    is_flat: bool
    grey_range: tuple[float, float]
    mean_grey: float


def look_at(found: Sequence[AnnotatedImage]) -> list[Look]:
    """Decode every image and return its look, in the order of the images.

    Raises:
        images.ImageError, OSError: an image has changed or vanished since the dataset was read.
    """
    with ThreadPoolExecutor() as pool:  # decoding releases the GIL
        return list(pool.map(_look, found))


def _look(image: AnnotatedImage) -> Look:
    data = load_bytes(image)
    try:
        pixels = images.decode_photo(data, need=lambda _height, _width: (_DECODED_PX, _DECODED_PX)).pixels
    except images.UnknownImageFormat:
        pixels = load_pixels(image)
    grey = Image.fromarray(pixels).convert("L")
    small = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)
    hashed = np.asarray(grey.resize((_HASH_SIDE + 1, _HASH_SIDE), Image.Resampling.BOX), np.float32)
    spread = float(small.std())
    return Look(
        name=image.name,
        sha256=hashlib.sha256(data).hexdigest(),
        orientation=images.orientation_of(image.image_path) if image.image_path is not None else 1,
        thumbnail=(small - small.mean()) * np.float32(_SPREAD / max(spread, _FLAT)),
        bits=np.where(hashed[:, 1:] > hashed[:, :-1], np.float32(1), np.float32(-1)).ravel(),
        is_flat=spread < _FLAT,
        grey_range=(float(small.min()), float(small.max())),
        mean_grey=float(small.mean()),
    )


def alike(first: Sequence[Look], second: Sequence[Look] | None = None) -> list[tuple[int, int]]:
    """Return the index pairs of images that look the same or are the same file.

    Args:
        first: looks of the images.
        second: looks to compare them with; None compares the first among themselves, each pair once.

    Returns:
        Pairs of an index into `first` and an index into `second`, or two indices into `first`, the lower one first.
    """
    others = first if second is None else second
    if not first or not others:
        return []
    theirs = np.stack([look.bits for look in others])
    pairs = []
    for start in range(0, len(first), _BLOCK):
        mine = np.stack([look.bits for look in first[start : start + _BLOCK]])
        agreeing = mine @ theirs.T >= mine.shape[1] - 2 * _MOST_BITS  # each differing bit lowers the sum by 2
        for i, j in np.argwhere(agreeing).tolist():
            if (second is not None or start + i < j) and _same(first[start + i], others[j]):
                pairs.append((start + i, j))
    return pairs


def _same(first: Look, second: Look) -> bool:
    if first.sha256 == second.sha256:
        return True
    if first.is_flat or second.is_flat:
        return False
    return float(np.abs(first.thumbnail - second.thumbnail).max()) <= _MOST_DIFFERENCE


def groups(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Merge pairs that share a member into groups. Each group is sorted, and the groups are sorted by first member."""
    of: dict[int, tuple[int, ...]] = {}
    for pair in pairs:
        joined = tuple(sorted({member for place in pair for member in of.get(place, (place,))}))
        of.update(dict.fromkeys(joined, joined))
    return [list(group) for group in sorted(set(of.values()))]
