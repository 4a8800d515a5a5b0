"""A torchvision `FasterRCNN` -> three OpenVINO graphs that run it without torch.

| graph | takes | gives | arithmetic |
|---|---|---|---|
| `features` | `pixels` (1, H, W, 3) | `feature0`.. `objectness0`.. `deltas0`.., (1, H, W, C) | any |
| `proposals` | those, and `limit_hw` (2,) | `proposals` (R, 4), `pooled` (R, 7, 7, C) | fp32 |
| `head` | those two, and `limit_hw` | `boxes` (D, 4), `labels` (D,) in 1..K, `scores` (D,), best first | any |

All but the labels, i64, are f32. Three, because in bfloat16 the coordinates of proposals would be off by 4 px. `pixels`
are those of the resized image, RGB in 0..255 less the mean, padded with zeros to a multiple of `PAD_MULTIPLE_PX`;
`limit_hw` is its size without the padding. Boxes are x0, y0, x1, y1 in px of it. Maps have their channels last, as
convolutions leave them. Every formula repeats torchvision.models.detection, whose names are used here.
"""

import copy
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import torch
from numpy.typing import NDArray
from openvino import opset13 as op
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.faster_rcnn import TwoMLPHead

from model_store.engines.openvino import GRAPHS

Node = Any
"""An output of a node: OpenVINO's operators have no types."""

_POOLED_PX = 7
_SAMPLES = 2
"""Samples a bin along each axis: the `sampling_ratio` of every network in the table."""
_WINDOWS = (8, 14)
"""Rois are pooled together with those whose longest side, in cells of their level, is in the same range up to these.

A square one has at most 14 below the last level.
"""
_MOST_GATHERED = 64 * 16**2
"""Cells that windows of longer rois may gather; where that does not do, OpenVINO's operator takes them."""
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
    """Backbone, pyramid and proposal head: pixels less the mean -> maps, objectness and deltas of every level.

    The first convolution's weights take over the division by the standard deviation.
    """

    def __init__(self, network: FasterRCNN) -> None:
        super().__init__()
        self.backbone, self.head = copy.deepcopy(network.backbone), network.rpn.head
        first = next(module for module in self.backbone.modules() if isinstance(module, nn.Conv2d))
        std = torch.tensor(network.transform.image_std).reshape(1, 3, 1, 1)
        first.weight = nn.Parameter(first.weight.detach() / (255 * std), requires_grad=False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps = list(self.backbone(x).values())
        objectness, deltas = self.head(maps)
        return (*maps, *objectness, *deltas)


class _Head(nn.Module):
    """Pooled features (R, 7, 7, C) -> class logits (R, K + 1) and box deltas (R, 4 * (K + 1))."""

    def __init__(self, network: FasterRCNN) -> None:
        super().__init__()
        self.head, self.predictor = network.roi_heads.box_head, network.roi_heads.box_predictor
        self.takes_channels_last = isinstance(self.head, TwoMLPHead)
        if self.takes_channels_last:
            self.head = copy.deepcopy(self.head)
            weight = self.head.fc6.weight.detach()
            by_place = weight.unflatten(1, (-1, _POOLED_PX, _POOLED_PX)).permute(0, 2, 3, 1)
            self.head.fc6.weight = nn.Parameter(by_place.flatten(1).contiguous(), requires_grad=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits, deltas = self.predictor(self.head(x if self.takes_channels_last else x.permute(0, 3, 1, 2)))
        return logits, deltas


def _convert(module: nn.Module, example: Tensor, shape: Sequence[int]) -> ov.Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's tracing, which OpenVINO relies on, calls itself deprecated
        return ov.convert_model(module.eval(), example_input=example, input=[ov.PartialShape(list(shape))])


def _features(network: FasterRCNN) -> ov.Model:
    converted = _convert(_Features(network), torch.zeros(1, 3, _EXAMPLE_PX, _EXAMPLE_PX), (1, 3, -1, -1))
    pixels = op.parameter([1, -1, -1, 3], ov.Type.f32, name="pixels")
    planes = op.transpose(pixels, _i64([0, 3, 1, 2]))
    for target in converted.input(0).get_node().output(0).get_target_inputs():
        target.replace_source_output(planes.output(0))
    maps = [result.input(0).get_source_output() for result in converted.get_results()]
    graph = ov.Model([op.result(op.transpose(item, _i64([0, 2, 3, 1]))) for item in maps], [pixels], "features")
    levels = len(maps) // 3
    names = [f"{kind}{level}" for kind in ("feature", "objectness", "deltas") for level in range(levels)]
    return _named(graph, names)


def _proposals(network: FasterRCNN) -> ov.Model:
    rpn, pool = network.rpn, network.roi_heads.box_roi_pool
    anchors = [_f32_array(cell) for cell in rpn.anchor_generator.cell_anchors]
    strides = _strides(network)
    pooled_from = [name for name in strides if name in pool.featmap_names]
    limit_hw = op.parameter([2], ov.Type.f32, name="limit_hw")
    maps = [
        op.parameter([1, -1, -1, network.backbone.out_channels], ov.Type.f32, name=f"feature{level}")
        for level in range(len(pooled_from))
    ]
    padded_hw = op.multiply(op.gather(op.shape_of(maps[0]), _i64([1, 2]), _i64(0)), _i64(strides[pooled_from[0]]))
    objectness, deltas, boxes, logits, levels = [], [], [], [], []
    for level, cell in enumerate(anchors):
        objectness.append(op.parameter([1, -1, -1, len(cell)], ov.Type.f32, name=f"objectness{level}"))
        deltas.append(op.parameter([1, -1, -1, 4 * len(cell)], ov.Type.f32, name=f"deltas{level}"))
        found, scores = _best_of_level(
            objectness[-1], deltas[-1], cell, padded_hw=padded_hw, most=rpn._pre_nms_top_n["testing"]
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
    proposals, pooled = _pool(maps, chosen, [strides[name] for name in pooled_from])
    graph = ov.Model([op.result(proposals), op.result(pooled)], [*maps, *objectness, *deltas, limit_hw], "proposals")
    return _named(graph, ["proposals", "pooled"])


def _strides(network: FasterRCNN) -> dict[str, int]:
    """Return each map's stride, px, by its name."""
    with torch.inference_mode():
        maps = network.backbone(torch.zeros(1, 3, _EXAMPLE_PX, _EXAMPLE_PX))
    return {name: _EXAMPLE_PX // item.shape[-1] for name, item in maps.items()}


def _best_of_level(
    objectness: Node, deltas: Node, cell: NDArray[np.float32], *, padded_hw: Node, most: int
) -> tuple[Node, Node]:
    """Return the boxes (N, 4) with the highest objectness of a level and their logits (N,), N at most `most`.

    Candidates are numbered as torchvision does: row, column, anchor. An anchor's place follows from its number. The
    stride is whole: (height, width) of the padded image // of the map; for a map of stride 64 it may be less.
    """
    count = len(cell)
    logits = op.reshape(objectness, _i64([-1]), special_zero=False)
    rows = op.reshape(deltas, _i64([-1, 4]), special_zero=False)
    k = op.squeeze(op.minimum(op.shape_of(logits), _i64([most])), _i64([0]))
    best = op.topk(logits, k, 0, "max", "value", index_element_type="i64")
    number = best.output(1)
    place = op.divide(number, _i64(count))
    map_hw = op.gather(op.shape_of(deltas), _i64([1, 2]), _i64(0))
    width = op.gather(map_hw, _i64(1), _i64(0))
    rows_columns = (op.divide(place, width), op.mod(place, width))
    stride_hw = op.divide(padded_hw, map_hw)
    y, x = (
        op.convert(op.multiply(places, op.gather(stride_hw, _i64(axis), _i64(0))), "f32")
        for axis, places in enumerate(rows_columns)
    )
    shift = op.concat([op.unsqueeze(value, _i64(1)) for value in (x, y, x, y)], 1)
    anchors = op.add(op.gather(op.constant(cell), op.mod(number, _i64(count)), _i64(0)), shift)
    return _decode(anchors, op.gather(rows, number, _i64(0)), weights=(1.0, 1.0, 1.0, 1.0)), best.output(0)


def _pool(maps: Sequence[Node], boxes: Node, strides: Sequence[int]) -> tuple[Node, Node]:
    """Pool each box from the level that suits its size; boxes come back in the order of what was pooled.

    The level is floor(4 + log2(sqrt(area) / 224)), equation 1 of Lin et al., Feature Pyramid Networks, 2017. Where two
    maps have one stride, torchvision pools from the first of them alone.
    """
    lowest, highest = (int(math.log2(stride)) for stride in (strides[0], strides[-1]))
    side = op.maximum(op.sqrt(op.reduce_prod(_width_height(boxes), _i64([1]))), _f32(1e-6))
    level = op.floor(op.add(op.divide(op.log(side), _f32(math.log(2))), _f32(4 + 1e-6 - math.log2(224))))
    level = op.clamp(level, lowest, highest)
    orders, pools = [], []
    for number, (item, stride) in enumerate(zip(maps, strides, strict=True), lowest):
        if number > highest:
            break
        cells = op.divide(_longest_side(boxes), _f32(stride))
        is_left = op.equal(level, _f32(number))
        for most in (*_WINDOWS, math.inf):
            is_mine = op.logical_and(is_left, op.less_equal(cells, _f32(most)))
            is_left = op.logical_and(is_left, op.logical_not(is_mine))
            order = op.squeeze(op.non_zero(is_mine, "i64"), _i64([0]))
            rois = op.gather(boxes, order, _i64(0))
            pool = pool_windows if math.isfinite(most) else _pool_any
            pools.append(pool(item, rois, stride=stride))
            orders.append(order)
    return op.gather(boxes, op.concat(orders, 0), _i64(0)), op.concat(pools, 0)


def _pool_any(item: Node, rois: Node, *, stride: int) -> Node:
    """Pool rois (N, 4) of any size: as windows if these are few and small enough, else with OpenVINO's own operator.

    The operator lays the whole map out anew, even for no roi at all.
    """
    gathered = op.multiply(op.gather(op.shape_of(rois), _i64(0), _i64(0)), _squared(_span(_scaled(rois, stride)[1])))
    inner = [(op.parameter(item.get_partial_shape(), ov.Type.f32), op.parameter([-1, 4], ov.Type.f32)) for _ in "ab"]
    first_image = op.broadcast(_i64(0), op.gather(op.shape_of(inner[1][1]), _i64([0]), _i64(0)))
    pooled = op.roi_align(
        op.transpose(inner[1][0], _i64([0, 3, 1, 2])),
        inner[1][1],
        first_image,
        _POOLED_PX,
        _POOLED_PX,
        _SAMPLES,
        1 / stride,
        "avg",
        "asymmetric",
    )
    results = op.result(pool_windows(*inner[0], stride=stride)), op.result(op.transpose(pooled, _i64([0, 2, 3, 1])))
    choice = op.if_op(op.less_equal(gathered, _i64(_MOST_GATHERED)).output(0))
    choice.set_then_body(ov.Model([results[0]], list(inner[0])))
    choice.set_else_body(ov.Model([results[1]], list(inner[1])))
    for outer, one, other in zip((item, rois), *inner, strict=True):
        choice.set_input(outer.output(0), one, other)
    return choice.set_output(*results)


def pool_windows(item: Node, rois: Node, *, stride: int) -> Node:
    """Pool rois (N, 4) px from a map (1, H, W, C): the same as `roi_align`, in memory for N times the longest one.

    Bilinear sampling and averaging are linear and apart in x and y. So each roi's cells are gathered as one window,
    all channels of a cell together, and two matrix products make the 7 x 7 of it: a fifth of the operator's time.

    Returns:
        (N, 7, 7, C).
    """
    channels = item.get_partial_shape()[3].get_length()
    height_width = op.gather(op.shape_of(item), _i64([1, 2]), _i64(0))
    cells = op.reshape(item, _i64([-1, channels]), special_zero=False)
    start, size = _scaled(rois, stride)
    span = _span(size)
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
    return op.matmul(op.unsqueeze(weights[1], _i64(1)), rows, transpose_a=False, transpose_b=False)


def _scaled(rois: Node, stride: int) -> tuple[Node, Node]:
    """Return the starts and the sizes of rois, (N, 2), y before x, in cells; none is smaller than a cell."""
    scaled = op.divide(rois, _f32(stride))
    start, end = (op.gather(scaled, _i64(columns), _i64(1)) for columns in ([1, 0], [3, 2]))
    return start, op.maximum(op.subtract(end, start), _f32(1))


def _span(size: Node) -> Node:
    """Return the side of a window, (), in cells, that holds the samples of any of the rois, or of none."""
    reach = op.multiply(op.reduce_max(size, _i64([0, 1])), _f32(1 - 1 / (_SAMPLES * _POOLED_PX)))
    return op.add(op.convert(op.ceiling(op.maximum(reach, _f32(0))), "i64"), _i64(2))


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
    shape = (_POOLED_PX, _POOLED_PX, channels)
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


def _squared(value: Node) -> Node:
    return op.multiply(value, value)


def _f32_array(values: Any) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)


def _f32(value: float) -> Node:
    return op.constant(np.float32(value))


def _i64(values: Any) -> Node:
    return op.constant(np.asarray(values, np.int64))
