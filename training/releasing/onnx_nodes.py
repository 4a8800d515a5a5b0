"""Nodes and constants of ONNX graphs, added one by one and named in order."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Value = str
"""Name of a tensor in the graph."""


class Nodes:
    """A growing list of nodes and constants.

    Attributes:
        nodes: nodes in an order in which they can run.
        constants: constant tensors.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._known: dict[tuple[str, tuple[int, ...], bytes], Value] = {}

    def add(self, operator: str, *inputs: Value, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node.

        Args:
            operator: ONNX's name of the operator.
            inputs: tensors; an empty name leaves an optional one out.
            outputs: number of outputs.
            attributes: attributes of the operator.

        Returns:
            The name of its output, or a list of names if it has several.
        """
        name = f"{operator}_{len(self.nodes)}"
        names = [name] if outputs == 1 else [f"{name}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, name=name, **attributes))
        return names[0] if outputs == 1 else names

    def graph(self, model: onnx.ModelProto, prefix: str, given: Value) -> list[Value]:
        """Add all nodes of a model that has one input, under names that begin with a prefix.

        Args:
            model: the model, with the same version of the operators.
            prefix: the prefix.
            given: the tensor for its input.

        Returns:
            Its outputs.
        """
        inner = onnx.compose.add_prefix(model, f"{prefix}/").graph
        old = inner.input[0].name
        for node in inner.node:
            if node.op_type == "Constant":  # quantisers look for constants among the initializers
                value = node.attribute[0].t
                value.name = node.output[0]
                self.constants.append(value)
                continue
            node.input[:] = [given if name == old else name for name in node.input]
            self.nodes.append(node)
        self.constants += inner.initializer
        return [output.name for output in inner.output]

    def constant(self, values: Any, dtype: Any) -> Value:
        """Return a constant; equal ones are stored once."""
        array: NDArray[Any] = np.asarray(values, dtype)
        key = (array.dtype.name, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = f"constant_{len(self._known)}"
            self.constants.append(numpy_helper.from_array(array, self._known[key]))
        return self._known[key]

    def f32(self, values: Any) -> Value:
        """Return numbers as a float32 constant."""
        return self.constant(values, np.float32)

    def i64(self, values: Any) -> Value:
        """Return numbers as an int64 constant."""
        return self.constant(values, np.int64)

    def to_f32(self, value: Value) -> Value:
        """Return a tensor as float32."""
        return str(self.add("Cast", value, to=TensorProto.FLOAT))

    def to_i64(self, value: Value) -> Value:
        """Return a tensor as int64, cut off at the point."""
        return str(self.add("Cast", value, to=TensorProto.INT64))

    def concat(self, values: Sequence[Value], axis: int) -> Value:
        """Return tensors joined along an axis."""
        return str(self.add("Concat", *values, axis=axis))

    def gather(self, value: Value, indices: Value | int | Sequence[int], axis: int = 0) -> Value:
        """Return the rows of a tensor, along an axis, that have the given numbers."""
        numbers = indices if isinstance(indices, str) else self.i64(indices)
        return str(self.add("Gather", value, numbers, axis=axis))

    def width_height(self, boxes: Value) -> Value:
        """Return width and height, (..., 2), of boxes (..., 4)."""
        return str(self.add("Sub", self.gather(boxes, [2, 3], -1), self.gather(boxes, [0, 1], -1)))

    def clip(self, boxes: Value, limit_xyxy: Value) -> Value:
        """Return boxes (..., 4) moved inside 0 .. a limit (4,)."""
        return str(self.add("Max", self.add("Min", boxes, limit_xyxy), self.f32(0)))

    def keep_large(self, scores: Value, boxes: Value, min_size: float) -> Value:
        """Return scores (...) with -1 for boxes (..., 4) that have a side below a size."""
        shortest = self.add("ReduceMin", self.width_height(boxes), self.i64([-1]), keepdims=0)
        return str(self.add("Where", self.add("GreaterOrEqual", shortest, self.f32(min_size)), scores, self.f32(-1)))

    def decode(self, boxes: Value, deltas: Value, weights: Sequence[float]) -> Value:
        """Move boxes (..., 4) by deltas (..., 4), as torchvision's `BoxCoder.decode` does."""
        add = self.add
        start, size = self.gather(boxes, [0, 1], -1), self.width_height(boxes)
        center = add("Add", start, add("Mul", size, self.f32(0.5)))
        parts = add("Div", deltas, self.f32(weights))
        shift, growth = self.gather(parts, [0, 1], -1), self.gather(parts, [2, 3], -1)
        center = add("Add", add("Mul", shift, size), center)
        growth = add("Min", growth, self.f32(math.log(1000 / 16)))
        half = add("Mul", add("Mul", add("Exp", growth), size), self.f32(0.5))
        return self.concat([add("Sub", center, half), add("Add", center, half)], -1)

    def best(self, scores: Value, most: int) -> list[Value]:
        """Return the highest scores of (N,), at most a number, and their positions, best first."""
        count = self.add("Min", self.add("Shape", scores), self.i64([most]))
        return list(self.add("TopK", scores, count, outputs=2, axis=0))

    def suppress(self, boxes: Value, scores: Value, *, iou: float, above: float, most: int) -> Value:
        """Apply non-maximum suppression to boxes (B, N, 4) with scores (B, 1, N); one batch does not touch another.

        Returns:
            int64 (D, 3): batch, 0 and box; of each batch the best first.
        """
        limits = self.i64([most]), self.f32([iou]), self.f32([above])
        return str(self.add("NonMaxSuppression", boxes, scores, *limits))
