"""The manifest: what it takes, and that it says where it is wrong."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from model_store.errors import BrokenRelease
from model_store.manifest import ExpectedDetection, GoldenImage, InputRule, Manifest, Metrics, Origin

DIGEST = "0123456789abcdef" * 4


def manifest(**changes: Any) -> Manifest:
    fields: dict[str, Any] = {
        "name": "dice",
        "version": 3,
        "created": "2024-01-01T00:00:00Z",
        "architecture": "fasterrcnn_mobilenet_v2_fpn",
        "options": {"min_size": 640, "norm_eps": None},
        "class_names": ("one", "zwölf"),
        "input": InputRule(min_size=640, max_size=1066, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2)),
        "score_floor": 0.05,
        "detections_per_image": 100,
        "score_threshold": 0.7,
        "files": {"model.pt": DIGEST, "engines/openvino/model.xml": DIGEST},
        "metrics": (Metrics(data="40 photos", image_count=40, figures={"AP50": 0.93, "AR_small": -1.0}),),
        "origin": Origin(seed=7, config={"epochs": 16, "train": {"lr": 3e-4}}, library_versions={"torch": "2.10"}),
        "golden": (ExpectedDetection(label_id=2, score=0.98, box_xyxy=(10.5, 20.0, 52.1, 61.7)),),
    }
    return Manifest(**{**fields, **changes})


@pytest.mark.parametrize("one_label_iou", [None, 0.5])
def test_it_reads_back_what_it_wrote(tmp_path: Path, one_label_iou: float | None) -> None:
    written = manifest(one_label_iou=one_label_iou)
    written.write(tmp_path)
    assert Manifest.read(tmp_path) == written
    assert Manifest.read(tmp_path).one_label_iou == one_label_iou


def test_a_manifest_from_before_a_field_was_there_is_read_with_its_default(tmp_path: Path) -> None:
    manifest(
        provenance="photos chose the threshold",
        score_threshold_from=("desk",),
        refused_engines={"openvino-int8": "why"},
    ).write(tmp_path)
    path = tmp_path / "manifest.json"
    document = json.loads(path.read_text("utf-8"))
    del document["provenance"], document["score_threshold_from"], document["refused_engines"]
    del document["one_label_iou"]
    del document["metrics"][0]["intervals"], document["metrics"][0]["per_class_ap50"]
    path.write_text(json.dumps(document), "utf-8")
    assert Manifest.read(tmp_path) == manifest()


def test_the_file_is_plain_json_with_its_schema_version(tmp_path: Path) -> None:
    manifest().write(tmp_path)
    text = (tmp_path / "manifest.json").read_text("utf-8")
    assert json.loads(text)["schema_version"] == 3
    assert json.loads(text)["class_names"] == ["one", "zwölf"]
    assert text.count("\n") > 20


def test_reads_the_empty_golden_image_of_schemas_1_and_2(tmp_path: Path) -> None:
    data = json.loads(manifest().model_dump_json())
    (tmp_path / "manifest.json").write_text(json.dumps({**data, "schema_version": 2, "golden": []}))
    assert Manifest.read(tmp_path).golden == (GoldenImage(file="golden.jpg", expected=()),)


def test_it_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        manifest().version = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    "path", ["model.pt", "engines/openvino/model.bin", "pictures/detections 1.png", "..hidden", "a..b/c"]
)
def test_a_path_inside_the_folder(path: str) -> None:
    assert list(manifest(files={path: DIGEST}).files) == [path]


@pytest.mark.parametrize(
    "path",
    ["", ".", "..", "../model.pt", "/etc/passwd", "a/../../b", "engines/..", "C:/model.pt", "..\\x", "a\\b", "a\0b"],
)
def test_a_path_that_could_leave_the_folder_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="must lie inside the release's folder"):
        manifest(files={path: DIGEST})


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "Dice"}, "name"),
        ({"name": "../dice"}, "name"),
        ({"name": "dice\n"}, "name"),
        ({"name": ".dice"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "d" * 65}, "name"),
        ({"version": 0}, "version"),
        ({"version": -1}, "version"),
        ({"schema_version": 4}, "schema_version"),
        ({"class_names": ()}, "class_names"),
        ({"class_names": ("one", "one")}, "class_names contains a name twice"),
        ({"score_floor": 1.5}, "score_floor"),
        ({"score_threshold": -0.1}, "score_threshold"),
        ({"score_threshold": float("nan")}, "score_threshold"),
        ({"detections_per_image": 0}, "detections_per_image"),
        ({"one_label_iou": 0}, "one_label_iou"),
        ({"one_label_iou": 1.1}, "one_label_iou"),
        ({"files": {"model.pt": "abc"}}, "files"),
        ({"files": {"model.pt": DIGEST.upper()}}, "files"),
        ({"golden": [{"label_id": 3, "score": 0.9, "box_xyxy": (0, 0, 1, 1)}]}, "label that has no class"),
        ({"golden": [{"label_id": 0, "score": 0.9, "box_xyxy": (0, 0, 1, 1)}]}, "label_id"),
        ({"golden": [{"label_id": 1, "score": 1.1, "box_xyxy": (0, 0, 1, 1)}]}, "score"),
        ({"golden": [{"label_id": 1, "score": 0.9, "box_xyxy": (1, 0, 1, 1)}]}, "box without area"),
        ({"golden": [{"label_id": 1, "score": 0.9, "box_xyxy": (0, 0, 1)}]}, "box_xyxy"),
        ({"epoch": 5}, "epoch"),
    ],
)
def test_what_it_cannot_mean_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        manifest(**changes)


def test_a_figure_that_json_cannot_hold_is_refused_before_it_is_written() -> None:
    with pytest.raises(ValidationError, match="finite"):
        Metrics(data="none", image_count=1, figures={"AP": float("nan")})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "file: Invalid JSON"),
        (b"{", "file: Invalid JSON"),
        (b"\xff\xfe", "file: Invalid JSON"),
        (b"[]", "file: "),
        (b'{"schema_version": 1}', r"name: Field required; .*version"),
    ],
)
def test_an_unreadable_manifest_names_its_file(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(BrokenRelease, match=rf"manifest\.json: {message}"):
        Manifest.read(tmp_path)


def test_a_missing_manifest_names_its_file(tmp_path: Path) -> None:
    with pytest.raises(BrokenRelease, match=r"manifest\.json: No such file"):
        Manifest.read(tmp_path)


def test_a_wrong_field_on_disk_is_named(tmp_path: Path) -> None:
    manifest().write(tmp_path)
    path = tmp_path / "manifest.json"
    document = json.loads(path.read_text("utf-8"))
    document["metrics"][0]["figures"]["AP50"] = None
    document["licence_url"] = "x"
    path.write_text(json.dumps(document), "utf-8")
    with pytest.raises(BrokenRelease, match=r"metrics\.0\.figures\.AP50: .*; licence_url: "):
        Manifest.read(tmp_path)


def test_input_rule_gives_the_size_that_torchvision_resizes_to() -> None:
    rule = InputRule(min_size=64, max_size=128, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
    resize = GeneralizedRCNNTransform(64, 128, list(rule.mean), list(rule.std)).eval()
    for height, width in np.random.default_rng(0).integers(1, 400, (100, 2)).tolist():
        if min(expected := rule.resized_hw(height, width)) > 0:
            (found,) = resize([torch.zeros(3, height, width)])[0].image_sizes
            assert found == expected, f"{height} x {width}"
