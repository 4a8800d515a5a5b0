"""Conversion of a torchvision `FasterRCNN` into three OpenVINO graphs that run it without torch.

| graph | takes | gives | arithmetic |
|---|---|---|---|
| `features` | `pixels` (1, H, W, 3) | `feature0`.. `objectness0`.. `deltas0`.., (1, H, W, C) | any |
| `proposals` | those, and `limit_hw` (2,) | `proposals` (R, 4), `pooled` (R, 7, 7, C) | fp32 |
| `head` | those two, and `limit_hw` | `boxes` (D, 4), `labels` (D,) in 1..K, `scores` (D,), best first | any |

Labels are i64, all other tensors f32. Proposals have a graph of their own, because in bfloat16 their coordinates would
be off by 4 px. `pixels` is the resized image, RGB in 0..255 less the mean, padded with zeros to a multiple of
`PAD_MULTIPLE_PX`. `limit_hw` is its size without the padding. Boxes are x0, y0, x1, y1 in px of the resized image. Maps
have their channels last, as convolutions leave them. Every formula repeats torchvision.models.detection, whose names
are used here.
"""

import copy
import errno
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
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.faster_rcnn import TwoMLPHead

from model_store.engines.graph_nodes import Node, f32, f32_array, i64, width_height
from model_store.engines.graph_pooling import POOLED_PX, pool_by_level
from model_store.engines.openvino import GRAPHS

_EXAMPLE_PX = 128
_NEVER = 1e-30
"""Score below any sigmoid of a trained network: as a threshold it removes only boxes that were given score 0."""


def write_graphs(network: FasterRCNN, folder: Path, *, compress: bool = False) -> None:
    """Convert a network to the three graphs and write them into a folder.

    Args:
        network: a network in eval mode.
        folder: an existing folder.
        compress: store weights as fp16, in half the space; fp16 is finer than bfloat16 and coarser than fp32.

    Raises:
        OSError: a graph cannot be written, for example because the disk is full.
    """
    for name, graph in convert(network).items():
        path = folder / f"{name}.xml"
        try:
            ov.save_model(graph, path, compress_to_fp16=compress)
        except RuntimeError as error:  # OpenVINO does not say why
            raise OSError(errno.EIO, "the graph cannot be written", str(path)) from error


def convert(network: FasterRCNN) -> dict[str, ov.Model]:
    """Convert a network in eval mode to graphs, keyed by the names in `GRAPHS`."""
    graphs = (_features(network), _proposals(network), _head(network))
    return dict(zip(GRAPHS, graphs, strict=True))


class _Features(nn.Module):
    """Backbone, pyramid and proposal head: pixels less the mean -> maps, objectness and deltas of every level.

    The first convolution's weights include the division by the standard deviation.
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
            by_place = weight.unflatten(1, (-1, POOLED_PX, POOLED_PX)).permute(0, 2, 3, 1)
            self.head.fc6.weight = nn.Parameter(by_place.flatten(1).contiguous(), requires_grad=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits, deltas = self.predictor(self.head(x if self.takes_channels_last else x.permute(0, 3, 1, 2)))
        return logits, deltas


def _convert(module: nn.Module, example: Tensor, shape: Sequence[int]) -> ov.Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # OpenVINO relies on torch's tracing, which warns that it is deprecated
        # torch would trace a second time to compare; the golden check compares the detections
        decoder = TorchScriptPythonDecoder(module.eval(), example_input=example, trace_kwargs={"check_trace": False})
        return ov.convert_model(decoder, example_input=example, input=[ov.PartialShape(list(shape))])


def _features(network: FasterRCNN) -> ov.Model:
    converted = _convert(_Features(network), torch.zeros(1, 3, _EXAMPLE_PX, _EXAMPLE_PX), (1, 3, -1, -1))
    pixels = op.parameter([1, -1, -1, 3], ov.Type.f32, name="pixels")
    planes = op.transpose(pixels, i64([0, 3, 1, 2]))
    for target in converted.input(0).get_node().output(0).get_target_inputs():
        target.replace_source_output(planes.output(0))
    maps = [result.input(0).get_source_output() for result in converted.get_results()]
    graph = ov.Model([op.result(op.transpose(item, i64([0, 2, 3, 1]))) for item in maps], [pixels], "features")
    levels = len(maps) // 3
    names = [f"{kind}{level}" for kind in ("feature", "objectness", "deltas") for level in range(levels)]
    return _named(graph, names)


def _proposals(network: FasterRCNN) -> ov.Model:
    rpn, pool = network.rpn, network.roi_heads.box_roi_pool
    anchors = [f32_array(cell) for cell in rpn.anchor_generator.cell_anchors]
    strides = _strides(network)
    pooled_from = [name for name in strides if name in pool.featmap_names]
    limit_hw = op.parameter([2], ov.Type.f32, name="limit_hw")
    maps = [
        op.parameter([1, -1, -1, network.backbone.out_channels], ov.Type.f32, name=f"feature{level}")
        for level in range(len(pooled_from))
    ]
    padded_hw = op.multiply(op.gather(op.shape_of(maps[0]), i64([1, 2]), i64(0)), i64(strides[pooled_from[0]]))
    objectness, deltas, boxes, logits, levels = [], [], [], [], []
    for level, cell in enumerate(anchors):
        objectness.append(op.parameter([1, -1, -1, len(cell)], ov.Type.f32, name=f"objectness{level}"))
        deltas.append(op.parameter([1, -1, -1, 4 * len(cell)], ov.Type.f32, name=f"deltas{level}"))
        found, scores = _best_of_level(
            objectness[-1], deltas[-1], cell, padded_hw=padded_hw, most=rpn._pre_nms_top_n["testing"]
        )
        boxes.append(found)
        logits.append(scores)
        levels.append(op.broadcast(f32(level), op.shape_of(scores)))
    every = _clip(op.concat(boxes, 0), limit_hw)
    scores = _cross_out_small(op.sigmoid(op.concat(logits, 0)), every, rpn.min_size)
    # boxes of different levels must not suppress each other, so each level is shifted to its own region of the plane
    offset = op.multiply(op.concat(levels, 0), op.add(op.reduce_max(limit_hw, i64([0])), f32(1)))
    kept = _suppress(
        op.unsqueeze(op.add(every, op.unsqueeze(offset, i64(1))), i64(0)),
        op.unsqueeze(scores, i64([0, 1])),
        iou=rpn.nms_thresh,
        score_floor=max(rpn.score_thresh, _NEVER),
        most=rpn._post_nms_top_n["testing"],
    )
    chosen = op.gather(every, op.gather(kept.output(0), i64(2), i64(1)), i64(0))
    proposals, pooled = pool_by_level(maps, chosen, [strides[name] for name in pooled_from])
    graph = ov.Model([op.result(proposals), op.result(pooled)], [*maps, *objectness, *deltas, limit_hw], "proposals")
    return _named(graph, ["proposals", "pooled"])


def _strides(network: FasterRCNN) -> dict[str, int]:
    """Return each map's stride, px, by the map's name."""
    with torch.inference_mode():
        maps = network.backbone(torch.zeros(1, 3, _EXAMPLE_PX, _EXAMPLE_PX))
    return {name: _EXAMPLE_PX // item.shape[-1] for name, item in maps.items()}


def _best_of_level(
    objectness: Node, deltas: Node, cell: NDArray[np.float32], *, padded_hw: Node, most: int
) -> tuple[Node, Node]:
    """Return the boxes (N, 4) with the highest objectness of a level and their logits (N,), N at most `most`.

    Candidates are numbered in torchvision's order: row, column, anchor. An anchor's place follows from its number. The
    stride is an integer: (height, width) of the padded image // that of the map. A map of stride 64 may get less.
    """
    count = len(cell)
    logits = op.reshape(objectness, i64([-1]), special_zero=False)
    rows = op.reshape(deltas, i64([-1, 4]), special_zero=False)
    k = op.squeeze(op.minimum(op.shape_of(logits), i64([most])), i64([0]))
    best = op.topk(logits, k, 0, "max", "value", index_element_type="i64")
    number = best.output(1)
    place = op.divide(number, i64(count))
    map_hw = op.gather(op.shape_of(deltas), i64([1, 2]), i64(0))
    width = op.gather(map_hw, i64(1), i64(0))
    rows_columns = (op.divide(place, width), op.mod(place, width))
    stride_hw = op.divide(padded_hw, map_hw)
    y, x = (
        op.convert(op.multiply(places, op.gather(stride_hw, i64(axis), i64(0))), "f32")
        for axis, places in enumerate(rows_columns)
    )
    shift = op.concat([op.unsqueeze(value, i64(1)) for value in (x, y, x, y)], 1)
    anchors = op.add(op.gather(op.constant(cell), op.mod(number, i64(count)), i64(0)), shift)
    return _decode(anchors, op.gather(rows, number, i64(0)), weights=(1.0, 1.0, 1.0, 1.0)), best.output(0)


def _head(network: FasterRCNN) -> ov.Model:
    heads = network.roi_heads
    channels, classes = network.backbone.out_channels, heads.box_predictor.cls_score.out_features - 1
    shape = (POOLED_PX, POOLED_PX, channels)
    converted = _convert(_Head(network), torch.zeros(2, *shape), (-1, *shape))
    pooled = converted.get_parameters()[0]
    proposals = op.parameter([-1, 4], ov.Type.f32, name="proposals")
    limit_hw = op.parameter([2], ov.Type.f32, name="limit_hw")
    logits, deltas = (result.input(0).get_source_output() for result in converted.get_results())
    objects = i64(range(1, classes + 1))  # without the background
    scores = op.gather(op.softmax(logits, 1), objects, i64(1))  # (R, K)
    rows = op.gather(op.reshape(deltas, i64([-1, classes + 1, 4]), special_zero=False), objects, i64(1))
    boxes = _clip(_decode(op.unsqueeze(proposals, i64(1)), rows, weights=heads.box_coder.weights), limit_hw)
    scores = _cross_out_small(scores, boxes, 1e-2)
    by_class = op.transpose(boxes, i64([1, 0, 2]))  # (K, R, 4)
    kept = _suppress(
        by_class,
        op.unsqueeze(op.transpose(scores, i64([1, 0])), i64(1)),
        iou=heads.nms_thresh,
        score_floor=max(heads.score_thresh, _NEVER),
        most=heads.detections_per_img,
    )
    most = [i64([0]), i64([heads.detections_per_img]), i64([1]), i64([0])]
    indices, values = (op.slice(kept.output(number), *most) for number in (0, 1))
    label, box = (op.gather(indices, i64([column]), i64(1)) for column in (0, 2))
    graph = ov.Model(
        [
            op.result(op.gather_nd(by_class, op.concat([label, box], 1))),
            op.result(op.add(op.squeeze(label, i64([1])), i64(1))),
            op.result(op.gather(values, i64(2), i64(1))),
        ],
        [pooled, proposals, limit_hw],
        "head",
    )
    pooled.output(0).get_tensor().set_names({"pooled"})
    return _named(graph, ["boxes", "labels", "scores"])


def _decode(boxes: Node, deltas: Node, *, weights: Sequence[float]) -> Node:
    """Move boxes (..., 4) by deltas (..., 4), as `BoxCoder.decode` does."""
    x0, y0, x1, y1 = (op.gather(boxes, i64([column]), i64(-1)) for column in range(4))
    dx, dy, dw, dh = (
        op.divide(op.gather(deltas, i64([column]), i64(-1)), f32(weight)) for column, weight in enumerate(weights)
    )
    width, height = op.subtract(x1, x0), op.subtract(y1, y0)
    x, y = (
        op.add(op.multiply(delta, size), op.add(start, op.multiply(size, f32(0.5))))
        for delta, size, start in ((dx, width, x0), (dy, height, y0))
    )
    most = f32(math.log(1000 / 16))
    half_w, half_h = (
        op.multiply(op.multiply(op.exp(op.minimum(delta, most)), size), f32(0.5))
        for delta, size in ((dw, width), (dh, height))
    )
    return op.concat([op.subtract(x, half_w), op.subtract(y, half_h), op.add(x, half_w), op.add(y, half_h)], -1)


def _clip(boxes: Node, limit_hw: Node) -> Node:
    return op.maximum(op.minimum(boxes, op.gather(limit_hw, i64([1, 0, 1, 0]), i64(0))), f32(0))


def _cross_out_small(scores: Node, boxes: Node, min_size: float) -> Node:
    """Give score 0 to boxes with a side below `min_size`; every score threshold removes them."""
    is_large = op.greater_equal(op.reduce_min(width_height(boxes), i64([-1])), f32(min_size))
    return op.select(is_large, scores, f32(0))


def _suppress(boxes: Node, scores: Node, *, iou: float, score_floor: float, most: int) -> Any:
    """Apply non-maximum suppression to boxes (B, N, 4) with scores (B, 1, N).

    Returns:
        Outputs (D, 3): batch, class and box index; then batch, class and score.
    """
    return op.non_max_suppression(
        boxes,
        scores,
        i64(most),
        f32(iou),
        f32(score_floor),
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
