"""`export` writes a detector that runs without our packages, or says why not and leaves nothing behind."""

import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino as ov
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.models.detection import FasterRCNN

from model_store import architectures
from model_store.engines.torch import TorchEngine
from model_store.network import load_network
from model_store.store import Release
from rendersight.detections import Detections
from rendersight.images import RgbImage
from tests.model_store.engines.test_graphs import assert_alike
from training.cli import main
from training.releasing.export import ExportError, export_onnx

Noise = Callable[..., RgbImage]


def export(*words: str | Path) -> int:
    return main(["export", *map(str, words)])


@contextmanager
def full_disk(most_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def run_file(path: Path, image: RgbImage) -> Detections:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return Detections.of(*session.run(["boxes", "labels", "scores"], {"image": image}))


def test_a_release_becomes_one_file(
    tiny_release: Release, tiny_network: Callable[[], FasterRCNN], noise: Noise, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "tiny.onnx"
    assert export("tiny", "--store", tiny_release.folder.parents[1], "--format", "onnx", "--out", path) == 0
    assert [item.name for item in path.parent.iterdir()] == ["tiny.onnx"]
    (expected,) = TorchEngine(tiny_network(), "cpu").detect([noise(70, 90)])
    assert_alike(run_file(path, noise(70, 90)), expected)


def test_a_file_says_what_it_is(tiny_release: Release, tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    assert export(tiny_release.folder, "--format", "onnx", "--out", path) == 0
    about = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).get_modelmeta().custom_metadata_map
    manifest = tiny_release.manifest
    assert about["release"] == "tiny@1"
    assert json.loads(about["class_names"]) == ["ant", "bee", "cat"]
    assert {"min_size": 64, "max_size": 128, "image": "upright RGB uint8 (height, width, 3)"}.items() <= json.loads(
        about["input"]
    ).items()
    assert float(about["score_threshold"]) == manifest.score_threshold
    assert about["weights_sha256"] == manifest.files["model.pt"]
    assert onnx.load(path).producer_name == "rendersight"


@pytest.mark.long
def test_a_bare_state_dict_of_resnet50_becomes_one_file(tmp_path: Path, noise: Noise) -> None:
    torch.manual_seed(0)
    network = architectures.build("fasterrcnn_resnet50_fpn", class_count=2)
    torch.save(network.state_dict(), tmp_path / "model.tar")
    words = (tmp_path / "model.tar", "--labels", "ant,bee", "--min-size", "64", "--format", "onnx")
    assert export(*words, "--out", tmp_path / "resnet.onnx") == 0
    model = onnx.load(tmp_path / "resnet.onnx")
    about = {item.key: item.value for item in model.metadata_props}
    assert (about["architecture"], about["class_names"]) == ("fasterrcnn_resnet50_fpn", '["ant", "bee"]')
    assert run_file(tmp_path / "resnet.onnx", noise(64, 80)).boxes_xyxy.shape[1] == 4


def test_openvino_model_server_finds_its_folders_and_config(
    tiny_release: Release, tiny_network: Callable[[], FasterRCNN], noise: Noise, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    assert export(tiny_release.folder, "--format", "openvino", "--out", folder) == 0
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert files == ["config.json", "tiny/1/model.bin", "tiny/1/model.xml"]
    (served,) = json.loads((folder / "config.json").read_text())["model_config_list"]
    assert served == {
        "config": {
            "name": "tiny",
            "base_path": "/models/tiny",
            "plugin_config": {"INFERENCE_PRECISION_HINT": "f32"},
        }
    }
    model = ov.Core().read_model(folder / "tiny" / "1" / "model.xml")
    assert model.get_rt_info(["model_info", "release"]).astype(str) == "tiny@1"
    answer = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([noise(70, 90)])
    (expected,) = TorchEngine(tiny_network(), "cpu").detect([noise(70, 90)])
    assert_alike(Detections.of(*(answer[name] for name in ("boxes", "labels", "scores"))), expected)


@pytest.mark.parametrize(
    ("kind", "place", "message"),
    [
        ("onnx", "taken", "taken exists; remove it or name another file"),
        ("onnx", "taken/x.onnx", "taken is not a folder"),
        ("onnx", "full", "full is a folder; name a file"),
        ("openvino", "full", "full is not empty; remove it or name another folder"),
        ("openvino", "taken", "taken is not a folder"),
    ],
)
def test_refuses_a_place_before_it_loads_the_model(
    kind: str, place: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    assert export("no-such-model", "--format", kind, "--out", tmp_path / place) == 2
    assert capsys.readouterr().err.strip().endswith(message)
    assert (tmp_path / "taken").read_text() == (tmp_path / "full" / "file").read_text() == "mine"


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_a_full_disk_leaves_nothing(
    kind: str, tiny_release: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out" / "tiny"
    out.parent.mkdir()
    with full_disk(1_000_000):
        assert export(tiny_release.folder, "--format", kind, "--out", out) == 1
    assert capsys.readouterr().err.strip().endswith(f"'{out}'")
    assert list(out.parent.iterdir()) == []


def test_quantised_file_finds_about_the_same(tiny_release: Release, noise: Noise, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for seed in range(3):
        Image.fromarray(noise(64, 96, seed)).save(tmp_path / "photos" / f"{seed}.png")
    for name, words in (("fp32.onnx", ()), ("int8.onnx", ("--quantise", tmp_path / "photos"))):
        assert export(tiny_release.folder, "--format", "onnx", "--out", tmp_path / name, *words) == 0
    assert (tmp_path / "int8.onnx").stat().st_size < 0.4 * (tmp_path / "fp32.onnx").stat().st_size
    exact, rounded = (onnx.load(tmp_path / name) for name in ("fp32.onnx", "int8.onnx"))
    assert {item.key: item.value for item in rounded.metadata_props} == {
        item.key: item.value for item in exact.metadata_props
    }
    assert {node.op_type for node in rounded.graph.node} >= {"QuantizeLinear", "DequantizeLinear"}
    found, expected = (run_file(tmp_path / name, noise(64, 96)) for name in ("int8.onnx", "fp32.onnx"))
    best = expected.above(0.8)
    near = np.abs(best.boxes_xyxy[:, None] - found.boxes_xyxy).max(axis=2).min(axis=1)
    assert np.median(near) < 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--format", "onnx", "--quantise", "PHOTOS"), "no object is found on any of the 1 photos"),
        (("--format", "onnx", "--quantise", "nowhere"), "nowhere is neither a file nor a folder"),
        (("--format", "openvino", "--quantise", "PHOTOS"), "--quantise is for --format onnx"),
    ],
)
def test_says_why_it_cannot_quantise(
    words: tuple[str, ...], message: str, tiny_release: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (1, 2000)).save(tmp_path / "narrow.png")  # of which resizing leaves nothing
    words = tuple(str(tmp_path / "narrow.png") if word == "PHOTOS" else word for word in words)
    assert export(tiny_release.folder, *words, "--out", tmp_path / "x") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_weights_above_2_gb_do_not_fit_into_one_file(tiny_release: Release, tmp_path: Path) -> None:
    loaded = load_network(str(tiny_release.folder), store_root=tmp_path)
    huge = nn.Parameter(torch.zeros(1).expand(1_000_000_000), requires_grad=False)  # takes no memory
    loaded.network.register_parameter("huge", huge)
    with pytest.raises(ExportError, match=r"the weights take 4\.0 GB; one ONNX file holds at most 2\.1 GB"):
        export_onnx(loaded, tmp_path / "huge.onnx")
    assert not (tmp_path / "huge.onnx").exists()


def test_exporting_does_not_change_the_network(tiny_release: Release, tmp_path: Path) -> None:
    loaded = load_network(str(tiny_release.folder), store_root=tmp_path)
    before = {name: tensor.clone() for name, tensor in loaded.network.state_dict().items()}
    export_onnx(replace(loaded, release=None), tmp_path / "tiny.onnx")
    assert list(before) == list(loaded.network.state_dict())
    assert all(torch.equal(tensor, before[name]) for name, tensor in loaded.network.state_dict().items())
