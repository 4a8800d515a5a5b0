"""The table of networks: what is built, and what a state dict tells of it."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, maskrcnn_resnet50_fpn
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d

from model_store.architectures import (
    ARCHITECTURES,
    NetworkOptions,
    build,
    freeze_stages,
    recognise,
    rename_old_keys,
)
from model_store.errors import UnknownArchitecture
from model_store.model_info import TWINS

SMALL: dict[str, Any] = {"min_size": 64, "max_size": 96, "rpn_pre_nms_top_n": 30, "rpn_post_nms_top_n": 10}
CLASS_COUNT = 4


@pytest.fixture(scope="module")
def networks() -> dict[str, FasterRCNN]:
    """One small network of each architecture; not to be changed."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return {
            name: build(name, class_count=CLASS_COUNT, options=row.options.model_copy(update=SMALL)).eval()
            for name, row in ARCHITECTURES.items()
        }


def test_the_table_holds_the_five_networks() -> None:
    assert list(ARCHITECTURES) == [
        "fasterrcnn_resnet50_fpn",
        "fasterrcnn_resnet50_fpn_v2",
        "fasterrcnn_mobilenet_v3_large_fpn",
        "fasterrcnn_mobilenet_v3_large_320_fpn",
        "fasterrcnn_mobilenet_v2_fpn",
    ]


@pytest.mark.parametrize("name", ARCHITECTURES)
class TestEachArchitecture:
    def test_it_answers_for_images_of_mixed_sizes(self, networks: dict[str, FasterRCNN], name: str) -> None:
        with torch.inference_mode():
            answers = networks[name]([torch.rand(3, 40, 64), torch.rand(3, 64, 50)])
        for answer, (width, height) in zip(answers, [(64, 40), (50, 64)], strict=True):
            count = len(answer["scores"])
            assert answer["boxes"].shape == (count, 4)
            assert answer["boxes"].dtype == torch.float32
            assert answer["labels"].dtype == torch.int64
            assert set(answer["labels"].tolist()) <= {1, 2, 3, 4}
            limits = torch.tensor([width, height, width, height]) + 1e-3
            assert ((answer["boxes"] >= 0) & (answer["boxes"] <= limits)).all()

    def test_its_state_dict_tells_what_it_is(self, networks: dict[str, FasterRCNN], name: str) -> None:
        recognised = recognise(networks[name].state_dict(), file_name=f"{name}-907ea3f9.pth")
        assert (recognised.name, recognised.class_count) == (name, CLASS_COUNT)
        assert recognised.options == ARCHITECTURES[name].options

    def test_all_its_stages_are_the_whole_backbone_body(self, networks: dict[str, FasterRCNN], name: str) -> None:
        in_stages = [block for stage in ARCHITECTURES[name].stages for block in stage]
        with_tensors = [block for block, module in networks[name].backbone.body.named_children() if module.state_dict()]
        assert sorted(in_stages) == sorted(with_tensors)


@pytest.mark.parametrize(
    ("name", "kind", "eps"),
    [
        ("fasterrcnn_resnet50_fpn", FrozenBatchNorm2d, 0.0),  # overwrite_eps of torchvision's COCO weights
        ("fasterrcnn_resnet50_fpn_v2", nn.BatchNorm2d, 1e-5),
        ("fasterrcnn_mobilenet_v3_large_fpn", FrozenBatchNorm2d, 1e-5),
        ("fasterrcnn_mobilenet_v3_large_320_fpn", FrozenBatchNorm2d, 1e-5),
        ("fasterrcnn_mobilenet_v2_fpn", FrozenBatchNorm2d, 1e-5),
    ],
)
def test_batch_norm_is_all_of_one_kind(
    networks: dict[str, FasterRCNN], name: str, kind: type[nn.Module], eps: float
) -> None:
    norms = [module for module in networks[name].modules() if isinstance(module, nn.BatchNorm2d | FrozenBatchNorm2d)]
    assert len(norms) > 40
    assert {type(module) for module in norms} == {kind}
    assert {module.eps for module in norms} == {eps}


def test_learned_batch_norm_is_recognised_by_its_counters() -> None:
    options = NetworkOptions(norm="batch", **SMALL)
    state_dict = build("fasterrcnn_resnet50_fpn", class_count=2, options=options).state_dict()
    recognised = recognise(state_dict)
    assert (recognised.name, recognised.class_count) == ("fasterrcnn_resnet50_fpn", 2)
    assert (recognised.options.norm, recognised.options.norm_eps) == ("batch", None)
    norm = recognised.build().backbone.body.bn1
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.eps == 1e-5


def test_what_tensors_cannot_tell_is_torchvision_s_default() -> None:
    options = ARCHITECTURES["fasterrcnn_resnet50_fpn"].options
    assert (options.min_size, options.max_size) == (800, 1333)
    assert (options.score_floor, options.box_nms_iou, options.detections_per_image) == (0.05, 0.5, 100)
    assert (options.rpn_pre_nms_top_n, options.rpn_post_nms_top_n, options.rpn_score_floor) == (1000, 1000, 0)
    assert ARCHITECTURES["fasterrcnn_mobilenet_v3_large_fpn"].options.rpn_score_floor == 0.05


@pytest.mark.parametrize(
    ("file_name", "min_size", "expected"),
    [
        ("weights.pt", None, ("fasterrcnn_mobilenet_v3_large_fpn", 800, 1333)),
        ("mine_320.pt", None, ("fasterrcnn_mobilenet_v3_large_320_fpn", 320, 640)),
        ("mine-a320b.pt", None, ("fasterrcnn_mobilenet_v3_large_fpn", 800, 1333)),  # part of a hash
        ("mine_320.pt", 800, ("fasterrcnn_mobilenet_v3_large_fpn", 800, 1333)),
        ("weights.pt", 320, ("fasterrcnn_mobilenet_v3_large_320_fpn", 320, 640)),
        ("mine_320.pt", 2000, ("fasterrcnn_mobilenet_v3_large_320_fpn", 2000, 2000)),
    ],
)
def test_equal_tensors_are_told_apart_by_size_or_name(
    networks: dict[str, FasterRCNN], file_name: str, min_size: int | None, expected: tuple[str, int, int]
) -> None:
    state_dict = networks["fasterrcnn_mobilenet_v3_large_320_fpn"].state_dict()
    found = recognise(state_dict, file_name=file_name, min_size=min_size)
    assert (found.name, found.options.min_size, found.options.max_size) == expected


def test_more_detections_come_with_more_proposals() -> None:
    options = ARCHITECTURES["fasterrcnn_mobilenet_v2_fpn"].options.reporting(300)
    assert (options.detections_per_image, options.rpn_pre_nms_top_n, options.rpn_post_nms_top_n) == (300, 600, 600)
    fewer = options.reporting(10)
    assert (fewer.detections_per_image, fewer.rpn_pre_nms_top_n, fewer.rpn_post_nms_top_n) == (10, 600, 600)


def test_twins_have_equal_tensors_and_another_input(networks: dict[str, FasterRCNN]) -> None:
    for name, (twin, min_size) in TWINS.items():
        assert ARCHITECTURES[name].marks == ARCHITECTURES[twin].marks
        assert ARCHITECTURES[twin].options.min_size == min_size
        assert networks[name].state_dict().keys() == networks[twin].state_dict().keys()


def test_options_reach_the_network() -> None:
    options = NetworkOptions(
        min_size=70,
        max_size=90,
        score_floor=0.3,
        box_nms_iou=0.4,
        detections_per_image=7,
        rpn_pre_nms_top_n=21,
        rpn_post_nms_top_n=11,
        rpn_score_floor=0.2,
        norm_eps=0.125,
    )
    network = build("fasterrcnn_mobilenet_v2_fpn", class_count=2, options=options).eval()
    assert (network.transform.min_size, network.transform.max_size) == ((70,), 90)
    heads, rpn = network.roi_heads, network.rpn
    assert (heads.score_thresh, heads.nms_thresh, heads.detections_per_img) == (0.3, 0.4, 7)
    assert (rpn.pre_nms_top_n(), rpn.post_nms_top_n(), rpn.score_thresh) == (21, 11, 0.2)
    assert {module.eps for module in network.modules() if isinstance(module, FrozenBatchNorm2d)} == {0.125}


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_size": 0},
        {"score_floor": 1},
        {"score_floor": -0.1},
        {"box_nms_iou": 0},
        {"norm": "group"},
        {"norm_eps": -1},
        {"anchors": [1]},
    ],
)
def test_options_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        NetworkOptions(**wrong)


def test_an_unknown_architecture_is_answered_with_the_table() -> None:
    with pytest.raises(UnknownArchitecture, match="'yolo' is unknown; accepted: fasterrcnn_resnet50_fpn, "):
        build("yolo", class_count=2)


class TestSmallNetwork:
    NAME = "fasterrcnn_mobilenet_v2_fpn"

    def test_it_looks_at_strides_8_16_and_32_with_128_channels(self, networks: dict[str, FasterRCNN]) -> None:
        with torch.inference_mode():
            features = networks[self.NAME].backbone(torch.zeros(1, 3, 64, 96))
        assert [tuple(level.shape) for level in features.values()] == [
            (1, 128, 8, 12),
            (1, 128, 4, 6),
            (1, 128, 2, 3),
        ]

    def test_its_anchors_begin_at_24_px(self, networks: dict[str, FasterRCNN]) -> None:
        anchors = torch.cat(networks[self.NAME].rpn.anchor_generator.cell_anchors)
        sides = ((anchors[:, 2] - anchors[:, 0]) * (anchors[:, 3] - anchors[:, 1])).sqrt()
        assert sides.min() == pytest.approx(24, abs=1)
        assert sides.max() == pytest.approx(256, abs=1)

    def test_its_weights_for_six_classes_take_less_than_30_mb(self) -> None:
        state_dict = build(self.NAME, class_count=6).state_dict()
        assert sum(tensor.numel() * tensor.element_size() for tensor in state_dict.values()) < 28_000_000


@pytest.mark.parametrize(("count", "first_free"), [(0, "0"), (2, "4"), (4, "14")])
def test_freezing_stages_stops_at_the_next(count: int, first_free: str) -> None:
    network = build("fasterrcnn_mobilenet_v2_fpn", class_count=2)
    freeze_stages(network, "fasterrcnn_mobilenet_v2_fpn", count)
    free = [name for name, module in network.backbone.body.named_children() if next(module.parameters()).requires_grad]
    assert free == [str(block) for block in range(int(first_free), 19)]
    assert all(parameter.requires_grad for parameter in network.backbone.fpn.parameters())


def test_freezing_every_stage_leaves_the_heads() -> None:
    network = build("fasterrcnn_mobilenet_v2_fpn", class_count=2)
    freeze_stages(network, "fasterrcnn_mobilenet_v2_fpn", 5)
    assert not any(parameter.requires_grad for parameter in network.backbone.body.parameters())
    assert all(parameter.requires_grad for parameter in network.roi_heads.parameters())


class TestRecognise:
    def test_names_of_torchvision_0_9_become_todays(self) -> None:
        one = torch.zeros(1)
        old = {
            "rpn.head.conv.weight": one,
            "rpn.head.conv.bias": one,
            "rpn.head.cls_logits.weight": one,
            "backbone.fpn.inner_blocks.3.bias": one,
            "backbone.fpn.layer_blocks.0.weight": one,
            "backbone.body.layer1.0.conv1.weight": one,
        }
        assert list(rename_old_keys(old)) == [
            "rpn.head.conv.0.0.weight",
            "rpn.head.conv.0.0.bias",
            "rpn.head.cls_logits.weight",
            "backbone.fpn.inner_blocks.3.0.bias",
            "backbone.fpn.layer_blocks.0.0.weight",
            "backbone.body.layer1.0.conv1.weight",
        ]

    @pytest.mark.parametrize("name", ARCHITECTURES)
    def test_todays_names_stay(self, networks: dict[str, FasterRCNN], name: str) -> None:
        state_dict = networks[name].state_dict()
        assert list(rename_old_keys(state_dict)) == list(state_dict)

    def test_a_larger_backbone_looks_alike_but_does_not_fit(self) -> None:
        with torch.device("meta"):
            network = FasterRCNN(
                resnet_fpn_backbone(backbone_name="resnet101", weights=None, norm_layer=FrozenBatchNorm2d), 3
            )
        with pytest.raises(UnknownArchitecture, match=r"like fasterrcnn_resnet50_fpn but does not fit it: .*layer3\.6"):
            recognise(network.state_dict()).build()

    def test_a_mask_rcnn_looks_alike_but_does_not_fit(self) -> None:
        with torch.device("meta"):
            network = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=3)
        with pytest.raises(UnknownArchitecture, match=r"does not fit it: Unexpected key.*mask"):
            recognise(network.state_dict()).build()

    @pytest.mark.parametrize(
        "state_dict",
        [
            {},
            {"fc.weight": torch.zeros(2, 2), "fc.bias": torch.zeros(2)},
            {"roi_heads.box_predictor.cls_score.weight": torch.zeros(3, 1024)},
        ],
    )
    def test_a_network_that_is_not_in_the_table_is_refused_with_what_was_found(
        self, state_dict: dict[str, Tensor]
    ) -> None:
        with pytest.raises(UnknownArchitecture) as caught:
            recognise(state_dict)
        assert str(caught.value).startswith(
            f"{len(state_dict)} tensors ({', '.join(sorted(state_dict)) or 'none'}, ...)"
        )
        assert "fasterrcnn_mobilenet_v3_large_fpn" in str(caught.value)

    @pytest.mark.parametrize("shape", [(), (1024,), (1, 1024)], ids=["a number", "a row", "the background alone"])
    def test_a_head_without_classes_is_refused(self, networks: dict[str, FasterRCNN], shape: tuple[int, ...]) -> None:
        state_dict = dict(networks["fasterrcnn_mobilenet_v2_fpn"].state_dict())
        state_dict["roi_heads.box_predictor.cls_score.weight"] = torch.zeros(shape)
        with pytest.raises(UnknownArchitecture):
            recognise(state_dict)

    def test_a_missing_tensor_is_named(self, networks: dict[str, FasterRCNN]) -> None:
        state_dict = dict(networks["fasterrcnn_mobilenet_v2_fpn"].state_dict())
        del state_dict["rpn.head.bbox_pred.bias"]
        with pytest.raises(UnknownArchitecture, match=r"Missing key.*rpn\.head\.bbox_pred\.bias"):
            recognise(state_dict).build()
