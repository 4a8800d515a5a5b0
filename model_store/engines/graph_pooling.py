"""RoIAlign as nodes of an OpenVINO graph: torchvision's `MultiScaleRoIAlign` for one image."""

import math
from collections.abc import Sequence

import numpy as np
import openvino as ov
from openvino import opset13 as op

from model_store.engines.graph_nodes import Node, f32, i64, longest_side, width_height

POOLED_PX = 7
_SAMPLES = 2
"""Samples per bin along each axis: the `sampling_ratio` of every network in the table."""
_WINDOWS = (8, 14, 20)
"""Upper ends of the size ranges whose rois are pooled together, by longest side in cells of their level.

A square roi has a side of 14 to 28 cells, on the lowest level up to 28.
"""
_MOST_GATHERED = 2**17
"""Maximum number of cells in windows of longer rois (134 MB for 256 channels); above it OpenVINO's operator runs."""


def pool_by_level(maps: Sequence[Node], boxes: Node, strides: Sequence[int]) -> tuple[Node, Node]:
    """Pool each box from the level that suits its size; return the boxes in the order of the pooled features.

    The level is floor(4 + log2(sqrt(area) / 224)), equation 1 of Lin et al., Feature Pyramid Networks, 2017. If two
    maps have the same stride, torchvision pools only from the first of them.
    """
    lowest, highest = (int(math.log2(stride)) for stride in (strides[0], strides[-1]))
    side = op.maximum(op.sqrt(op.reduce_prod(width_height(boxes), i64([1]))), f32(1e-6))
    level = op.floor(op.add(op.divide(op.log(side), f32(math.log(2))), f32(4 + 1e-6 - math.log2(224))))
    level = op.clamp(level, lowest, highest)
    orders, pools = [], []
    for number, (item, stride) in enumerate(zip(maps, strides, strict=True), lowest):
        if number > highest:
            break
        cells = op.divide(longest_side(boxes), f32(stride))
        is_left = op.equal(level, f32(number))
        for most in (*_WINDOWS, math.inf):
            is_mine = op.logical_and(is_left, op.less_equal(cells, f32(most)))
            is_left = op.logical_and(is_left, op.logical_not(is_mine))
            order = op.squeeze(op.non_zero(is_mine, "i64"), i64([0]))
            rois = op.gather(boxes, order, i64(0))
            by = pool_windows if math.isfinite(most) else pool_any
            pools.append(by(item, rois, stride=stride))
            orders.append(order)
    return op.gather(boxes, op.concat(orders, 0), i64(0)), op.concat(pools, 0)


def pool_any(item: Node, rois: Node, *, stride: int) -> Node:
    """Pool rois (N, 4) of any size: as windows if these are few and small enough, else with OpenVINO's own operator.

    The operator copies the whole map into another layout, even without any roi.
    """
    gathered = op.multiply(
        op.gather(op.shape_of(rois), i64(0), i64(0)), op.power(_span(_scaled(rois, stride)[1]), i64(2))
    )
    inner = [(op.parameter(item.get_partial_shape(), ov.Type.f32), op.parameter([-1, 4], ov.Type.f32)) for _ in "ab"]
    first_image = op.broadcast(i64(0), op.gather(op.shape_of(inner[1][1]), i64([0]), i64(0)))
    pooled = op.roi_align(
        op.transpose(inner[1][0], i64([0, 3, 1, 2])),
        inner[1][1],
        first_image,
        POOLED_PX,
        POOLED_PX,
        _SAMPLES,
        1 / stride,
        "avg",
        "asymmetric",
    )
    results = op.result(pool_windows(*inner[0], stride=stride)), op.result(op.transpose(pooled, i64([0, 2, 3, 1])))
    choice = op.if_op(op.less_equal(gathered, i64(_MOST_GATHERED)).output(0))
    choice.set_then_body(ov.Model([results[0]], list(inner[0])))
    choice.set_else_body(ov.Model([results[1]], list(inner[1])))
    for outer, one, other in zip((item, rois), *inner, strict=True):
        choice.set_input(outer.output(0), one, other)
    return choice.set_output(*results)


def pool_windows(item: Node, rois: Node, *, stride: int) -> Node:
    """Pool rois (N, 4) px from a map (1, H, W, C), as `roi_align` does; memory grows with N times the longest roi.

    Bilinear sampling and averaging are linear and separable in x and y. So each roi's cells are gathered as one window,
    all channels of a cell together, and two matrix products reduce it to 7 x 7, in a fifth of the operator's time.

    Returns:
        (N, 7, 7, C).
    """
    channels = item.get_partial_shape()[3].get_length()
    height_width = op.gather(op.shape_of(item), i64([1, 2]), i64(0))
    cells = op.reshape(item, i64([-1, channels]), special_zero=False)
    start, size = _scaled(rois, stride)
    span = _span(size)
    weights, places = zip(
        *(
            _axis(
                op.gather(start, i64([axis]), i64(1)),
                op.gather(size, i64([axis]), i64(1)),
                span,
                op.convert(op.gather(height_width, i64(axis), i64(0)), "f32"),
            )
            for axis in (0, 1)
        ),
        strict=True,
    )
    width = op.gather(height_width, i64(1), i64(0))
    numbers = op.add(op.multiply(op.unsqueeze(places[0], i64(2)), width), op.unsqueeze(places[1], i64(1)))
    window = op.gather(cells, numbers, i64(0))  # (N, span, span, C)
    length = op.unsqueeze(span, i64(0))
    rows = op.matmul(
        weights[0],
        op.reshape(window, op.concat([i64([0]), length, i64([-1])], 0), special_zero=True),
        transpose_a=False,
        transpose_b=False,
    )  # (N, 7, span * C)
    rows = op.reshape(rows, op.concat([i64([0, POOLED_PX]), length, i64([channels])], 0), special_zero=True)
    return op.matmul(op.unsqueeze(weights[1], i64(1)), rows, transpose_a=False, transpose_b=False)


def _scaled(rois: Node, stride: int) -> tuple[Node, Node]:
    """Return the starts and the sizes of rois, (N, 2), y before x, in cells; the minimum size is one cell."""
    scaled = op.divide(rois, f32(stride))
    start, end = (op.gather(scaled, i64(columns), i64(1)) for columns in ([1, 0], [3, 2]))
    return start, op.maximum(op.subtract(end, start), f32(1))


def _span(size: Node) -> Node:
    """Return the side of a window, (), in cells, that holds all samples of the largest roi; there may be no roi."""
    reach = op.multiply(op.reduce_max(size, i64([0, 1])), f32(1 - 1 / (_SAMPLES * POOLED_PX)))
    return op.add(op.convert(op.ceiling(op.maximum(reach, f32(0))), "i64"), i64(2))


def _axis(start: Node, size: Node, span: Node, limit: Node) -> tuple[Node, Node]:
    """Return, for one axis, the weight of each cell of a roi's window in each of 7 bins, and the cells' positions.

    Args:
        start: starts of the rois, (N, 1), cells.
        size: sizes of the rois, (N, 1), cells.
        span: side of the windows, (), cells.
        limit: size of the map, (), cells.

    Returns:
        f32 (N, 7, span) and i64 (N, span).
    """
    steps = (np.arange(_SAMPLES * POOLED_PX, dtype=np.float32) + 0.5) / (_SAMPLES * POOLED_PX)
    samples = op.add(start, op.multiply(size, op.constant(steps[None])))  # (N, 14)
    is_inside = op.convert(op.less_equal(samples, limit), "f32")
    last = op.subtract(limit, f32(1))
    samples = op.maximum(op.minimum(samples, last), f32(0))
    first = op.floor(op.gather(samples, i64([0]), i64(1)))
    places = op.add(first, op.unsqueeze(op.convert(op.range(i64(0), span, i64(1), "i64"), "f32"), i64(0)))
    distance = op.abs(op.subtract(op.unsqueeze(samples, i64(2)), op.unsqueeze(places, i64(1))))
    weights = op.multiply(op.relu(op.subtract(f32(1), distance)), op.unsqueeze(is_inside, i64(2)))
    shape = op.concat([i64([0, POOLED_PX, _SAMPLES]), op.unsqueeze(span, i64(0))], 0)
    by_bin = op.reduce_mean(op.reshape(weights, shape, special_zero=True), i64([2]))
    return by_bin, op.convert(op.minimum(places, last), "i64")
