"""The size of a network's input as nodes of an ONNX graph: torchvision's float64 arithmetic in float32.

torchvision resizes a side H to floor(fl(H * fl(m / s))), where fl rounds to float64. s is the shorter side and m the
network's `min_size`, or the longer side and `max_size`, whichever quotient is smaller. Several runtimes have no
float64, and one px more or less moves every box. Two facts make float32 enough:

- H * m / s is a whole number n, or at least 1 / s away from the next one. So its floor needs 26 bits: those of a
  float32 quotient and of its error.
- Only if it is whole, float64 may round it to just below. fl(m / s) is m / s less r / (s * 2^k), where r is the
  remainder of m * 2^k by s and k gives the quotient 53 bits. H times that must exceed half the distance from n to the
  float64 number below it, 2^(e - 53) with 2^e < n <= 2^(e + 1). As H / s is n / m, this is n * r > m * 2^(k + e - 53).

There are no tables, because TensorRT computes shapes with at most 64 numbers.
"""

import numpy as np
from onnx import TensorProto

from training.releasing.onnx_nodes import Nodes, Value

_NEAR = 2.0**-15
"""Less than the distance 1 / s of any other quotient from a whole number."""

_SMALLEST, _LARGEST = -14, 11
"""Exponents of the powers of two between which the scale lies."""

_STEP = 9
"""Bits by which a remainder is shifted at once: below 2^24 with those of a side, and one side more."""


def resized(nodes: Nodes, size_hw: Value, *, min_size: int, max_size: int) -> Value:
    """Return the sizes (2,) of the network's input, px, float32; 0 for a side of which nothing is left.

    They are exact for images up to 16,384 px and inputs up to 2,047 px.

    Args:
        nodes: the graph.
        size_hw: height and width of the image, px, float32.
        min_size: target length of the shorter side, px.
        max_size: maximum length of the longer side, px.
    """
    add = nodes.add
    scale, error, side, target = _scale(nodes, size_hw, min_size, max_size)
    large, middle, small = _exact_products(nodes, size_hw, scale)
    rest = add("Add", add("Add", middle, small), add("Mul", size_hw, error))
    carry = _cut(nodes, add("Add", rest, nodes.f32(_NEAR / 2)), 12)
    whole = add("Floor", add("Add", large, carry))
    is_whole = add("Less", add("Add", add("Sub", large, whole), rest), nodes.f32(_NEAR))
    is_below = add("And", is_whole, _is_rounded_below(nodes, whole, side, target))
    return str(add("Sub", whole, nodes.to_f32(is_below)))


def _scale(nodes: Nodes, size_hw: Value, min_size: int, max_size: int) -> list[Value]:
    """Return the scale, its float32 error, and the side s and the target m whose quotient it is, (1,) each."""
    rows = []
    for kind, target in (("ReduceMin", min_size), ("ReduceMax", max_size)):
        side = str(nodes.add(kind, size_hw, nodes.i64([0])))
        rows.append((*_quotient(nodes, target, side), side, nodes.f32([target])))
    shorter, longer = rows
    is_tie = nodes.add("Equal", shorter[0], longer[0])
    is_smaller = nodes.add(
        "Or",
        nodes.add("Less", shorter[0], longer[0]),
        nodes.add("And", is_tie, nodes.add("LessOrEqual", shorter[1], longer[1])),
    )
    return [str(nodes.add("Where", is_smaller, *pair)) for pair in zip(shorter, longer, strict=True)]


def _is_rounded_below(nodes: Nodes, whole: Value, side: Value, target: Value) -> Value:
    """Return whether fl(H * fl(m / s)) is below n = H * m / s, for whole numbers n (2,); s and m are (1,)."""
    add = nodes.add
    exponents = np.arange(_SMALLEST, _LARGEST + 1)
    reached = _count(nodes, "LessOrEqual", add("Mul", side, nodes.f32(2.0**exponents)), target)
    bits = 52 - (exponents - 1)  # k, if so many powers of two are reached, from none on; a scale below all is none
    fixed = (int(bits.min()) - 1) // _STEP
    shifts = bits - fixed * _STEP
    remainder = _remainder(nodes, target, side)
    for _ in range(fixed):
        remainder = _remainder(nodes, add("Mul", remainder, nodes.f32(2.0**_STEP)), side)
    while shifts.any():
        shift = np.minimum(shifts, _STEP)
        factor = nodes.gather(nodes.f32(2.0**shift), reached)
        remainder = _remainder(nodes, add("Mul", remainder, factor), side)
        shifts = shifts - shift
    powers = np.arange(12)
    passed = _count(nodes, "Greater", add("Unsqueeze", whole, nodes.i64([1])), nodes.f32(2.0**powers))
    half_step = add(
        "Mul",
        nodes.gather(nodes.f32(2.0 ** (bits - 52)), reached),
        nodes.gather(nodes.f32(2.0 ** (np.arange(13) - 2)), passed),  # e is one less than the powers passed
    )
    exceeds = add("Greater", add("Mul", whole, remainder), add("Mul", target, half_step))
    is_rounded_down = add("Less", add("Mul", remainder, nodes.f32(2)), side)
    return str(add("And", exceeds, is_rounded_down))


def _count(nodes: Nodes, comparison: str, left: Value, right: Value) -> Value:
    """Return how often a comparison is true along the last axis, int64 (N,)."""
    held = nodes.add("Cast", nodes.add(comparison, left, right), to=TensorProto.INT64)
    return str(nodes.add("Reshape", nodes.add("ReduceSum", held, nodes.i64([-1])), nodes.i64([-1])))


def _remainder(nodes: Nodes, value: Value, side: Value) -> Value:
    """Return the remainder of whole numbers below 2^23 by a side, even if the runtime's quotient is a little off."""
    times = nodes.add("Floor", nodes.add("Div", value, side))
    rest = nodes.add("Sub", value, nodes.add("Mul", times, side))
    rest = nodes.add("Where", nodes.add("Less", rest, nodes.f32(0)), nodes.add("Add", rest, side), rest)
    return str(nodes.add("Where", nodes.add("Less", rest, side), rest, nodes.add("Sub", rest, side)))


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
