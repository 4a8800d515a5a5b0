"""Textures drawn without Blender: grounds, prints, and parts of pictures. Random draws come from a NumPy generator."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

_SOLID = 128
"""Smallest alpha of a pixel that belongs to a cut-out's object."""


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number between two positive numbers, uniform in its logarithm."""
    return float(np.exp(rng.uniform(math.log(low), math.log(high))))


def crop(rng: np.random.Generator, picture: Pixels, height: int, width: int, *, low: float) -> Pixels:
    """Return a random part of a picture at the wanted size, often mirrored; it has at least `low` of its side."""
    share = rng.uniform(low, 1.0)
    h, w = picture.shape[:2]
    cut = share * min(h / height, w / width)
    cut_h, cut_w = max(2, int(cut * height)), max(2, int(cut * width))
    top, left = int(rng.integers(0, h - cut_h + 1)), int(rng.integers(0, w - cut_w + 1))
    part = cv2.resize(
        picture[top : top + cut_h, left : left + cut_w],
        (width, height),
        interpolation=cv2.INTER_AREA if cut > 1 else cv2.INTER_LINEAR,
    )
    if rng.random() < 0.5:
        part = part[:, ::-1]
    return np.ascontiguousarray(part)


def procedural(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """Return a ground of two or three colours: gradients, spots of any size, stripes or checks, with grain."""
    first, second = _colour(rng), _colour(rng)
    if rng.random() < 0.6:
        second = np.clip(first * rng.uniform(0.6, 1.5), 0, 255)
    kind = rng.random()
    if kind < 0.3:
        y, x = np.mgrid[0:1:8j, 0:1:8j]
        angle = rng.uniform(0, 2 * math.pi)
        mask = (x * math.cos(angle) + y * math.sin(angle)).astype(np.float32)
        mask = (mask - mask.min()) / (np.ptp(mask) + 1e-6)
    elif kind < 0.75:
        cells = int(log_uniform(rng, 2, 60))
        mask = rng.random((cells, max(1, int(cells * log_uniform(rng, 0.1, 1.0))))).astype(np.float32)
    else:
        count = int(log_uniform(rng, 2, 24))
        mask = (np.indices((count, count)).sum(axis=0) % 2).astype(np.float32)
        if rng.random() < 0.5:
            mask = mask[:1].repeat(count, axis=0)
    smooth = cv2.INTER_CUBIC if rng.random() < 0.7 else cv2.INTER_NEAREST
    mask = cv2.resize(mask, (width, height), interpolation=smooth).clip(0, 1)
    if rng.random() < 0.3:
        mask = (mask > rng.uniform(0.35, 0.65)).astype(np.float32)
    picture = first + (second - first) * mask[..., None]
    picture += cv2.resize(
        rng.normal(0, rng.uniform(0, 14), (height // 2 + 1, width // 2 + 1, 1)).astype(np.float32), (width, height)
    )[..., None]
    drawn: Pixels = np.clip(picture, 0, 255).astype(np.uint8)
    return drawn


_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
)
_LETTERS = list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789   .:?!*+-%")


def printed(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """Return something printed: words, lines, blots and frames on a ground."""
    picture = procedural(rng, height, width)
    side = max(height, width)
    for _ in range(int(rng.integers(2, 14))):
        colour = _colour(rng).tolist()
        x, y = int(rng.uniform(-0.1, 1) * width), int(rng.uniform(0, 1.1) * height)
        size = log_uniform(rng, 0.02, 0.5) * side
        filled = -1 if rng.random() < 0.6 else max(1, int(size * rng.uniform(0.03, 0.2)))
        kind = rng.random()
        if kind < 0.45:
            text = "".join(rng.choice(_LETTERS, int(rng.integers(1, 14))))
            font = _FONTS[int(rng.integers(len(_FONTS)))]
            cv2.putText(picture, text, (x, y), font, size / 30, colour, max(1, int(size / 12)), cv2.LINE_AA)
        elif kind < 0.65:
            end = (x + int(size * rng.uniform(0.2, 3)), y + int(size * rng.uniform(0.2, 1.5)))
            cv2.rectangle(picture, (x, y), end, colour, filled, cv2.LINE_AA)
        elif kind < 0.85:
            axes = (max(1, int(size / 2)), max(1, int(size * rng.uniform(0.2, 0.5))))
            cv2.ellipse(picture, (x, y), axes, rng.uniform(0, 180), 0, 360, colour, filled, cv2.LINE_AA)
        else:
            for line in range(int(rng.integers(2, 9))):
                top = y + int(line * size * 0.2)
                cv2.line(picture, (x, top), (x + int(2 * size), top), colour, max(1, int(size * 0.05)))
    return picture


def _colour(rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw a colour: mostly white, grey, black or beige, as most things are."""
    kind = rng.random()
    if kind < 0.4:
        hsv = (rng.uniform(0, 180), rng.uniform(0, 30), rng.uniform(110, 250))
    elif kind < 0.65:
        hsv = (rng.uniform(8, 25), rng.uniform(0, 120), rng.uniform(20, 200))
    else:
        hsv = (rng.uniform(0, 180), rng.uniform(50, 255), rng.uniform(20, 240))
    return np.asarray(cv2.cvtColor(np.array([[hsv]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0], np.float32)


def recoloured(rng: np.random.Generator, rgb: Pixels) -> Pixels:
    """Turn the hue far away, or change the order of the channels."""
    if rng.random() < 0.5:
        return rgb[..., rng.permutation([[1, 2, 0], [2, 0, 1], [2, 1, 0], [1, 0, 2]])[0]]
    hsv = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(int) + int(rng.integers(40, 140))) % 180
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)


def coloured_like(rgba: Pixels, other: Pixels) -> Pixels:
    """Return a cut-out with the mean colour and about the contrast of another cut-out."""
    inside, model = (item[..., :3][item[..., 3] > _SOLID].astype(np.float32) for item in (rgba, other))
    if not len(inside) or not len(model):
        return rgba
    gain = np.clip(model.std(axis=0) / (inside.std(axis=0) + 1), 0.5, 2.0)
    rgb = (rgba[..., :3] - inside.mean(axis=0)) * gain + model.mean(axis=0)
    return np.dstack([np.clip(rgb, 0, 255), rgba[..., 3]]).astype(np.uint8)


def worn(rng: np.random.Generator, rgba: Pixels) -> Pixels:
    """Return a cut-out with dust, stains, reflections or small print over its own colours."""
    height, width = rgba.shape[:2]
    over = (printed if rng.random() < 0.4 else procedural)(rng, height, width)
    share = np.float32(rng.uniform(0.08, 0.35))
    if rng.random() < 0.6:  # in patches
        cells = int(log_uniform(rng, 2, 20))
        patches = cv2.resize(rng.random((cells, cells)).astype(np.float32), (width, height))
        share = share * 2 * np.clip(patches - 0.35, 0, 1)[..., None]
    rgb = rgba[..., :3] + share * (over.astype(np.float32) - rgba[..., :3])
    return np.dstack([np.clip(rgb, 0, 255), rgba[..., 3]]).astype(np.uint8)


def marked(rng: np.random.Generator, rgba: Pixels) -> Pixels:
    """Return a cut-out with small print on it: words, dots, rings and lines, mostly of one colour."""
    height, width = rgba.shape[:2]
    side = math.ceil(math.hypot(height, width))
    ink = np.zeros((side, side, 4), np.uint8)
    main = (255, 255, 255) if rng.random() < 0.6 else tuple(int(value) for value in _colour(rng))
    for _ in range(int(log_uniform(rng, 3, 40))):
        colour = main if rng.random() < 0.8 else tuple(int(value) for value in _colour(rng))
        x, y = (int(value) for value in rng.uniform(0.1, 0.9, 2) * side)
        size = log_uniform(rng, 0.015, 0.09) * side
        line = max(1, int(size / 10))
        kind = rng.random()
        if kind < 0.5:
            text = "".join(rng.choice(_LETTERS, int(rng.integers(1, 9))))
            cv2.putText(ink, text, (x, y), _FONTS[int(rng.integers(2))], size / 25, (*colour, 255), line, cv2.LINE_AA)
        elif kind < 0.8:
            filled = line if rng.random() < 0.5 else -1
            cv2.circle(ink, (x, y), max(1, int(size / 3)), (*colour, 255), filled, cv2.LINE_AA)
        else:
            end = (x + int(size * rng.uniform(0.5, 4)), y) if rng.random() < 0.5 else (x, y + int(size * 3))
            cv2.line(ink, (x, y), end, (*colour, 255), line, cv2.LINE_AA)
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), rng.uniform(0, 360), 1.0)
    turn[:, 2] -= ((side - width) / 2, (side - height) / 2)
    over = cv2.warpAffine(ink, turn, (width, height)).astype(np.float32)
    share = over[..., 3:] / 255 * np.float32(rng.uniform(0.5, 1.0))
    rgb = rgba[..., :3] * (1 - share) + over[..., :3] * share
    return np.dstack([np.clip(rgb, 0, 255), rgba[..., 3]]).astype(np.uint8)


def shaded(rng: np.random.Generator, rgba: Pixels) -> Pixels:
    """Return a cut-out in other shades: a hue nearby, more or less colourful, lighter or darker."""
    hsv = cv2.cvtColor(np.ascontiguousarray(rgba[..., :3]), cv2.COLOR_RGB2HSV).astype(np.float32)
    hsv[..., 0] = (hsv[..., 0] + rng.normal(0, 14)) % 180
    hsv[..., 1] *= log_uniform(rng, 0.5, 1.6)
    hsv[..., 2] *= log_uniform(rng, 0.5, 1.25)
    rgb = cv2.cvtColor(np.clip(hsv, 0, (179, 255, 255)).astype(np.uint8), cv2.COLOR_HSV2RGB)
    return np.dstack([rgb, rgba[..., 3]])
