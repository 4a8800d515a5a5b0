"""Composites: pictures pasted together from cut-outs and backdrops, a new one for each seed.

A composite is a window of the network's input. It shows up to a dozen cut-outs at true relative size, before a
backdrop, among distractors, with shadows. It costs a few hundredths of a second, so training never waits for it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.synthetic.annotate import MIN_VISIBLE
from training.synthetic.composites.cutouts import Cutout
from training.synthetic.composites.lighting import lit
from training.synthetic.composites.textures import (
    coloured_like,
    crop,
    log_uniform,
    marked,
    printed,
    procedural,
    recoloured,
    shaded,
    worn,
)

Pixels = NDArray[np.uint8]

MIN_SIDE_PX = 6
_MOST_OBJECTS = 12
_MIN_ALPHA = 128
_WHOLE = 0.8
"""Share of the things outside heaps that are not cut by the picture's edge."""


@dataclass(frozen=True)
class CompositeOptions:
    """Ranges of the composites.

    Attributes:
        size_px: side of the window, px.
        picture_px: shorter side of the picture that the window is cut from, px: the network's `min_size`.
        smallest: smallest side of a typical object, as a share of the picture's side.
        largest: largest side. Sizes between the two are log-uniform in a quarter of the composites; in the others they
            are likelier the nearer they are to the geometric middle.
        empty_share: share of the composites without a labelled object.
    """

    size_px: int = 448
    picture_px: int = 640
    smallest: float = 0.03
    largest: float = 0.7
    empty_share: float = 0.06


@dataclass(frozen=True, eq=False)
class Composite:
    """One composite.

    Attributes:
        pixels: uint8 (S, S, 3), RGB.
        boxes_xyxy: float32 (N, 4), tight boxes around the visible parts, px.
        labels: class names of the boxes.
        ignored_xyxy: float32 (M, 4), boxes of objects that are too hidden or too small to be labelled.
    """

    pixels: Pixels
    boxes_xyxy: NDArray[np.float32]
    labels: tuple[str, ...]
    ignored_xyxy: NDArray[np.float32]


@dataclass(eq=False)
class _Layer:
    """A resized cut-out with its place in the window. `rgb` is float32, `alpha` is float32 in 0..1."""

    rgb: NDArray[np.float32]
    alpha: NDArray[np.float32]
    left: int
    top: int
    label: str | None


class Compositor:
    """A source of composites, drawn from cut-outs and backdrops."""

    def __init__(
        self,
        cutouts: Sequence[Cutout],
        backdrops: Sequence[Pixels],
        options: CompositeOptions | None = None,
        *,
        clutter: Sequence[Cutout] = (),
    ) -> None:
        """Group the cut-outs by class.

        Args:
            cutouts: pictures of the objects.
            backdrops: RGB pictures without any of the objects, uint8 (H, W, 3); may be empty.
            options: ranges; None takes the defaults.
            clutter: pictures of things that are never labelled.
        """
        self._options = options or CompositeOptions()
        self._backdrops, self._clutter = backdrops, clutter
        self._by_label: dict[str, list[Cutout]] = {}
        for cutout in cutouts:
            self._by_label.setdefault(cutout.label, []).append(cutout)
        self._labels = sorted(self._by_label)
        self._all = list(cutouts)
        diameters = [self._by_label[label][0].diameter for label in self._labels]
        self._typical = math.exp(sum(math.log(value) for value in diameters) / len(diameters))

    def draw(self, seed: int) -> Composite:
        """Return the composite of a seed."""
        rng = np.random.default_rng(seed)
        options = self._options
        canvas = self._backdrop(rng).astype(np.float32)
        draws = 2 if rng.random() < 0.75 else 1
        size_px = math.prod(log_uniform(rng, options.smallest, options.largest) for _ in range(draws)) ** (1 / draws)
        size_px *= options.picture_px
        layers = self._layers(rng, size_px)
        seen = np.zeros((options.size_px, options.size_px), np.int16)
        light = rng.normal(0, 0.06, 3).astype(np.float32)  # one colour of light for all objects of a picture
        for number, layer in enumerate(layers, 1):
            if rng.random() < 0.85:
                _shade(canvas, layer, rng)
            _paste(canvas, seen, layer, number, light)
        pixels = lit(canvas, rng)
        return _annotate(pixels, seen, layers)

    def _layers(self, rng: np.random.Generator, size_px: float) -> list[_Layer]:
        options = self._options
        room = 1.5 * (options.size_px / size_px) ** 2
        most = int(min(_MOST_OBJECTS, max(1, room)))
        is_empty = rng.random() < options.empty_share
        count = 0 if is_empty else int(rng.integers(1, most + 1))
        others = int(rng.integers(0, 8)) if rng.random() < 0.8 else 0
        if is_empty:
            others += 2
        kinds = [True] * count + [False] * min(others, most)
        rng.shuffle(kinds)
        heap = rng.uniform(0.2, 0.8, 2) * options.size_px if rng.random() < 0.4 else None
        layers = []
        for is_object in kinds:
            label = str(rng.choice(self._labels))
            cutout = self._pick(rng, label)
            if is_object:
                scale = cutout.diameter / self._typical * log_uniform(rng, 0.85, 1.18)
                rgba = _as_in_reality(rng, cutout)
                layer = _resized(rng, rgba, size_px * scale / cutout.diameter_px, label)
            else:
                layer = self._distractor(rng, cutout, size_px * log_uniform(rng, 0.6, 1.7))
            middle = self._place(rng, layer) if heap is None else heap + rng.normal(0, 0.55 * size_px, 2)
            layer.left = round(float(middle[0]) - layer.alpha.shape[1] / 2)
            layer.top = round(float(middle[1]) - layer.alpha.shape[0] / 2)
            layers.append(layer)
        return layers

    def _place(self, rng: np.random.Generator, layer: _Layer) -> NDArray[np.float64]:
        """Draw the middle of a layer: mostly the layer is in the picture as a whole, if it fits.

        Otherwise large objects would nearly always be cut, and the detector would take parts for objects.
        """
        half = np.array(layer.alpha.shape[::-1]) / 2
        room = np.maximum(self._options.size_px - 2 * half, 0) if rng.random() < _WHOLE else None
        if room is None:
            return rng.uniform(-0.05, 1.05, 2) * self._options.size_px
        return half + rng.random(2) * room

    def _pick(self, rng: np.random.Generator, label: str) -> Cutout:
        found = self._by_label[label]
        return found[int(rng.integers(len(found)))]

    def _distractor(self, rng: np.random.Generator, cutout: Cutout, size_px: float) -> _Layer:
        """Return something that resembles the objects and is none: another texture, other colours, or mixed parts."""
        rgba = cutout.rgba
        kind = rng.random()
        if self._clutter and rng.random() < 0.6:
            thing = self._clutter[int(rng.integers(len(self._clutter)))].rgba
            size_px *= 1.4
            if rng.random() < 0.4:
                thing = coloured_like(thing, rgba)
            elif rng.random() < 0.4:
                thing = self._retextured(rng, thing)
            if rng.random() < 0.4:
                thing = marked(rng, thing)
            return _resized(rng, thing, size_px / max(thing.shape[:2]), None)
        if kind < 0.45:
            rgba = self._retextured(rng, rgba)
        elif kind < 0.65:
            rgba = np.concatenate([recoloured(rng, rgba[..., :3]), rgba[..., 3:]], axis=2)
        else:
            rgba = self._mixed(rng, rgba)
        return _resized(rng, rgba, size_px / max(rgba.shape[:2]), None)

    def _retextured(self, rng: np.random.Generator, rgba: Pixels) -> Pixels:
        """Keep outline and shading, and take the texture from somewhere else."""
        height, width = rgba.shape[:2]
        texture = self._texture(rng, height, width).astype(np.float32)
        grey = cv2.GaussianBlur(cv2.cvtColor(rgba[..., :3], cv2.COLOR_RGB2GRAY), (0, 0), 6).astype(np.float32)
        inside = rgba[..., 3] > _MIN_ALPHA
        shade = (grey + 30) / ((float(grey[inside].mean()) if inside.any() else 128.0) + 30)
        return np.dstack([np.clip(texture * shade[..., None], 0, 255), rgba[..., 3]]).astype(np.uint8)

    def _texture(self, rng: np.random.Generator, height: int, width: int) -> Pixels:
        if self._backdrops and rng.random() < 0.6:
            return crop(rng, self._backdrops[int(rng.integers(len(self._backdrops)))], height, width, low=0.15)
        return printed(rng, height, width) if rng.random() < 0.6 else procedural(rng, height, width)

    def _mixed(self, rng: np.random.Generator, rgba: Pixels) -> Pixels:
        """Put the parts of an object together wrongly: tiles of it and of another object change places."""
        height, width = rgba.shape[:2]
        other = self._pick(rng, str(rng.choice(self._labels))).rgba
        other = np.asarray(cv2.resize(other, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        parts = int(rng.integers(2, 5))
        rows = np.linspace(0, height, parts + 1).astype(int)
        columns = np.linspace(0, width, parts + 1).astype(int)
        mixed = rgba.copy()
        for row in range(parts):
            for column in range(parts):
                source = other if rng.random() < 0.5 else rgba
                r, c = int(rng.integers(parts)), int(rng.integers(parts))
                tile = source[rows[r] : rows[r + 1], columns[c] : columns[c + 1]]
                h, w = rows[row + 1] - rows[row], columns[column + 1] - columns[column]
                if tile.size and h and w:
                    mixed[rows[row] : rows[row + 1], columns[column] : columns[column + 1]] = cv2.resize(tile, (w, h))
        return mixed

    def _backdrop(self, rng: np.random.Generator) -> Pixels:
        size = self._options.size_px
        if not self._backdrops or rng.random() < 0.25:
            return printed(rng, size, size) if rng.random() < 0.4 else procedural(rng, size, size)
        picture = self._backdrops[int(rng.integers(len(self._backdrops)))]
        canvas = crop(rng, picture, size, size, low=0.35)
        if rng.random() < 0.3:  # the lower part is a plain table or floor
            table = procedural(rng, size, size)
            edge = int(rng.uniform(0.1, 0.8) * size)
            canvas[edge:] = table[edge:]
        return canvas


def _as_in_reality(rng: np.random.Generator, cutout: Cutout) -> Pixels:
    """Return an object with wear; one of plain colours also in other shades and with print, which CAD leaves out."""
    rgba = cutout.rgba
    if cutout.is_plain:
        rgba = shaded(rng, rgba)
        if rng.random() < 0.6:
            rgba = marked(rng, rgba)
    return worn(rng, rgba) if rng.random() < (0.6 if cutout.is_plain else 0.35) else rgba


def _resized(rng: np.random.Generator, rgba: Pixels, scale: float, label: str | None) -> _Layer:
    """Return a cut-out at a new size, with its own exposure and a slightly soft edge."""
    height, width = rgba.shape[:2]
    size = (max(3, round(width * scale)), max(3, round(height * scale)))
    premultiplied = rgba.astype(np.float32)
    premultiplied[..., :3] *= premultiplied[..., 3:] / 255
    resized = cv2.resize(premultiplied, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    alpha = np.clip(resized[..., 3] / 255, 0, 1)
    rgb = resized[..., :3] / np.maximum(alpha, 1e-3)[..., None]
    gain, gamma = log_uniform(rng, 0.7, 1.7), log_uniform(rng, 0.8, 1.25)
    rgb = 255 * np.power(np.clip(rgb / 255, 0, 1), gamma) * gain
    if rng.random() < 0.5:
        alpha[:] = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.3, 0.9))
    return _Layer(np.clip(rgb, 0, 255).astype(np.float32), np.asarray(alpha, np.float32), 0, 0, label)


def _paste(
    canvas: NDArray[np.float32], seen: NDArray[np.int16], layer: _Layer, number: int, light: NDArray[np.float32]
) -> None:
    """Draw a layer, and enter its number where it covers the picture."""
    window = _overlap(layer, canvas.shape[0])
    if window is None:
        return
    here, there = window
    alpha = layer.alpha[there][..., None]
    canvas[here] += alpha * (layer.rgb[there] * (1 + light) - canvas[here])
    seen[here][layer.alpha[there] > 0.5] = number


def _shade(canvas: NDArray[np.float32], layer: _Layer, rng: np.random.Generator) -> None:
    side = max(layer.alpha.shape)
    reach = int(0.35 * side) + 2
    blur = side * rng.uniform(0.01, 0.12) + 0.5
    shadow = cv2.copyMakeBorder(layer.alpha, reach, reach, reach, reach, cv2.BORDER_CONSTANT)
    shrink = 1 if side < 64 else 4  # a blurred mask needs few pixels
    small = cv2.resize(shadow, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), blur / shrink)
    shadow = cv2.resize(small, (shadow.shape[1], shadow.shape[0]), interpolation=cv2.INTER_LINEAR)
    angle, far = rng.uniform(0, 2 * math.pi), side * rng.uniform(0, 0.14)
    cast = _Layer(
        layer.rgb,
        shadow * np.float32(rng.uniform(0.2, 0.8)),
        layer.left - reach + round(far * math.cos(angle)),
        layer.top - reach + round(far * math.sin(angle)),
        None,
    )
    window = _overlap(cast, canvas.shape[0])
    if window is not None:
        here, there = window
        canvas[here] *= 1 - cast.alpha[there][..., None]


def _overlap(layer: _Layer, size: int) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """Return the part of the picture that a layer covers, and the same part of the layer."""
    height, width = layer.alpha.shape
    top, left = max(layer.top, 0), max(layer.left, 0)
    bottom, right = min(layer.top + height, size), min(layer.left + width, size)
    if bottom <= top or right <= left:
        return None
    here = (slice(top, bottom), slice(left, right))
    there = (slice(top - layer.top, bottom - layer.top), slice(left - layer.left, right - layer.left))
    return here, there


def _annotate(pixels: Pixels, seen: NDArray[np.int16], layers: Sequence[_Layer]) -> Composite:
    boxes, labels, ignored = [], [], []
    for number, layer in enumerate(layers, 1):
        if layer.label is None:
            continue
        mask = seen == number
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            continue
        box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        whole = float((layer.alpha > 0.5).sum())
        is_clear = mask.sum() >= MIN_VISIBLE * whole and min(box[2] - box[0], box[3] - box[1]) >= MIN_SIDE_PX
        if is_clear:
            boxes.append(box)
            labels.append(layer.label)
        else:
            ignored.append(box)
    return Composite(
        pixels,
        np.array(boxes, np.float32).reshape(-1, 4),
        tuple(labels),
        np.array(ignored, np.float32).reshape(-1, 4),
    )
