from pathlib import Path
from typing import Any

import pytest
import torch

from model_store.architectures import ARCHITECTURES, build
from model_store.manifest import InputRule, Manifest
from training.config import AUTO, ConfigError, TrainConfig, parse_assignments, resolve
from training.learning import weights
from training.presets import preset_names


def test_the_notebook_preset_has_the_notebooks_hyperparameters() -> None:
    config = resolve("notebook-2021", {})
    assert (config.optimizer, config.learning_rate, config.momentum, config.weight_decay) == ("sgd", 0.005, 0.9, 0.0005)
    assert (config.schedule, config.step_epochs, config.step_gamma) == ("step", 3, 0.1)
    assert (config.batch_size, config.epochs, config.horizontal_flip) == (2, 10, 0.5)
    assert (config.architecture, config.weights, config.hold_out) == ("fasterrcnn_resnet50_fpn", "coco", 50)
    assert config.photometric == config.vertical_flip == config.rotate90 == config.ema_decay == config.clip_norm == 0
    assert config.scale_jitter == (1.0, 1.0)
    # torchvision trains 3 of the 5 stages of a network with COCO weights unless it is told otherwise
    assert config.frozen_stages == 2


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_resolves(name: str) -> None:
    assert AUTO not in (resolve(name, {}).architecture, resolve(name, {}).weights)


@pytest.mark.parametrize(
    ("device", "given", "expected"),
    [
        ("cpu", {}, ("fasterrcnn_mobilenet_v2_fpn", "imagenet")),
        ("cuda:1", {}, ("fasterrcnn_resnet50_fpn", "coco")),
        ("cpu", {"architecture": "auto", "weights": "none"}, ("fasterrcnn_mobilenet_v2_fpn", "none")),
        ("cpu", {"architecture": "fasterrcnn_resnet50_fpn"}, ("fasterrcnn_resnet50_fpn", "coco")),
    ],
)
def test_device_chooses_what_is_left_open(device: str, given: dict[str, str], expected: tuple[str, str]) -> None:
    config = resolve(None, given, device=device)
    assert (config.architecture, config.weights) == expected


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_chosen_weights_exist(architecture: str) -> None:
    table = {"coco": weights._COCO, "imagenet": weights._IMAGENET}
    assert architecture in table[resolve(None, {"architecture": architecture}).weights]


def write_release(root: Path, **fields: Any) -> None:
    """Write the manifest of `mine@1`, without weights."""
    folder = root / "mine" / "1"
    folder.mkdir(parents=True)
    Manifest(
        name="mine",
        version=1,
        created="",
        architecture="fasterrcnn_mobilenet_v3_large_fpn",
        options={"anchor_sizes": [[8, 16], [32, 64]]},
        class_names=("a",),
        input=InputRule(min_size=480, max_size=900, mean=(0, 0, 0), std=(1, 1, 1)),
        score_floor=0.05,
        detections_per_image=300,
        score_threshold=0.5,
        files={},
        **fields,
    ).write(folder)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("fasterrcnn_mobilenet_v3_large_fpn", 480, 900, 300, ((8, 16), (32, 64)))),
        (
            {"min_size": 320, "anchor_sizes": [[4]]},
            ("fasterrcnn_mobilenet_v3_large_fpn", 320, None, 300, ((4,),)),
        ),
        ({"detections_per_image": 7}, ("fasterrcnn_mobilenet_v3_large_fpn", 480, 900, 7, ((8, 16), (32, 64)))),
        ({"architecture": "fasterrcnn_resnet50_fpn"}, ("fasterrcnn_resnet50_fpn", None, None, None, None)),
    ],
)
def test_release_brings_its_architecture_and_input(
    tmp_path: Path, given: dict[str, object], expected: tuple[object, ...]
) -> None:
    write_release(tmp_path)
    config = resolve(None, {"weights": "mine", **given}, device="cuda", store_root=tmp_path)
    limits = (config.detections_per_image, config.anchor_sizes)
    assert (config.architecture, config.min_size, config.max_size, *limits) == expected


@pytest.mark.parametrize(
    ("one_label_iou", "given", "expected"),
    [(None, {}, False), (0.5, {}, True), (0.5, {"one_label_per_object": False}, False)],
)
def test_release_says_whether_objects_have_one_label(
    tmp_path: Path, one_label_iou: float | None, given: dict[str, bool], expected: bool
) -> None:
    write_release(tmp_path, one_label_iou=one_label_iou)
    assert resolve(None, {"weights": "mine", **given}, store_root=tmp_path).one_label_per_object is expected


def test_objects_have_several_labels_unless_told() -> None:
    assert resolve(None, {}).network_options().one_label_iou is None
    assert resolve("make-cpu", {}).network_options().one_label_iou == 0.5
    assert resolve("make-gpu", {}).network_options().one_label_iou == 0.5


def test_state_dict_brings_its_architecture(tmp_path: Path) -> None:
    network = build("fasterrcnn_mobilenet_v3_large_fpn", class_count=1)
    torch.save(network.state_dict(), tmp_path / "detector_320.pt")
    torch.save(network.backbone.body.state_dict(), tmp_path / "backbone.pt")
    found = {path.name: resolve(None, {"weights": str(path)}).architecture for path in tmp_path.iterdir()}
    assert found == {
        "detector_320.pt": "fasterrcnn_mobilenet_v3_large_320_fpn",
        "backbone.pt": "fasterrcnn_mobilenet_v2_fpn",
    }


def test_single_values_win_over_the_preset_and_the_preset_over_the_defaults() -> None:
    config = resolve("notebook-2021", {"epochs": 2})
    assert (config.epochs, config.batch_size, config.min_visible) == (2, 2, TrainConfig().min_visible)


def test_assignments_are_read_as_toml_and_else_as_text() -> None:
    values = parse_assignments(["epochs=3", "scale_jitter=[0.5, 2.0]", "weights=none", "fold_norm=false"])
    assert values == {"epochs": 3, "scale_jitter": [0.5, 2.0], "weights": "none", "fold_norm": False}


@pytest.mark.parametrize(
    ("preset", "overrides", "message"),
    [
        ("no-such", {}, "no-such"),
        (None, {"epoch": 3}, "epoch is no hyperparameter"),
        (None, {"epochs": 0}, "epochs is 0"),
        (None, {"architecture": "yolo"}, "yolo"),
        (None, {"scale_jitter": [2.0, 1.0]}, "smallest"),
        (None, {"group_by": "series_("}, "no regular expression"),
        (None, {"hold_out": float("inf")}, "hold_out is inf"),
        (None, {"learning_rate": float("nan")}, "learning_rate is nan"),
        (None, {"epochs": -1, "batch_size": "many"}, "batch_size"),
    ],
)
def test_a_wrong_value_is_named(preset: str | None, overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve(preset, overrides)


def test_an_assignment_without_a_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="epochs"):
        parse_assignments(["epochs"])


def test_a_larger_min_size_lifts_the_max_size_with_it() -> None:
    options = resolve(None, {"min_size": 2000}).network_options()
    assert (options.min_size, options.max_size) == (2000, 2000)
