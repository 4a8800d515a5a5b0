"""Constants and box sizes as nodes of OpenVINO graphs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from openvino import opset13 as op

Node = Any
"""Output of a node; OpenVINO's operators have no type hints."""


def width_height(boxes: Node) -> Node:
    """Return width and height, (..., 2), of boxes (..., 4)."""
    start, end = (op.gather(boxes, i64(columns), i64(-1)) for columns in ([0, 1], [2, 3]))
    return op.subtract(end, start)


def longest_side(boxes: Node) -> Node:
    """Return the longer of width and height, (N,), of boxes (N, 4)."""
    return op.reduce_max(width_height(boxes), i64([1]))


def f32_array(values: Any) -> NDArray[np.float32]:
    """Return numbers as a float32 array."""
    return np.asarray(values, np.float32)


def f32(value: float) -> Node:
    """Return a number as a float32 constant."""
    return op.constant(np.float32(value))


def i64(values: Any) -> Node:
    """Return numbers as an int64 constant."""
    return op.constant(np.asarray(values, np.int64))
