"""Bar charts as SVG for an HTML page; the page's style gives the colours."""

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

_WIDTH, _HEIGHT = 520, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 6, 22, 34
_BINS = 24
_DECADE = 10


def histogram(
    values: NDArray[np.float64],
    *,
    title: str,
    unit: str,
    marks: Sequence[tuple[float, str]] = (),
    is_log: bool = True,
) -> str:
    """Return a histogram as SVG.

    Args:
        values: (N,), above 0 on a logarithmic axis; if empty, the chart says so.
        title: the quantity counted, for the heading and for screen readers.
        unit: unit of the axis.
        marks: positions on the axis with a word each, drawn as dotted lines.
        is_log: whether the axis is logarithmic; otherwise each whole number has a bar, up to a maximum.
    """
    if not len(values):
        return _figure(title, f'<text x="{_WIDTH / 2}" y="{_HEIGHT / 2}" class="middle">none</text>', unit)
    places = [position for position, _ in marks]
    low, high = min([float(values.min()), *places]), max([float(values.max()), *places])
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

    def x_of(value: float) -> float:
        start, end = scale(edges[0]), scale(edges[-1])
        return float(_LEFT + (scale(value) - start) / (end - start) * (_WIDTH - _LEFT - _RIGHT))

    shown = [tick for tick in ticks if edges[0] <= tick <= edges[-1]] or [float(np.median(values))]
    parts = [*_bars(counts, [x_of(edge) for edge in edges]), *_axis([(x_of(tick), f"{tick:g}") for tick in shown])]
    for position, word in marks:
        x = x_of(position)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}" class="mark"/>')
        parts.append(f'<text x="{x:.1f}" y="{_TOP - 4}" class="middle small">{escape(word)}</text>')
    return _figure(title, "".join(parts), unit)


def _bars(counts: NDArray[np.int64], edges: Sequence[float]) -> list[str]:
    top = max(int(counts.max()), 1)
    room = _HEIGHT - _TOP - _BOTTOM
    parts = [f'<text x="{_LEFT - 4}" y="{_TOP + 8}" class="end small">{top}</text>']
    for count, x0, x1 in zip(counts.tolist(), edges[:-1], edges[1:], strict=True):
        if count:
            height = max(1.0, room * count / top)
            parts.append(
                f'<rect x="{x0 + 0.5:.1f}" y="{_TOP + room - height:.1f}" width="{max(x1 - x0 - 1, 1):.1f}" '
                f'height="{height:.1f}" class="bar"><title>{count}</title></rect>'
            )
    return parts


def _axis(ticks: Sequence[tuple[float, str]]) -> list[str]:
    base = _HEIGHT - _BOTTOM
    parts = [f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{base}" y2="{base}" class="axis"/>']
    free_from = 0.0
    for x, word in ticks:
        if x >= free_from:  # keep the words from overlapping
            parts.append(f'<text x="{x:.1f}" y="{base + 13}" class="middle small">{word}</text>')
            free_from = x + 8 * len(word) + 6
    return parts


def _figure(title: str, inside: str, unit: str) -> str:
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">{inside}<text x="{_WIDTH / 2}" y="{_HEIGHT - 6}" class="middle small">'
        f"{escape(unit)}</text></svg></figure>"
    )
