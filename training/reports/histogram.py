"""A histogram as numbers, for the template that draws it as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BINS = 24
_DECADE = 10
_LETTER = 0.017
"""Width of a letter at the axis, as a fraction of the chart's width."""


@dataclass(frozen=True)
class Histogram:
    """A histogram; positions along the axis are fractions of its length, 0..1.

    Attributes:
        title: the quantity counted, for the heading and for screen readers.
        unit: unit of the axis.
        bars: start, end and count of each bar that holds a value; empty if there are no values.
        ticks: positions of the numbers along the axis.
        marks: positions and texts of the dotted lines.
    """

    title: str
    unit: str
    bars: tuple[tuple[float, float, int], ...] = ()
    ticks: tuple[tuple[float, str], ...] = ()
    marks: tuple[tuple[float, str], ...] = ()


def histogram(
    values: NDArray[np.float64],
    title: str,
    unit: str,
    *,
    marks: Sequence[tuple[float, str]] = (),
    is_log: bool = True,
) -> Histogram:
    """Return the histogram of some values.

    Args:
        values: (N,), above 0 on a logarithmic axis.
        title: the quantity counted.
        unit: unit of the axis.
        marks: values to mark, with a text each.
        is_log: whether the axis is logarithmic; otherwise each whole number has a bar, up to a maximum.
    """
    if not len(values):
        return Histogram(title, unit)
    covered = [*values.tolist(), *(value for value, _ in marks)]
    low, high = min(covered), max(covered)
    if is_log:
        edges = np.geomspace(low / 1.05, high * 1.05, _BINS + 1)
        digits = (1, 2, 5) if edges[-1] > _DECADE * edges[0] else range(1, 10)
        ticks = [digit * 10.0**exponent for exponent in range(-3, 6) for digit in digits]
    else:
        step = max(1, int(np.ceil((high - low + 1) / _BINS)))
        edges = np.arange(low, high + step + 1, step) - 0.5
        ticks = list(np.arange(low, high + 1, max(1, int(np.ceil((high - low) / 8)))))
    counts, _ = np.histogram(values, edges)

    def position(value: float) -> float:
        start, at, end = np.log([edges[0], value, edges[-1]]) if is_log else (edges[0], value, edges[-1])
        return float((at - start) / (end - start))

    shown = [tick for tick in ticks if edges[0] <= tick <= edges[-1]] or [float(np.median(values))]
    return Histogram(
        title,
        unit,
        bars=tuple(
            (position(start), position(end), count)
            for start, end, count in zip(edges[:-1], edges[1:], counts.tolist(), strict=True)
            if count
        ),
        ticks=_apart([(position(tick), f"{tick:g}") for tick in shown]),
        marks=tuple((position(value), text) for value, text in marks),
    )


def _apart(ticks: Sequence[tuple[float, str]]) -> tuple[tuple[float, str], ...]:
    """Return the ticks whose texts do not overlap an earlier one."""
    kept, free_from = [], 0.0
    for position, text in ticks:
        if position >= free_from:
            kept.append((position, text))
            free_from = position + _LETTER * (len(text) + 0.75)
    return tuple(kept)
