"""Conversion of a torchvision `FasterRCNN` into one ONNX model, from the image's bytes to boxes in its pixels.

| tensor | type and shape | meaning |
|---|---|---|
| `image` | uint8 (height, width, 3) | upright RGB image of any size |
| `boxes` | float32 (n, 4) | x0, y0, x1, y1 in px of the image |
| `labels` | int64 (n,) | 1..K |
| `scores` | float32 (n,) | above the network's floor, best first |

Convolutions and linear layers are traced by torch. Everything else repeats torchvision.models.detection node by node,
whose names are used here, and the engines' rule of one label per object. All arithmetic is float32 or int64, because
not every runtime has float64.
"""

import io
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

from training.releasing.onnx_nodes import Nodes, Value
from training.releasing.onnx_sizes import resized

OPSET = 18
"""Version of the operators, read by every runtime since 2023; `RoiAlign` matches torchvision's from 16 on."""

IR_VERSION = 8
"""Version of the file format that belongs to the opset."""

_EXAMPLE_PX = 128
_PAD_MULTIPLE_PX = 32
_POOLED_PX = 7
_SAMPLES = 2


def convert(network: FasterRCNN, *, one_label_iou: float | None) -> onnx.ModelProto:
    """Convert a network to an ONNX model; see the module's table.

    Args:
        network: a network in eval mode whose batch norms are folded into its convolutions.
        one_label_iou: IoU above which boxes of different classes suppress each other; None if they do not.

    Returns:
        The model, without metadata. An image that resizing leaves less than 1 px of a side has no objects.
    """
    nodes = Nodes()
    image = nodes.to_f32("image")  # TensorRT takes bytes only to cast them
    size_hw, resized_hw, is_seen = _sizes(nodes, network, image)
    pixels = _pixels(nodes, network, image, size_hw=size_hw, resized_hw=resized_hw)
    maps = nodes.graph(
        _trace(_Features(network), torch.zeros(1, 3, _EXAMPLE_PX, _EXAMPLE_PX), [2, 3]), "features", pixels
    )
    levels = len(maps) // 3
    limit_xyxy = nodes.gather(resized_hw, [1, 0, 1, 0])
    proposals = _proposals(nodes, network, pixels, maps[levels:], limit_xyxy)
    proposals, pooled = _pooled(nodes, network, maps[:levels], proposals)
    example = torch.zeros(2, network.backbone.out_channels, _POOLED_PX, _POOLED_PX)
    heads = nodes.graph(_trace(_Head(network), example, [0]), "head", pooled)
    boxes, labels, scores = _objects(nodes, network, proposals, heads, limit_xyxy)
    ratio = nodes.gather(nodes.add("Div", size_hw, resized_hw), [1, 0, 1, 0])
    boxes = nodes.clip(nodes.add("Mul", boxes, ratio), nodes.gather(size_hw, [1, 0, 1, 0]))
    seen = nodes.add("Where", is_seen, scores, nodes.f32(-1))
    # without the rule, an IoU of 1 suppresses nothing, and the images that are too narrow still lose their objects
    kept = nodes.suppress(
        nodes.add("Unsqueeze", boxes, nodes.i64([0])),
        nodes.add("Unsqueeze", seen, nodes.i64([0, 1])),
        iou=1.0 if one_label_iou is None else one_label_iou,
        above=0.0,
        most=network.roi_heads.detections_per_img,
    )
    order = nodes.gather(kept, 2, 1)
    for name, value in (("boxes", boxes), ("labels", labels), ("scores", scores)):
        nodes.nodes.append(helper.make_node("Gather", [value, order], [name], name=name, axis=0))
    return _model(nodes)


def _model(nodes: Nodes) -> onnx.ModelProto:
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes.nodes,
        "detector",
        [tensor("image", TensorProto.UINT8, ["height", "width", 3])],
        [
            tensor("boxes", TensorProto.FLOAT, ["n", 4]),
            tensor("labels", TensorProto.INT64, ["n"]),
            tensor("scores", TensorProto.FLOAT, ["n"]),
        ],
        nodes.constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


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
    """Pooled features (R, C, 7, 7) -> class logits (R, K + 1) and box deltas (R, 4 * (K + 1))."""

    def __init__(self, network: FasterRCNN) -> None:
        super().__init__()
        self.head, self.predictor = network.roi_heads.box_head, network.roi_heads.box_predictor

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits, deltas = self.predictor(self.head(x))
        return logits, deltas


@torch.inference_mode()
def _trace(module: nn.Module, example: Tensor, free_axes: Sequence[int]) -> onnx.ModelProto:
    """Trace a module with one input, some axes of which have any size."""
    written = io.BytesIO()
    with warnings.catch_warnings():
        # torch's newer exporter needs two more packages and half a minute, and these modules have no branches
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            (example,),
            written,
            dynamo=False,
            opset_version=OPSET,
            input_names=["x"],
            dynamic_axes={"x": {axis: f"axis{axis}" for axis in free_axes}},
        )
    return onnx.load_from_string(written.getvalue())


def _sizes(nodes: Nodes, network: FasterRCNN, image: Value) -> tuple[Value, Value, Value]:
    """Return the sizes (2,) of the image and of the network's input, y before x, px, and whether the input has any."""
    add, rule = nodes.add, network.transform
    size_hw = nodes.to_f32(add("Shape", image, start=0, end=2))
    resized_hw = resized(nodes, size_hw, min_size=rule.min_size[-1], max_size=rule.max_size)
    smallest = add("ReduceMin", resized_hw, nodes.i64([0]))
    return size_hw, add("Max", resized_hw, nodes.f32(1)), add("Greater", smallest, nodes.f32(0))


def _pixels(nodes: Nodes, network: FasterRCNN, image: Value, *, size_hw: Value, resized_hw: Value) -> Value:
    """Return the network's input (1, 3, H, W): resized as torch does, normalised and padded with zeros.

    ONNX's own `Resize` computes other source coordinates: they differ by up to 2^-11 px in an image of 4,000 px, which
    moves boxes by more than 0.01 px.
    """
    add, rule = nodes.add, network.transform
    pixels = image
    for axis, shape in enumerate(([-1, 1, 1], [1, -1, 1])):
        size, target = nodes.gather(size_hw, [axis]), nodes.gather(resized_hw, [axis])
        first, second, weight = _source(nodes, size, target)
        weight = add("Reshape", weight, nodes.i64(shape))
        near, far = (nodes.gather(pixels, places, axis) for places in (first, second))
        pixels = add("Add", add("Mul", near, add("Sub", nodes.f32(1), weight)), add("Mul", far, weight))
    mean, std = nodes.f32(rule.image_mean), nodes.f32(rule.image_std)
    normal = add("Div", add("Sub", add("Div", pixels, nodes.f32(255)), mean), std)
    planes = add("Unsqueeze", add("Transpose", normal, perm=[2, 0, 1]), nodes.i64([0]))
    multiple = nodes.f32(_PAD_MULTIPLE_PX)
    padding = add("Sub", add("Mul", add("Ceil", add("Div", resized_hw, multiple)), multiple), resized_hw)
    return str(add("Pad", planes, nodes.concat([nodes.i64([0] * 6), nodes.to_i64(padding)], 0), nodes.f32(0)))


def _source(nodes: Nodes, size: Value, target: Value) -> tuple[Value, Value, Value]:
    """Return, for each place of a resized axis, the two places of the image to blend and the weight of the second."""
    add = nodes.add
    count = add("Squeeze", nodes.to_i64(target), nodes.i64([0]))
    places = nodes.to_f32(add("Range", nodes.i64(0), count, nodes.i64(1)))
    half = nodes.f32(0.5)
    source = add("Sub", add("Mul", add("Add", places, half), add("Div", size, target)), half)
    source = add("Max", source, nodes.f32(0))
    first = add("Floor", source)
    last = add("Sub", size, nodes.f32(1))
    near, far = (nodes.to_i64(add("Min", place, last)) for place in (first, add("Add", first, nodes.f32(1))))
    return near, far, str(add("Sub", source, first))


def _proposals(nodes: Nodes, network: FasterRCNN, pixels: Value, heads: Sequence[Value], limit_xyxy: Value) -> Value:
    """Return the proposals (R, 4), px of the input, best first."""
    rpn = network.rpn
    levels = len(heads) // 2
    padded_hw = nodes.add("Shape", pixels, start=2, end=4)
    most = rpn._pre_nms_top_n["testing"]
    boxes, scores = [], []
    for objectness, deltas, cell in zip(heads[:levels], heads[levels:], rpn.anchor_generator.cell_anchors, strict=True):
        every, logits = _best_of_level(nodes, objectness, deltas, cell.numpy(), padded_hw=padded_hw, most=most)
        every = nodes.clip(every, limit_xyxy)
        likely = nodes.keep_large(nodes.add("Sigmoid", logits), every, rpn.min_size)
        kept = nodes.suppress(
            nodes.add("Unsqueeze", every, nodes.i64([0])),
            nodes.add("Unsqueeze", likely, nodes.i64([0, 1])),
            iou=rpn.nms_thresh,
            # torchvision keeps the floor itself, ONNX what is above; -1 is a box that is too small
            above=float(np.nextafter(np.float32(rpn.score_thresh), np.float32(-1))) if rpn.score_thresh else -0.5,
            most=most,
        )
        order = nodes.gather(kept, 2, 1)
        boxes.append(nodes.gather(every, order))
        scores.append(nodes.gather(likely, order))
    _, best = nodes.best(nodes.concat(scores, 0), rpn._post_nms_top_n["testing"])
    return nodes.gather(nodes.concat(boxes, 0), best)


def _best_of_level(
    nodes: Nodes, objectness: Value, deltas: Value, cell: Any, *, padded_hw: Value, most: int
) -> tuple[Value, Value]:
    """Return the boxes (N, 4) with the highest objectness of a level and their logits (N,), N at most `most`.

    Candidates are numbered in torchvision's order: row, column, anchor. An anchor's place follows from its number. The
    stride is an integer: (height, width) of the padded image // that of the map.
    """
    add, count = nodes.add, nodes.i64(len(cell))
    map_hw = add("Shape", objectness, start=2, end=4)
    logits = add("Reshape", add("Transpose", objectness, perm=[0, 2, 3, 1]), nodes.i64([-1]))
    rows = add("Reshape", add("Transpose", deltas, perm=[0, 2, 3, 1]), nodes.i64([-1, 4]))
    best, number = nodes.best(logits, most)
    place = add("Div", number, count)
    anchor = add("Sub", number, add("Mul", place, count))
    width = nodes.gather(map_hw, [1])
    row = add("Div", place, width)
    column = add("Sub", place, add("Mul", row, width))
    stride_hw = add("Div", padded_hw, map_hw)
    y, x = (
        add("Unsqueeze", nodes.to_f32(add("Mul", places, nodes.gather(stride_hw, [axis]))), nodes.i64([1]))
        for axis, places in enumerate((row, column))
    )
    anchors = add("Add", nodes.gather(nodes.f32(cell), anchor), nodes.concat([x, y, x, y], 1))
    return nodes.decode(anchors, nodes.gather(rows, number), (1.0, 1.0, 1.0, 1.0)), best


def _pooled(nodes: Nodes, network: FasterRCNN, maps: Sequence[Value], boxes: Value) -> tuple[Value, Value]:
    """Pool each box from the level that suits its size; return the boxes in the order of the pooled features.

    The level is floor(4 + log2(sqrt(area) / 224)), equation 1 of Lin et al., Feature Pyramid Networks, 2017. If two
    maps have the same stride, torchvision pools only from the first of them.
    """
    add = nodes.add
    strides = _strides(network)
    lowest, highest = (int(math.log2(stride)) for stride in (strides[0], strides[-1]))
    side = add("Sqrt", add("ReduceProd", nodes.width_height(boxes), nodes.i64([1]), keepdims=0))
    octaves = add(
        "Div", add("Log", add("Max", add("Div", side, nodes.f32(224)), nodes.f32(1e-9))), nodes.f32(math.log(2))
    )
    level = add("Floor", add("Add", add("Add", octaves, nodes.f32(4)), nodes.f32(1e-6)))
    level = add("Clip", level, nodes.f32(lowest), nodes.f32(highest))
    orders, pools = [], []
    for number, (item, stride) in enumerate(zip(maps, strides, strict=False), lowest):
        if number > highest:
            break
        order = add("Squeeze", add("NonZero", add("Equal", level, nodes.f32(number))), nodes.i64([0]))
        rois = nodes.gather(boxes, order)
        first_image = add("Mul", order, nodes.i64(0))
        pools.append(
            add(
                "RoiAlign",
                item,
                rois,
                first_image,
                mode="avg",
                coordinate_transformation_mode="output_half_pixel",
                output_height=_POOLED_PX,
                output_width=_POOLED_PX,
                sampling_ratio=_SAMPLES,
                spatial_scale=1 / stride,
            )
        )
        orders.append(order)
    return nodes.gather(boxes, nodes.concat(orders, 0)), nodes.concat(pools, 0)


def _strides(network: FasterRCNN) -> list[int]:
    """Return the strides, px, of the maps that boxes are pooled from."""
    with torch.inference_mode():
        maps = network.backbone(torch.zeros(1, 3, _EXAMPLE_PX, _EXAMPLE_PX))
    names = network.roi_heads.box_roi_pool.featmap_names
    return [_EXAMPLE_PX // item.shape[-1] for name, item in maps.items() if name in names]


def _objects(
    nodes: Nodes, network: FasterRCNN, proposals: Value, heads: Sequence[Value], limit_xyxy: Value
) -> tuple[Value, Value, Value]:
    """Return boxes (D, 4) in px of the input, labels and scores (D,), best first; D is at most the network's limit."""
    add, roi_heads = nodes.add, network.roi_heads
    logits, deltas = heads
    classes = roi_heads.box_predictor.cls_score.out_features - 1
    objects = list(range(1, classes + 1))  # without the background
    scores = nodes.gather(add("Softmax", logits, axis=1), objects, 1)  # (R, K)
    rows = nodes.gather(add("Reshape", deltas, nodes.i64([-1, classes + 1, 4])), objects, 1)
    boxes = nodes.decode(add("Unsqueeze", proposals, nodes.i64([1])), rows, roi_heads.box_coder.weights)
    boxes = nodes.clip(boxes, limit_xyxy)  # (R, K, 4)
    scores = add("Transpose", nodes.keep_large(scores, boxes, 1e-2), perm=[1, 0])  # (K, R)
    boxes = add("Transpose", boxes, perm=[1, 0, 2])
    kept = nodes.suppress(
        boxes,
        add("Unsqueeze", scores, nodes.i64([1])),
        iou=roi_heads.nms_thresh,
        above=roi_heads.score_thresh,
        most=roi_heads.detections_per_img,
    )
    places = nodes.gather(kept, [0, 2], 1)  # class and proposal
    best, order = nodes.best(add("GatherND", scores, places), roi_heads.detections_per_img)
    places = nodes.gather(places, order)
    labels = add("Add", nodes.gather(places, 0, 1), nodes.i64(1))
    return add("GatherND", boxes, places), labels, best
