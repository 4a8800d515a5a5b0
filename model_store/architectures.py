"""The supported network architectures, and recognition of a state dict's architecture.

All networks are torchvision's `FasterRCNN`. A network takes a list of float32 (3, H, W) in 0..1. In eval mode it
returns a list of dicts: `boxes` float32 (N, 4) x0, y0, x1, y1 in px of the given image, `labels` int64 (N,) in 1..K,
`scores` float32 (N,). It resizes and normalises inside. Reference: torchvision.models.detection.faster_rcnn.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn
from torchvision.models import mobilenet_v2
from torchvision.models.detection import (
    FasterRCNN,
    fasterrcnn_mobilenet_v3_large_fpn,
    fasterrcnn_resnet50_fpn,
    fasterrcnn_resnet50_fpn_v2,
)
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign

from model_store.errors import UnknownArchitecture

StateDict = Mapping[str, Tensor]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class NetworkOptions(BaseModel):
    """Options of a network that its tensors do not show; the defaults are torchvision's for Faster R-CNN.

    Attributes:
        min_size: target length of an image's shorter side, px, unless `max_size` limits it.
        max_size: maximum length of the longer side, px.
        score_floor: detections at or below this score are not returned.
        box_nms_iou: of two boxes of one class that overlap more than this, the better one stays.
        one_label_per_object: of boxes of different classes that overlap more than `box_nms_iou`, only the best one
            stays. Engines apply this rule to the network's answer; see `model_store.engines.detections_in`.
        detections_per_image: maximum number of detections in one image.
        rpn_pre_nms_top_n: proposals for each feature level before suppression, in eval mode.
        rpn_post_nms_top_n: proposals for an image after suppression, in eval mode.
        rpn_score_floor: proposals below this objectness are dropped.
        norm: `frozen` for batch norm with constant statistics, `batch` for learned ones.
        anchor_sizes: sides of the square anchors of each feature level, px of the network's input; None uses the
            architecture's own.
        norm_eps: number added to the variance; None keeps the backbone builder's value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_size: PositiveInt = 800
    max_size: PositiveInt = 1333
    score_floor: NonNegativeFloat = Field(0.05, lt=1)
    box_nms_iou: float = Field(0.5, gt=0, le=1)
    one_label_per_object: bool = False
    detections_per_image: PositiveInt = 100
    rpn_pre_nms_top_n: PositiveInt = 1000
    rpn_post_nms_top_n: PositiveInt = 1000
    rpn_score_floor: NonNegativeFloat = 0.0
    norm: Literal["frozen", "batch"] = "frozen"
    norm_eps: NonNegativeFloat | None = None
    anchor_sizes: tuple[tuple[PositiveInt, ...], ...] | None = None

    @property
    def one_label_iou(self) -> float | None:
        """IoU above which boxes of different classes suppress each other; None if they do not."""
        return self.box_nms_iou if self.one_label_per_object else None

    def resized(self, min_size: int) -> Self:
        """Return options with another shorter side of the input; the longer side may be at least as long."""
        return self.model_copy(update={"min_size": min_size, "max_size": max(self.max_size, min_size)})

    def reporting(self, count: int) -> Self:
        """Return options with another maximum number of detections, and proposals for twice as many objects."""
        proposals = {name: max(getattr(self, name), 2 * count) for name in ("rpn_pre_nms_top_n", "rpn_post_nms_top_n")}
        return self.model_copy(update={"detections_per_image": count, **proposals})


@dataclass(frozen=True)
class Architecture:
    """One row of the table of networks.

    Attributes:
        build: takes the number of classes including the background, and keyword arguments of `FasterRCNN`; returns a
            network with batch norm.
        options: the defaults for this architecture.
        stages: names of the backbone's stages inside `network.backbone.body`, from the input upwards; `freeze_stages`
            counts them.
        marks: parameter names that only this architecture has, or its twin with another input size.
    """

    build: Callable[..., FasterRCNN]
    options: NetworkOptions
    stages: tuple[tuple[str, ...], ...]
    marks: tuple[str, ...]


# Feature maps of MobileNetV2 used by the small detector: the last block at strides 8, 16 and 32.
_MOBILENET_V2_LEVELS = {"6": "0", "13": "1", "18": "2"}
_MOBILENET_V2_CHANNELS = [32, 96, 1280]
_SMALL_FPN_CHANNELS = 128
_SMALL_HEAD_WIDTH = 512
# Two sizes per level, half an octave apart, from 24 px on: objects 40 px wide in a 640 px photo match at stride 8.
_SMALL_ANCHORS = ((24, 36), (52, 76), (128, 256))


def _build_mobilenet_v2_fpn(*, num_classes: int, **options: Any) -> FasterRCNN:
    """Build the small network for CPUs: MobileNetV2, a narrow FPN at strides 8, 16 and 32, and a 512-wide box head."""
    backbone = BackboneWithFPN(
        mobilenet_v2(weights=None).features,
        return_layers=_MOBILENET_V2_LEVELS,
        in_channels_list=_MOBILENET_V2_CHANNELS,
        out_channels=_SMALL_FPN_CHANNELS,
    )
    # BackboneWithFPN adds a max-pooled level by default; this network has only its three
    backbone.fpn.extra_blocks = None
    levels = list(_MOBILENET_V2_LEVELS.values())
    return FasterRCNN(
        backbone,
        rpn_anchor_generator=AnchorGenerator(_SMALL_ANCHORS, ((0.5, 1.0, 2.0),) * len(levels)),
        box_roi_pool=MultiScaleRoIAlign(featmap_names=levels, output_size=7, sampling_ratio=2),
        box_head=TwoMLPHead(_SMALL_FPN_CHANNELS * 7**2, _SMALL_HEAD_WIDTH),
        box_predictor=FastRCNNPredictor(_SMALL_HEAD_WIDTH, num_classes),
        **options,
    )


def _build_torchvision(builder: Callable[..., FasterRCNN]) -> Callable[..., FasterRCNN]:
    def build(*, num_classes: int, **options: Any) -> FasterRCNN:
        return builder(weights=None, weights_backbone=None, num_classes=num_classes, **options)

    return build


_RESNET_STAGES = (("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",))


def _numbered(*ends: int) -> tuple[tuple[str, ...], ...]:
    """Group the numbered blocks of a MobileNet into stages; each stage ends before one of the given numbers."""
    return tuple(
        tuple(str(block) for block in range(start, end)) for start, end in zip((0, *ends[:-1]), ends, strict=True)
    )


ARCHITECTURES: dict[str, Architecture] = {
    "fasterrcnn_resnet50_fpn": Architecture(
        build=_build_torchvision(fasterrcnn_resnet50_fpn),
        # torchvision uses eps 0 with the COCO weights that these networks start from
        options=NetworkOptions(norm_eps=0.0),
        stages=_RESNET_STAGES,
        marks=("backbone.body.layer4.2.conv3.weight", "roi_heads.box_head.fc6.weight"),
    ),
    "fasterrcnn_resnet50_fpn_v2": Architecture(
        build=_build_torchvision(fasterrcnn_resnet50_fpn_v2),
        options=NetworkOptions(norm="batch"),
        stages=_RESNET_STAGES,
        marks=("backbone.body.layer4.2.conv3.weight", "roi_heads.box_head.0.0.weight"),
    ),
    "fasterrcnn_mobilenet_v3_large_fpn": Architecture(
        build=_build_torchvision(fasterrcnn_mobilenet_v3_large_fpn),
        options=NetworkOptions(norm_eps=1e-5, rpn_score_floor=0.05),
        stages=_numbered(2, 4, 7, 13, 17),
        marks=("backbone.body.1.block.0.0.weight", "roi_heads.box_head.fc6.weight"),
    ),
    "fasterrcnn_mobilenet_v3_large_320_fpn": Architecture(
        build=_build_torchvision(fasterrcnn_mobilenet_v3_large_fpn),
        options=NetworkOptions(
            min_size=320,
            max_size=640,
            rpn_pre_nms_top_n=150,
            rpn_post_nms_top_n=150,
            rpn_score_floor=0.05,
            norm_eps=1e-5,
        ),
        stages=_numbered(2, 4, 7, 13, 17),
        marks=("backbone.body.1.block.0.0.weight", "roi_heads.box_head.fc6.weight"),
    ),
    "fasterrcnn_mobilenet_v2_fpn": Architecture(
        build=_build_mobilenet_v2_fpn,
        options=NetworkOptions(
            min_size=640,
            max_size=1066,
            rpn_pre_nms_top_n=500,
            rpn_post_nms_top_n=250,
            # a third fewer proposals to pool and classify; AP on photos of dice changed by less than 0.001
            rpn_score_floor=0.05,
            norm_eps=1e-5,
        ),
        stages=_numbered(2, 4, 7, 14, 19),
        marks=("backbone.body.1.conv.0.0.weight", "roi_heads.box_head.fc6.weight"),
    ),
}


def architecture(name: str) -> Architecture:
    """Return an architecture by its name.

    Raises:
        UnknownArchitecture: no such name.
    """
    try:
        return ARCHITECTURES[name]
    except KeyError:
        known = ", ".join(ARCHITECTURES)
        raise UnknownArchitecture(f"architecture {name!r} is unknown; accepted: {known}") from None


def build(name: str, *, class_count: int, options: NetworkOptions | None = None) -> FasterRCNN:
    """Build a network with random weights.

    Args:
        name: a key of `ARCHITECTURES`.
        class_count: K, without the background.
        options: None uses the architecture's own.

    Returns:
        The network. Its attribute `roi_heads.one_label_iou` tells the torch engine `NetworkOptions.one_label_iou`.

    Raises:
        UnknownArchitecture: no such name.
    """
    row = architecture(name)
    chosen = options or row.options
    network = row.build(
        num_classes=class_count + 1,
        min_size=chosen.min_size,
        max_size=chosen.max_size,
        image_mean=list(IMAGENET_MEAN),
        image_std=list(IMAGENET_STD),
        box_score_thresh=chosen.score_floor,
        box_nms_thresh=chosen.box_nms_iou,
        box_detections_per_img=chosen.detections_per_image,
        rpn_pre_nms_top_n_test=chosen.rpn_pre_nms_top_n,
        rpn_post_nms_top_n_test=chosen.rpn_post_nms_top_n,
        rpn_score_thresh=chosen.rpn_score_floor,
    )
    network.roi_heads.one_label_iou = chosen.one_label_iou
    if chosen.anchor_sizes is not None:
        _set_anchors(network, chosen.anchor_sizes)
    if chosen.norm == "frozen":
        freeze_batch_norm(network, eps=chosen.norm_eps)
    return network


def _set_anchors(network: FasterRCNN, sizes: tuple[tuple[int, ...], ...]) -> None:
    """Replace a network's anchors by others of the same number per place."""
    own = network.rpn.anchor_generator
    if [len(level) for level in sizes] != [len(level) for level in own.sizes]:
        raise ValueError(
            f"anchor_sizes {sizes} do not fit; accepted: {len(own.sizes)} levels of {len(own.sizes[0])} sizes"
        )
    network.rpn.anchor_generator = AnchorGenerator(sizes, own.aspect_ratios)


def freeze_batch_norm(network: nn.Module, *, eps: float | None) -> None:
    """Replace every batch norm inside a network by one with constant statistics and the same values."""
    for name, child in network.named_children():
        if isinstance(child, nn.BatchNorm2d):
            frozen = FrozenBatchNorm2d(child.num_features, eps=child.eps if eps is None else eps)
            frozen.load_state_dict(child.state_dict())
            setattr(network, name, frozen)
        else:
            freeze_batch_norm(child, eps=eps)


def freeze_stages(network: FasterRCNN, name: str, count: int) -> None:
    """Turn off the gradients of the backbone's first `count` stages."""
    for stage in architecture(name).stages[:count]:
        for block in stage:
            if (module := getattr(network.backbone.body, block, None)) is not None:
                module.requires_grad_(requires_grad=False)


@dataclass(frozen=True)
class Recognised:
    """The network properties found in a state dict, and its tensors under current key names."""

    name: str
    class_count: int
    options: NetworkOptions
    state_dict: StateDict

    def build(self) -> FasterRCNN:
        """Build the network with these weights.

        Raises:
            UnknownArchitecture: some names or shapes do not fit the architecture; the message lists some of them.
        """
        network = build(self.name, class_count=self.class_count, options=self.options)
        try:
            network.load_state_dict(dict(self.state_dict), strict=True)
        except RuntimeError as error:
            problems = [line.strip() for line in str(error).splitlines()[1:]]
            shown = "; ".join(line[:160] for line in problems[:3])
            raise UnknownArchitecture(f"the state dict looks like {self.name} but does not fit it: {shown}") from error
        return network


def recognise(state_dict: StateDict, *, file_name: str = "", min_size: int | None = None) -> Recognised:
    """Recognise architecture, class count and batch-norm kind by names and shapes.

    Architectures whose tensors are equal differ in the size of the input. `min_size` chooses between them, else an
    input size in the file's name, such as 320 in `fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth`.

    Args:
        state_dict: a state dict from `model_store.state_dict.unwrap`, with torchvision's current or older key names.
        file_name: name of the state dict's file.
        min_size: shorter side of the network's input, px; None takes the architecture's.

    Raises:
        UnknownArchitecture: no architecture in the table has these names.
    """
    renamed = rename_old_keys(state_dict)
    found = [name for name, row in ARCHITECTURES.items() if all(mark in renamed for mark in row.marks)]
    scores = renamed.get("roi_heads.box_predictor.cls_score.weight")
    if not found or scores is None or scores.ndim != 2 or scores.shape[0] < 2:  # noqa: PLR2004
        sample = ", ".join(sorted(state_dict)[:3]) or "none"
        raise UnknownArchitecture(
            f"{len(state_dict)} tensors ({sample}, ...) fit no known architecture; known: {', '.join(ARCHITECTURES)}"
        )
    by_size = {str(architecture(name).options.min_size): name for name in reversed(found)}
    sizes = [str(min_size), *re.findall(r"(?<![0-9a-f])[0-9]+(?![0-9a-f])", file_name)]
    chosen = next((by_size[size] for size in sizes if size in by_size), found[0])
    options = architecture(chosen).options
    if min_size is not None and min_size != options.min_size:
        options = options.resized(min_size)
    if any(name.endswith("num_batches_tracked") for name in renamed):
        options = options.model_copy(update={"norm": "batch", "norm_eps": None})
    else:
        options = options.model_copy(update={"norm": "frozen"})
    return Recognised(chosen, class_count=scores.shape[0] - 1, options=options, state_dict=renamed)


def rename_old_keys(state_dict: StateDict) -> dict[str, Tensor]:
    """Rename the keys that torchvision changed in 0.13 and 0.14 to the current names; keep the others."""
    return {_today(name): tensor for name, tensor in state_dict.items()}


def _today(name: str) -> str:
    """`rpn.head.conv.weight` -> `rpn.head.conv.0.0.weight`, `...fpn.inner_blocks.0.weight` -> `....0.0.weight`."""
    stem, _, kind = name.rpartition(".")
    if stem == "rpn.head.conv":
        return f"{stem}.0.0.{kind}"
    parent, _, index = stem.rpartition(".")
    if parent in ("backbone.fpn.inner_blocks", "backbone.fpn.layer_blocks") and index.isdigit():
        return f"{stem}.0.{kind}"
    return name
