"""The light of a whole composite, and what a phone's software makes of it."""

import cv2
import numpy as np
from numpy.typing import NDArray

from training.synthetic.composites.textures import log_uniform

Pixels = NDArray[np.uint8]


def lit(canvas: NDArray[np.float32], rng: np.random.Generator) -> Pixels:
    """Light the whole picture: a soft gradient, at times a hard shadow or a spot, one exposure, one white balance."""
    size = canvas.shape[0]
    corners = rng.uniform(0.75, 1.2, (2, 2)).astype(np.float32) if rng.random() < 0.6 else np.ones((2, 2), np.float32)
    light = np.asarray(cv2.resize(corners, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)
    kind = rng.random()
    if kind < 0.2:
        light *= _cast_shadow(rng, size)
    elif kind < 0.35:
        light *= _spot(rng, size)
    balance = (1 + rng.normal(0, 0.06, 3)) * log_uniform(rng, 0.6, 1.4)
    return as_cameras_save(np.clip(canvas * light[..., None] * balance.astype(np.float32), 0, 255), rng)


def as_cameras_save(picture: NDArray[np.float32], rng: np.random.Generator) -> Pixels:
    """Return a picture with the contrast, the colours and the sharp edges that a phone's software adds."""
    contrast, saturation = np.float32(rng.uniform(0.95, 1.55)), np.float32(rng.uniform(0.75, 1.4))
    grey = picture @ np.array([0.299, 0.587, 0.114], np.float32)
    middle = np.float32(0.5 * grey.mean() + 55)
    # contrast is about the middle, saturation about each pixel's own grey
    toned = middle + contrast * (grey - middle)
    developed = toned[..., None] + saturation * contrast * (picture - grey[..., None])
    if rng.random() < 0.6:
        soft = cv2.GaussianBlur(developed, (0, 0), rng.uniform(0.7, 1.6))
        developed += np.float32(rng.uniform(0.2, 1.2)) * (developed - soft)
    saved: Pixels = np.clip(developed, 0, 255).astype(np.uint8)
    return saved


def _cast_shadow(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """Return the light beside something that is not in the picture: a polygon of shade, its edge hard or soft."""
    small = size // 4  # an edge needs few pixels
    corners = rng.uniform(-0.3, 1.3, (int(rng.integers(3, 7)), 2)) * small
    shade = np.ones((small, small), np.float32)
    cv2.fillPoly(shade, [corners.astype(np.int32)], float(rng.uniform(0.3, 0.8)))
    soft = cv2.GaussianBlur(shade, (0, 0), log_uniform(rng, 0.4, 8.0))
    return np.asarray(cv2.resize(soft, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)


def _spot(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """Return the light of a lamp or flash that leaves the rest of the picture dark."""
    small = size // 8
    y, x = np.mgrid[0:small, 0:small].astype(np.float32) / small
    middle = rng.uniform(0.1, 0.9, 2)
    far = ((x - middle[0]) ** 2 + (y - middle[1]) ** 2) / rng.uniform(0.3, 0.9) ** 2
    dark = rng.uniform(0.2, 0.6)
    spot = (dark + (1.15 - dark) * np.exp(-far)).astype(np.float32)
    return np.asarray(cv2.resize(spot, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)
