"""A torchvision `FasterRCNN` -> three OpenVINO graphs that run it without torch.

| graph | takes | gives | arithmetic |
|---|---|---|---|
| `features` | `image` u8 (1, H, W, 3), `size_hw`, `pad_hw` i64 (2,) | `feature0`.. `objectness0`.. `deltas0`.. | any |
| `proposals` | those, and `limit_hw` f32 (2,) | `proposals` (R, 4), `pooled` (R, C, 7, 7) | fp32 |
| `head` | those two, and `limit_hw` | `boxes` (D, 4), `labels` (D,) in 1..K, `scores` (D,), best first | any |

Three, because in bfloat16 the coordinates of proposals would be off by 4 px. Boxes are x0, y0, x1, y1 in px of the
resized image. Every formula repeats torchvision.models.detection, whose names are used here.
"""

import math
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import torch
from numpy.typing import NDArray
from openvino import opset13 as op
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

from model_store.engines.openvino import GRAPHS

Node = Any
"""An output of a node: OpenVINO's operators have no types."""

PAD_MULTIPLE_PX = 32
"""The network's input is padded to a multiple of this, as `GeneralizedRCNNTransform` does by default."""
_POOLED_PX = 7
_SAMPLES = 2
"""Samples a bin along each axis: the `sampling_ratio` of every network in the table."""
_MOST_CELLS = 14
"""Sides of a roi, in cells of its level, that a window holds: a square one has at most so many below the last level."""
_EXAMPLE_PX = 128
_NEVER = 1e-30
"""No sigmoid of a trained network comes below it: a threshold that lets everything through but what was crossed out."""


def write_graphs(network: FasterRCNN, folder: Path, *, compress: bool = False) -> None:
    """Convert a network in eval mode and write the three graphs into a folder.

    Args:
        network: in eval mode.
        folder: must exist.
        compress: keep weights as fp16, in half of the space: finer than bfloat16, coarser than fp32.
    """
    for name, graph in convert(network).items():
        ov.save_model(graph, folder / f"{name}.xml", compress_to_fp16=compress)


def convert(network: FasterRCNN) -> dict[str, ov.Model]:
    """Convert a network in eval mode to graphs, by the names of `GRAPHS`."""
    graphs = (_features(network), _proposals(network), _head(network))
    return dict(zip(GRAPHS, graphs, strict=True))


class _Features(nn.Module):
    """Backbone, pyramid and proposal head: normalised pixels -> maps, objectness and deltas of every level."""

    def __init__(self, network: FasterRCNN) -> None:
        super().__init__()
        self.backbone, self.head = network.backbone, network.rpn.head

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps = list(self.backbone(x).values())
        objectness, deltas = self.head(maps)
        return (*maps, *objectness, *deltas)


class _Head(nn.Module):
    """Pooled features -> class logits (R, K + 1) and box deltas (R, 4 * (K + 1))."""

    def __init__(self, network: FasterRCNN) -> None:
        super().__init__()
        self.head, self.predictor = network.roi_heads.box_head, network.roi_heads.box_predictor

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits, deltas = self.predictor(self.head(x))
        return logits, deltas


def _convert(module: nn.Module, example: Tensor, shape: Sequence[int]) -> ov.Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's tracing, which OpenVINO relies on, calls itself deprecated
        return ov.convert_model(module.eval(), example_input=example, input=[ov.PartialShape(list(shape))])


def _features(network: FasterRCNN) -> ov.Model:
    converted = _convert(_Features(network), torch.zeros(1, 3, _EXAMPLE_PX, _EXAMPLE_PX), (1, 3, -1, -1))
    image = op.parameter([1, -1, -1, 3], ov.Type.u8, name="image")
    size_hw = op.parameter([2], ov.Type.i64, name="size_hw")
    pad_hw = op.parameter([2], ov.Type.i64, name="pad_hw")
    pixels = op.transpose(op.convert(image, "f32"), _i64([0, 3, 1, 2]))
    resized = op.interpolate(
        pixels, size_hw, "linear_onnx", "sizes", [0, 0], [0, 0], "half_pixel", axes=_i64([2, 3])
    )  # what torch calls bilinear, align_corners=False
    rule = network.transform
    mean, std = (255 * _f32_array(values).reshape(1, 3, 1, 1) for values in (rule.image_mean, rule.image_std))
    normalised = op.multiply(op.subtract(resized, op.constant(mean)), op.constant(1 / std))
    padded = op.pad(normalised, _i64([0, 0, 0, 0]), op.concat([_i64([0, 0]), pad_hw], 0), "constant", _f32(0))
    for target in converted.input(0).get_node().output(0).get_target_inputs():
        target.replace_source_output(padded.output(0))
    graph = ov.Model(converted.get_results(), [image, size_hw, pad_hw], "features")
    levels = len(graph.outputs) // 3
    names = [f"{kind}{level}" for kind in ("feature", "objectness", "deltas") for level in range(levels)]
    return _named(graph, names)


def _proposals(network: FasterRCNN) -> ov.Model:
    rpn, pool = network.rpn, network.roi_heads.box_roi_pool
    anchors = [_f32_array(cell) for cell in rpn.anchor_generator.cell_anchors]
    strides = _strides(network)
    limit_hw = op.parameter([2], ov.Type.f32, name="limit_hw")
    maps = [
        op.parameter([1, network.backbone.out_channels, -1, -1], ov.Type.f32, name=f"feature{level}")
        for level in range(len(pool.featmap_names))
    ]
    objectness, deltas, boxes, logits, levels = [], [], [], [], []
    for level, (cell, stride) in enumerate(zip(anchors, strides, strict=True)):
        objectness.append(op.parameter([1, len(cell), -1, -1], ov.Type.f32, name=f"objectness{level}"))
        deltas.append(op.parameter([1, 4 * len(cell), -1, -1], ov.Type.f32, name=f"deltas{level}"))
        found, scores = _best_of_level(
            objectness[-1], deltas[-1], cell, stride=stride, most=rpn._pre_nms_top_n["testing"]
        )
        boxes.append(found)
        logits.append(scores)
        levels.append(op.broadcast(_f32(level), op.shape_of(scores)))
    every = _clip(op.concat(boxes, 0), limit_hw)
    scores = _cross_out_small(op.sigmoid(op.concat(logits, 0)), every, rpn.min_size)
    # boxes of different levels must not suppress each other: each level has its own place in the plane
    offset = op.multiply(op.concat(levels, 0), op.add(op.reduce_max(limit_hw, _i64([0])), _f32(1)))
    kept = _suppress(
        op.unsqueeze(op.add(every, op.unsqueeze(offset, _i64(1))), _i64(0)),
        op.unsqueeze(scores, _i64([0, 1])),
        iou=rpn.nms_thresh,
        score_floor=max(rpn.score_thresh, _NEVER),
        most=rpn._post_nms_top_n["testing"],
    )
    chosen = op.gather(every, op.gather(kept.output(0), _i64(2), _i64(1)), _i64(0))
    proposals, pooled = _pool(maps, chosen, strides[: len(maps)])
    graph = ov.Model([op.result(proposals), op.result(pooled)], [*maps, *objectness, *deltas, limit_hw], "proposals")
    return _named(graph, ["proposals", "pooled"])


def _strides(network: FasterRCNN) -> list[int]:
    """Return each level's stride, px, as the anchor generator finds it: image size // map size."""
    with torch.inference_mode():
        maps = network.backbone(torch.zeros(1, 3, _EXAMPLE_PX, _EXAMPLE_PX))
    return [_EXAMPLE_PX // item.shape[-1] for item in maps.values()]


def _best_of_level(
    objectness: Node, deltas: Node, cell: NDArray[np.float32], *, stride: int, most: int
) -> tuple[Node, Node]:
    """Return the boxes (N, 4) with the highest objectness of a level and their logits (N,), N at most `most`.

    Candidates are numbered as torchvision does: row, column, anchor. An anchor's place follows from its number.
    """
    count = len(cell)
    logits = op.reshape(op.transpose(objectness, _i64([0, 2, 3, 1])), _i64([-1]), special_zero=False)
    height_width = op.gather(op.shape_of(deltas), _i64([2, 3]), _i64(0))
    split = op.reshape(deltas, op.concat([_i64([count, 4]), height_width], 0), special_zero=False)
    rows = op.reshape(op.transpose(split, _i64([2, 3, 0, 1])), _i64([-1, 4]), special_zero=False)
    k = op.squeeze(op.minimum(op.shape_of(logits), _i64([most])), _i64([0]))
    best = op.topk(logits, k, 0, "max", "value", index_element_type="i64")
    number = best.output(1)
    place = op.divide(number, _i64(count))
    width = op.gather(height_width, _i64(1), _i64(0))
    x = op.multiply(op.convert(op.mod(place, width), "f32"), _f32(stride))
    y = op.multiply(op.convert(op.divide(place, width), "f32"), _f32(stride))
    shift = op.concat([op.unsqueeze(value, _i64(1)) for value in (x, y, x, y)], 1)
    anchors = op.add(op.gather(op.constant(cell), op.mod(number, _i64(count)), _i64(0)), shift)
    return _decode(anchors, op.gather(rows, number, _i64(0)), weights=(1.0, 1.0, 1.0, 1.0)), best.output(0)


def _pool(maps: Sequence[Node], boxes: Node, strides: Sequence[int]) -> tuple[Node, Node]:
    """Pool each box from the level that suits its size; boxes come back in the order of what was pooled.

    The level is floor(4 + log2(sqrt(area) / 224)), equation 1 of Lin et al., Feature Pyramid Networks, 2017.
    """
    lowest, highest = (int(math.log2(stride)) for stride in (strides[0], strides[-1]))
    side = op.maximum(op.sqrt(op.reduce_prod(_width_height(boxes), _i64([1]))), _f32(1e-6))
    level = op.floor(op.add(op.divide(op.log(side), _f32(math.log(2))), _f32(4 + 1e-6 - math.log2(224))))
    level = op.clamp(level, lowest, highest)
    orders, pools = [], []
    for number, (item, stride) in enumerate(zip(maps, strides, strict=True), lowest):
        is_here = op.equal(level, _f32(number))
        is_small = op.less_equal(_longest_side(boxes), _f32(_MOST_CELLS * stride))
        pool_small = partial(pool_windows, item, stride=stride)
        pool_large = partial(_pool_any, item, stride=stride)
        for pool, is_mine in ((pool_small, is_small), (pool_large, op.logical_not(is_small))):
            order = op.squeeze(op.non_zero(op.logical_and(is_here, is_mine), "i64"), _i64([0]))
            pools.append(pool(op.gather(boxes, order, _i64(0))))
            orders.append(order)
    return op.gather(boxes, op.concat(orders, 0), _i64(0)), op.concat(pools, 0)


def _pool_any(item: Node, rois: Node, *, stride: int) -> Node:
    """Pool rois (N, 4) from a map with OpenVINO's own operator, which is slow but takes any size."""
    first_image = op.broadcast(_i64(0), op.gather(op.shape_of(rois), _i64([0]), _i64(0)))
    return op.roi_align(item, rois, first_image, _POOLED_PX, _POOLED_PX, _SAMPLES, 1 / stride, "avg", "asymmetric")


def pool_windows(item: Node, rois: Node, *, stride: int) -> Node:
    """Pool rois (N, 4) px, none longer than `_MOST_CELLS` cells, from a map (1, C, H, W): the same as `roi_align`.

    Bilinear sampling and averaging are linear and apart in x and y. So each roi's cells are gathered as one window,
    all channels of a cell together, and two matrix products make the 7 x 7 of it: a fifth of the operator's time.

    Returns:
        (N, C, 7, 7).
    """
    channels = item.get_partial_shape()[1].get_length()
    height_width = op.gather(op.shape_of(item), _i64([2, 3]), _i64(0))
    cells = op.reshape(op.transpose(item, _i64([0, 2, 3, 1])), _i64([-1, channels]), special_zero=False)
    scaled = op.divide(rois, _f32(stride))
    start, end = (op.gather(scaled, _i64(columns), _i64(1)) for columns in ([1, 0], [3, 2]))  # y, x
    size = op.maximum(op.subtract(end, start), _f32(1))
    reach = op.multiply(op.reduce_max(size, _i64([0, 1])), _f32(1 - 1 / (_SAMPLES * _POOLED_PX)))
    span = op.minimum(op.add(op.convert(op.ceiling(reach), "i64"), _i64(2)), _i64(_MOST_CELLS + 2))
    span = op.maximum(span, _i64(2))  # without a roi too
    weights, places = zip(
        *(
            _axis(
                op.gather(start, _i64([axis]), _i64(1)),
                op.gather(size, _i64([axis]), _i64(1)),
                span,
                op.convert(op.gather(height_width, _i64(axis), _i64(0)), "f32"),
            )
            for axis in (0, 1)
        ),
        strict=True,
    )
    width = op.gather(height_width, _i64(1), _i64(0))
    numbers = op.add(op.multiply(op.unsqueeze(places[0], _i64(2)), width), op.unsqueeze(places[1], _i64(1)))
    window = op.gather(cells, numbers, _i64(0))  # (N, span, span, C)
    length = op.unsqueeze(span, _i64(0))
    rows = op.matmul(
        weights[0],
        op.reshape(window, op.concat([_i64([0]), length, _i64([-1])], 0), special_zero=True),
        transpose_a=False,
        transpose_b=False,
    )  # (N, 7, span * C)
    rows = op.reshape(rows, op.concat([_i64([0, _POOLED_PX]), length, _i64([channels])], 0), special_zero=True)
    pooled = op.matmul(op.unsqueeze(weights[1], _i64(1)), rows, transpose_a=False, transpose_b=False)  # (N, 7, 7, C)
    return op.transpose(pooled, _i64([0, 3, 1, 2]))


def _axis(start: Node, size: Node, span: Node, limit: Node) -> tuple[Node, Node]:
    """Return along one axis what each cell of a roi's window counts for each of 7 bins, and where the cells are.

    Args:
        start: of the rois, (N, 1), cells.
        size: of the rois, (N, 1), cells.
        span: of the windows, (), cells.
        limit: of the map, (), cells.

    Returns:
        f32 (N, 7, span) and i64 (N, span).
    """
    steps = (np.arange(_SAMPLES * _POOLED_PX, dtype=np.float32) + 0.5) / (_SAMPLES * _POOLED_PX)
    samples = op.add(start, op.multiply(size, op.constant(steps[None])))  # (N, 14)
    is_inside = op.convert(op.less_equal(samples, limit), "f32")
    last = op.subtract(limit, _f32(1))
    samples = op.maximum(op.minimum(samples, last), _f32(0))
    first = op.floor(op.gather(samples, _i64([0]), _i64(1)))
    places = op.add(first, op.unsqueeze(op.convert(op.range(_i64(0), span, _i64(1), "i64"), "f32"), _i64(0)))
    distance = op.abs(op.subtract(op.unsqueeze(samples, _i64(2)), op.unsqueeze(places, _i64(1))))
    weights = op.multiply(op.relu(op.subtract(_f32(1), distance)), op.unsqueeze(is_inside, _i64(2)))
    shape = op.concat([_i64([0, _POOLED_PX, _SAMPLES]), op.unsqueeze(span, _i64(0))], 0)
    by_bin = op.reduce_mean(op.reshape(weights, shape, special_zero=True), _i64([2]))
    return by_bin, op.convert(op.minimum(places, last), "i64")


def _head(network: FasterRCNN) -> ov.Model:
    heads = network.roi_heads
    channels, classes = network.backbone.out_channels, heads.box_predictor.cls_score.out_features - 1
    shape = (channels, _POOLED_PX, _POOLED_PX)
    converted = _convert(_Head(network), torch.zeros(2, *shape), (-1, *shape))
    pooled = converted.get_parameters()[0]
    proposals = op.parameter([-1, 4], ov.Type.f32, name="proposals")
    limit_hw = op.parameter([2], ov.Type.f32, name="limit_hw")
    logits, deltas = (result.input(0).get_source_output() for result in converted.get_results())
    objects = _i64(range(1, classes + 1))  # without the background
    scores = op.gather(op.softmax(logits, 1), objects, _i64(1))  # (R, K)
    rows = op.gather(op.reshape(deltas, _i64([-1, classes + 1, 4]), special_zero=False), objects, _i64(1))
    boxes = _clip(_decode(op.unsqueeze(proposals, _i64(1)), rows, weights=heads.box_coder.weights), limit_hw)
    scores = _cross_out_small(scores, boxes, 1e-2)
    by_class = op.transpose(boxes, _i64([1, 0, 2]))  # (K, R, 4)
    kept = _suppress(
        by_class,
        op.unsqueeze(op.transpose(scores, _i64([1, 0])), _i64(1)),
        iou=heads.nms_thresh,
        score_floor=max(heads.score_thresh, _NEVER),
        most=heads.detections_per_img,
    )
    most = [_i64([0]), _i64([heads.detections_per_img]), _i64([1]), _i64([0])]
    indices, values = (op.slice(kept.output(number), *most) for number in (0, 1))
    label, box = (op.gather(indices, _i64([column]), _i64(1)) for column in (0, 2))
    graph = ov.Model(
        [
            op.result(op.gather_nd(by_class, op.concat([label, box], 1))),
            op.result(op.add(op.squeeze(label, _i64([1])), _i64(1))),
            op.result(op.gather(values, _i64(2), _i64(1))),
        ],
        [pooled, proposals, limit_hw],
        "head",
    )
    pooled.output(0).get_tensor().set_names({"pooled"})
    return _named(graph, ["boxes", "labels", "scores"])


def _decode(boxes: Node, deltas: Node, *, weights: Sequence[float]) -> Node:
    """Move boxes (..., 4) by deltas (..., 4) as `BoxCoder.decode` does."""
    x0, y0, x1, y1 = (op.gather(boxes, _i64([column]), _i64(-1)) for column in range(4))
    dx, dy, dw, dh = (
        op.divide(op.gather(deltas, _i64([column]), _i64(-1)), _f32(weight)) for column, weight in enumerate(weights)
    )
    width, height = op.subtract(x1, x0), op.subtract(y1, y0)
    x, y = (
        op.add(op.multiply(delta, size), op.add(start, op.multiply(size, _f32(0.5))))
        for delta, size, start in ((dx, width, x0), (dy, height, y0))
    )
    most = _f32(math.log(1000 / 16))
    half_w, half_h = (
        op.multiply(op.multiply(op.exp(op.minimum(delta, most)), size), _f32(0.5))
        for delta, size in ((dw, width), (dh, height))
    )
    return op.concat([op.subtract(x, half_w), op.subtract(y, half_h), op.add(x, half_w), op.add(y, half_h)], -1)


def _clip(boxes: Node, limit_hw: Node) -> Node:
    return op.maximum(op.minimum(boxes, op.gather(limit_hw, _i64([1, 0, 1, 0]), _i64(0))), _f32(0))


def _width_height(boxes: Node) -> Node:
    start, end = (op.gather(boxes, _i64(columns), _i64(-1)) for columns in ([0, 1], [2, 3]))
    return op.subtract(end, start)


def _longest_side(boxes: Node) -> Node:
    return op.reduce_max(_width_height(boxes), _i64([1]))


def _cross_out_small(scores: Node, boxes: Node, min_size: float) -> Node:
    """Give score 0 to boxes with a side below `min_size`; no score threshold lets it through."""
    is_large = op.greater_equal(op.reduce_min(_width_height(boxes), _i64([-1])), _f32(min_size))
    return op.select(is_large, scores, _f32(0))


def _suppress(boxes: Node, scores: Node, *, iou: float, score_floor: float, most: int) -> Any:
    """Non-maximum suppression of (B, N, 4) by (B, 1, N): outputs (D, 3) batch, class, box and the scores alike."""
    return op.non_max_suppression(
        boxes,
        scores,
        _i64(most),
        _f32(iou),
        _f32(score_floor),
        box_encoding="corner",
        sort_result_descending=True,
        output_type="i64",
    )


def _named(graph: ov.Model, outputs: Sequence[str]) -> ov.Model:
    for parameter in graph.get_parameters():
        if not parameter.output(0).get_names():
            parameter.output(0).get_tensor().set_names({parameter.get_friendly_name()})
    for output, name in zip(graph.outputs, outputs, strict=True):
        output.get_tensor().set_names({name})
    graph.validate_nodes_and_infer_types()
    return graph


def _f32_array(values: Any) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)


def _f32(value: float) -> Node:
    return op.constant(np.float32(value))


def _i64(values: Any) -> Node:
    return op.constant(np.asarray(values, np.int64))
