"""The size of a network's input as nodes of an ONNX graph: torchvision's float64 arithmetic in float32.

torchvision resizes a side H to floor(fl(H * fl(m / s))), where fl rounds to float64. s is the shorter side and m the
network's `min_size`, or the longer side and `max_size`, whichever quotient is smaller. Several runtimes have no
float64, and one px more or less moves every box. Two facts make float32 enough:

- H * m / s is a whole number, or at least 1 / s away from the next one. So its floor needs 26 bits: those of a float32
  quotient and of its error.
- Only if H * m / s is a whole number, float64 may round it to just below. H times the error of fl(m / s), from a table,
  then exceeds half the distance between two float64 numbers.
"""

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from training.releasing.onnx_nodes import Nodes, Value

MOST_SIDE_PX = 16384
"""Longest side, px, of images whose size is computed exactly; sides of the input may have 2,047 px."""

_NEAR = 2.0**-15
"""Less than the distance 1 / s of any other quotient from a whole number."""


def resized(nodes: Nodes, size_hw: Value, *, min_size: int, max_size: int) -> Value:
    """Return the sizes (2,) of the network's input, px, float32; 0 for a side of which nothing is left.

    Args:
        nodes: the graph.
        size_hw: height and width of the image, px, float32.
        min_size: target length of the shorter side, px.
        max_size: maximum length of the longer side, px.
    """
    add = nodes.add
    scale, error, rounding = _scale(nodes, size_hw, min_size, max_size)
    large, middle, small = _exact_products(nodes, size_hw, scale)
    rest = add("Add", add("Add", middle, small), add("Mul", size_hw, error))
    carry = _cut(nodes, add("Add", rest, nodes.f32(_NEAR / 2)), 12)
    whole = add("Floor", add("Add", large, carry))
    fraction = add("Add", add("Sub", large, whole), rest)
    is_whole = add("Less", fraction, nodes.f32(_NEAR))
    longest = max(max_size, min_size)
    half_step = nodes.gather(nodes.f32(_half_steps(longest)), _index(nodes, whole, longest))
    is_below = add("Less", add("Mul", size_hw, rounding), half_step)
    return str(add("Sub", whole, nodes.to_f32(add("And", is_whole, is_below))))


def _scale(nodes: Nodes, size_hw: Value, min_size: int, max_size: int) -> tuple[Value, Value, Value]:
    """Return the scale, its float32 error and its float64 error in units of 2^-52."""
    rows = []
    for kind, target in (("ReduceMin", min_size), ("ReduceMax", max_size)):
        side = str(nodes.add(kind, size_hw, nodes.i64([0])))
        table = nodes.f32(_rounding_errors(target))
        rows.append((*_quotient(nodes, target, side), nodes.gather(table, _index(nodes, side, MOST_SIDE_PX))))
    shorter, longer = rows
    is_tie = nodes.add("Equal", shorter[0], longer[0])
    is_smaller = nodes.add(
        "Or",
        nodes.add("Less", shorter[0], longer[0]),
        nodes.add("And", is_tie, nodes.add("LessOrEqual", shorter[1], longer[1])),
    )
    scale, error, rounding = (str(nodes.add("Where", is_smaller, *pair)) for pair in zip(shorter, longer, strict=True))
    return scale, error, rounding


def _quotient(nodes: Nodes, size: int, side: Value) -> tuple[Value, Value]:
    """Return size / side as float32, and what is left; a runtime may divide by multiplying with a reciprocal."""
    guess = str(nodes.add("Div", nodes.f32(size), side))
    rest = nodes.f32(size)
    for product in _exact_products(nodes, side, guess):
        rest = nodes.add("Sub", rest, product)
    return guess, str(nodes.add("Div", rest, side))


def _exact_products(nodes: Nodes, size: Value, scale: Value) -> tuple[Value, Value, Value]:
    """Return three products whose sum is size * scale: multiples of 2^-12, of 2^-20 and the rest.

    The scale is split into digits, so that each product has at most 24 bits and is exact in float32.
    """
    large = _cut(nodes, scale, 12)
    rest = nodes.add("Sub", scale, large)
    middle = _cut(nodes, rest, 20)
    digits = (large, middle, nodes.add("Sub", rest, middle))
    first, second, third = (str(nodes.add("Mul", size, digit)) for digit in digits)
    return first, second, third


def _cut(nodes: Nodes, value: Value, bits: int) -> Value:
    """Return numbers rounded down to a multiple of 2^-bits."""
    factor = nodes.f32(2.0**bits)
    return str(nodes.add("Mul", nodes.add("Floor", nodes.add("Mul", value, factor)), nodes.f32(2.0**-bits)))


def _index(nodes: Nodes, value: Value, most: int) -> Value:
    return nodes.to_i64(nodes.add("Min", value, nodes.f32(most)))


def _rounding_errors(size: int) -> NDArray[np.float32]:
    """Return fl(size / s) - size / s, in units of 2^-52, for s = 0 (unused) .. `MOST_SIDE_PX`."""
    errors = [(Fraction(size / side) - Fraction(size, side)) * 2**52 for side in range(1, MOST_SIDE_PX + 1)]
    return np.array([0, *errors], np.float32)


def _half_steps(longest: int) -> NDArray[np.float32]:
    """Return minus half the distance to the next float64 below n, in units of 2^-52, for n = 0 .. longest.

    Half of it exactly is rounded up to n, so the values are a little larger.
    """
    steps = [float(n - np.nextafter(float(n), 0.0)) * 2**51 for n in range(1, longest + 1)]
    return np.array([0, *(-step * (1 + 1e-6) for step in steps)], np.float32)
