"""A histogram as the positions of its bars and labels, for the template that draws it as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

_BINS = 24
_DECADE = 10

Labels = tuple[tuple[float, str], ...]
"""Positions on the axis, in px of the chart, with a text each."""


@dataclass(frozen=True)
class Bar:
    """Rectangle of a bar, in px of the chart, and the number of values in it."""

    x: float
    y: float
    width: float
    height: float
    count: int


@dataclass(frozen=True)
class Histogram:
    """A chart of `width` x `height` px with margins around the bars.

    Attributes:
        title: the quantity counted, for the heading and for screen readers.
        unit: unit of the axis.
        bars: bars that hold a value; none if there are no values.
        ticks: numbers along the axis.
        marks: texts of the dotted lines.
    """

    title: str
    unit: str
    bars: tuple[Bar, ...] = ()
    ticks: Labels = ()
    marks: Labels = ()
    width: ClassVar = 520
    height: ClassVar = 190
    left: ClassVar = 34
    right: ClassVar = 6
    top: ClassVar = 22
    bottom: ClassVar = 34

    @property
    def highest(self) -> int:
        """Number of values in the highest bar."""
        return max(bar.count for bar in self.bars)


def histogram(
    values: NDArray[np.float64],
    *,
    title: str,
    unit: str,
    marks: Sequence[tuple[float, str]] = (),
    is_log: bool = True,
) -> Histogram:
    """Return the histogram of some values.

    Args:
        values: (N,), above 0 on a logarithmic axis.
        title: the quantity counted.
        unit: unit of the axis.
        marks: positions on the axis with a text each.
        is_log: whether the axis is logarithmic; otherwise each whole number has a bar, up to a maximum.
    """
    if not len(values):
        return Histogram(title, unit)
    positions = [*values.tolist(), *(position for position, _ in marks)]
    low, high = min(positions), max(positions)
    if is_log:
        edges = np.geomspace(low / 1.05, high * 1.05, _BINS + 1)
        digits = (1, 2, 5) if edges[-1] > _DECADE * edges[0] else range(1, 10)
        ticks = [digit * 10.0**exponent for exponent in range(-3, 6) for digit in digits]
    else:
        step = max(1, int(np.ceil((high - low + 1) / _BINS)))
        edges = np.arange(low, high + step + 1, step) - 0.5
        ticks = list(np.arange(low, high + 1, max(1, int(np.ceil((high - low) / 8)))))
    counts, _ = np.histogram(values, edges)
    scale = np.log if is_log else np.asarray
    start, end = scale(edges[0]), scale(edges[-1])

    def x_of(value: float) -> float:
        room = Histogram.width - Histogram.left - Histogram.right
        return round(float(Histogram.left + (scale(value) - start) / (end - start) * room), 1)

    shown = [tick for tick in ticks if edges[0] <= tick <= edges[-1]] or [float(np.median(values))]
    return Histogram(
        title,
        unit,
        bars=_bars(counts, [x_of(edge) for edge in edges]),
        ticks=_apart([(x_of(tick), f"{tick:g}") for tick in shown]),
        marks=tuple((x_of(position), text) for position, text in marks),
    )


def _bars(counts: NDArray[np.int64], edges: Sequence[float]) -> tuple[Bar, ...]:
    room = Histogram.height - Histogram.top - Histogram.bottom
    heights = np.maximum(1.0, room * counts / counts.max()).round(1).tolist()
    return tuple(
        Bar(round(x0 + 0.5, 1), round(Histogram.top + room - height, 1), round(max(x1 - x0 - 1, 1), 1), height, count)
        for count, height, x0, x1 in zip(counts.tolist(), heights, edges[:-1], edges[1:], strict=True)
        if count
    )


def _apart(ticks: Sequence[tuple[float, str]]) -> Labels:
    """Return the ticks whose texts do not overlap an earlier one."""
    kept, free_from = [], 0.0
    for x, text in ticks:
        if x >= free_from:
            kept.append((x, text))
            free_from = x + 8 * len(text) + 6
    return tuple(kept)
