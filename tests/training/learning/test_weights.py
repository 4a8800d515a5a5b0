from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.models import mobilenet_v2
from torchvision.models.detection import FasterRCNN

from model_store.architectures import build
from model_store.errors import ModelError
from model_store.manifest import InputRule, Manifest
from model_store.store import GOLDEN_IMAGE, WEIGHTS, sha256_of
from training.learning.weights import Loaded, WeightsNotFound, load_initial_weights

NAME = "fasterrcnn_mobilenet_v2_fpn"


def network(class_count: int = 2, *, seed: int = 0) -> FasterRCNN:
    return deepcopy(_built(class_count, seed))


@cache
def _built(class_count: int, seed: int) -> FasterRCNN:
    torch.manual_seed(seed)
    return build(NAME, class_count=class_count)


def load(target: FasterRCNN, weights: object, *, class_names: tuple[str, ...] = ("a", "b")) -> Loaded:
    return load_initial_weights(
        target, str(weights), architecture=NAME, class_names=class_names, store_root=Path("nowhere")
    )


def same(target: FasterRCNN, source: dict[str, Tensor], *, start: str) -> bool:
    tensors = target.state_dict()
    names = [name for name in source if name.startswith(start)]
    assert names
    return all(torch.equal(tensors[name], source[name]) for name in names)


def test_a_classifiers_weights_go_into_the_backbone(tmp_path: Path) -> None:
    torch.manual_seed(3)
    classifier = mobilenet_v2(weights=None)
    torch.save(classifier.state_dict(), tmp_path / "mobilenet.pth")
    target = network()
    loaded = load(target, tmp_path / "mobilenet.pth")
    body = target.backbone.body.state_dict()
    theirs = {name.removeprefix("features."): tensor for name, tensor in classifier.state_dict().items()}
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in body.items())
    assert loaded.source == "mobilenet.pth"
    assert loaded.loaded == len(body)
    assert loaded.unused == ("classifier.1.weight", "classifier.1.bias")
    assert all(not name.startswith("backbone.body") for name in loaded.missing)
    assert f"{len(body)} of {loaded.total} tensors from mobilenet.pth; random: backbone.fpn" in str(loaded)
    assert "unused: classifier.1.weight, classifier.1.bias" in str(loaded)


def test_a_detector_of_other_classes_gives_all_but_its_box_predictor(tmp_path: Path) -> None:
    source = network(5, seed=3).state_dict()
    torch.save(source, tmp_path / "five.pt")
    target = network()
    before = target.roi_heads.box_predictor.cls_score.weight.clone()
    loaded = load(target, tmp_path / "five.pt")
    assert same(target, source, start="backbone.")
    assert same(target, source, start="rpn.")
    assert same(target, source, start="roi_heads.box_head.")
    assert torch.equal(target.roi_heads.box_predictor.cls_score.weight, before)
    assert [name.rpartition(".")[0] for name in loaded.missing[::2]] == [
        "roi_heads.box_predictor.cls_score",
        "roi_heads.box_predictor.bbox_pred",
    ]


def write_release(folder: Path, source: FasterRCNN) -> Path:
    folder.mkdir()
    torch.save(source.state_dict(), folder / WEIGHTS)
    (folder / GOLDEN_IMAGE).write_bytes(b"not looked at here")
    Manifest(
        name="letters",
        version=3,
        created="",
        architecture=NAME,
        options={"min_size": 640, "max_size": 1066, "norm_eps": 1e-5},
        class_names=("a", "b"),
        input=InputRule(min_size=640, max_size=1066, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        score_floor=0.05,
        detections_per_image=100,
        score_threshold=0.5,
        files={name: sha256_of(folder / name) for name in (WEIGHTS, GOLDEN_IMAGE)},
    ).write(folder)
    return folder


def test_a_release_gives_its_box_predictor_to_the_same_classes_alone(tmp_path: Path) -> None:
    source = network(seed=3)
    folder = write_release(tmp_path / "7", source)
    for class_names, kept in ((("a", "b"), True), (("b", "a"), False)):
        target = network()
        loaded = load(target, folder, class_names=class_names)
        assert loaded.source == "letters@3"
        assert same(target, source.state_dict(), start="rpn.")
        assert same(target, source.state_dict(), start="roi_heads.box_predictor.") is kept


@pytest.mark.parametrize("architecture", ["fasterrcnn_resnet50_fpn", "fasterrcnn_mobilenet_v3_large_fpn"])
def test_rejects_weights_of_another_architecture(tmp_path: Path, architecture: str) -> None:
    torch.save(build(architecture, class_count=2).state_dict(), tmp_path / "other.pt")
    with pytest.raises(WeightsNotFound, match=f"tensors of {NAME}; they are weights of {architecture}: choose --arch"):
        load(network(), tmp_path / "other.pt")


def test_none_leaves_the_network_as_it_is() -> None:
    target, untouched = network(), network()
    loaded = load(target, "none")
    assert same(target, untouched.state_dict(), start="")
    assert (loaded.source, loaded.loaded) == (None, 0)
    assert str(loaded) == "random weights"


def test_what_cannot_be_begun_from_is_named(tmp_path: Path) -> None:
    torch.save({"elsewhere.weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(WeightsNotFound, match=r"fit 0 of the .* tensors of fasterrcnn_mobilenet_v2_fpn; accepted"):
        load(network(), tmp_path / "other.pt")
    with pytest.raises(WeightsNotFound, match=r"best\.pt"):
        load(network(), tmp_path)
    with pytest.raises(WeightsNotFound, match="no coco weights"):
        load(network(), "coco")
    with pytest.raises(ModelError, match="no-such"):
        load(network(), "no-such")
