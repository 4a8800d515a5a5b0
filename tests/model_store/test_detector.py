"""From a reference to a model that answers: releases, notebooks' state dicts, and what is refused."""

import json
import re
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d

from model_store import golden, store
from model_store.architectures import ARCHITECTURES, NetworkOptions
from model_store.detector import check_golden, open_detector
from model_store.engines import graphs, openvino
from model_store.engines.openvino import graphs_in
from model_store.engines.torch import TorchEngine
from model_store.errors import (
    BrokenRelease,
    BrokenStateDict,
    EngineNotAvailable,
    GoldenMismatch,
    ModelError,
    ReleaseNotFound,
    UnknownArchitecture,
)
from model_store.manifest import FILE_NAME, EngineRecord, GoldenImage
from model_store.network import load_network
from model_store.store import Release
from rendersight import images
from rendersight.detections import Detections, box_iou
from rendersight.images import RgbImage

Noise = Callable[..., RgbImage]

MANIFESTS = Path(__file__).parent / "manifests"


def assert_same(a: Detections, b: Detections) -> None:
    np.testing.assert_array_equal(a.boxes_xyxy, b.boxes_xyxy)
    np.testing.assert_array_equal(a.labels, b.labels)
    np.testing.assert_array_equal(a.scores, b.scores)


def overlaps_of_two_classes(found: Detections, iou: float = 0.5) -> int:
    """Return the number of pairs of boxes of different classes that overlap by more than an IoU."""
    is_other = found.labels[:, None] != found.labels[None, :]
    return int((is_other & (box_iou(found.boxes_xyxy, found.boxes_xyxy) > iou)).sum()) // 2


class TestRelease:
    def test_it_opens_by_name_and_finds_what_its_network_finds(
        self, tiny_store: Path, tiny_network: Callable[[], FasterRCNN], noise: Noise
    ) -> None:
        detector = open_detector("tiny", store_root=tiny_store, device="cpu", engine="torch-fp32")
        pictures = [noise(64, 96, seed=3), noise(40, 40, seed=4)]
        expected = TorchEngine(tiny_network(), "cpu").detect(pictures)
        assert min(len(found) for found in expected) > 0
        for found, alone in zip(detector.detect(pictures), expected, strict=True):
            assert_same(found, alone)

    def test_its_card_says_what_the_manifest_says(self, tiny_store: Path, tiny_cache: Path) -> None:
        detector = open_detector("tiny@1", store_root=tiny_store, device="cpu", cores=1, cache_dir=tiny_cache)
        info = detector.info
        assert (info.name, info.version, info.architecture) == ("tiny", "1", "fasterrcnn_mobilenet_v2_fpn")
        assert info.class_names == ("ant", "bee", "cat")
        assert (info.score_floor, info.score_threshold, info.detections_per_image) == (0.05, 0.5, 20)
        assert info.sha256 == store.sha256_of(tiny_store / "tiny" / "1" / "model.pt")
        assert (detector.engine.name, detector.engine.device) == ("openvino-fp32", "cpu")

    @pytest.mark.parametrize("engine", ["torch-fp32", "openvino-fp32"])
    @pytest.mark.parametrize("count", [2, 30])
    def test_it_reports_as_many_objects_as_asked_for(
        self, tiny_store: Path, noise: Noise, engine: str, count: int
    ) -> None:
        detector = open_detector(
            "tiny", store_root=tiny_store, device="cpu", engine=engine, cores=1, detections_per_image=count
        )
        (found,) = detector.detect([noise(64, 96, seed=3)])
        assert len(found) == count
        assert (np.diff(found.scores) <= 0).all()
        assert detector.info.detections_per_image == count

    @pytest.mark.parametrize("is_prepared", [False, True], ids=["converted", "prepared"])
    def test_object_has_one_label_with_every_engine(
        self,
        *,
        tiny_release: Release,
        tiny_graphs: Path,
        tiny_network: Callable[[], FasterRCNN],
        tiny_options: NetworkOptions,
        change_manifest: Callable[..., None],
        noise: Noise,
        is_prepared: bool,
    ) -> None:
        (plain,) = TorchEngine(tiny_network(), "cpu").detect([picture := noise(64, 96, seed=3)])
        options = tiny_options.model_copy(update={"one_label_per_object": True, "box_nms_iou": 0.5})
        expected = plain.suppressed(0.5, class_agnostic=True)
        assert overlaps_of_two_classes(plain) > overlaps_of_two_classes(expected) == 0
        fields: dict[str, Any] = {"options": options.model_dump(), "one_label_iou": 0.5}
        if is_prepared:
            shutil.copytree(tiny_graphs, tiny_release.folder / "graphs")
            record = EngineRecord(graphs="graphs", data="noise", image_count=1, figures={}, reference={})
            fields["engines"] = {"openvino-fp32": record}
        network = tiny_network()
        network.roi_heads.one_label_iou = 0.5
        (found,) = TorchEngine(network, "cpu").detect([images.read(tiny_release.folder / "golden.jpg")])
        expectation = golden.expectation(found, score_threshold=tiny_release.manifest.score_threshold)
        change_manifest(tiny_release, golden=(GoldenImage(expected=expectation),), **fields)
        for engine in ("torch-fp32", "openvino-fp32"):
            detector = open_detector(
                "tiny", store_root=tiny_release.folder.parents[1], device="cpu", engine=engine, cores=1
            )
            (found,) = detector.detect([picture])
            assert found.labels.tolist() == expected.labels.tolist()
            np.testing.assert_allclose(found.boxes_xyxy, expected.boxes_xyxy, atol=0.01)

    def test_its_golden_image_is_a_real_test(self, tiny_store: Path) -> None:
        (image,) = store.find(tiny_store, "tiny").manifest.golden
        assert len(image.expected) >= 3

    def test_its_options_reach_the_network(self, tiny_store: Path, tiny_options: NetworkOptions) -> None:
        loaded = load_network("tiny", store_root=tiny_store)
        assert loaded.options == tiny_options
        assert loaded.network.transform.min_size == (64,)
        assert loaded.release is not None
        assert loaded.release.ref == "tiny@1"

    def test_its_folder_is_as_good_as_its_name(self, tiny_store: Path, tmp_path: Path) -> None:
        loaded = load_network(str(tiny_store / "tiny" / "1"), store_root=tmp_path / "no store")
        assert loaded.info == load_network("tiny", store_root=tiny_store).info

    def test_a_folder_of_its_name_does_not_hide_it(
        self, tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "tiny").mkdir()  # a data set, say
        monkeypatch.chdir(tmp_path)
        assert load_network("tiny", store_root=tiny_store).info.name == "tiny"

    @pytest.mark.parametrize("name", ["model.pt", "golden.jpg"])
    def test_a_tampered_file_is_refused_before_it_is_read(self, tiny_release: Release, name: str) -> None:
        (tiny_release.folder / name).write_bytes(b"tampered")
        with pytest.raises(BrokenRelease, match=rf"{name}: sha256 is"):
            open_detector(str(tiny_release.folder), store_root=tiny_release.folder)

    def test_changed_weights_do_not_pass_though_their_sum_is_right(
        self, tiny_release: Release, change_manifest: Callable[..., None]
    ) -> None:
        path = tiny_release.folder / "model.pt"
        state_dict = torch.load(path, weights_only=True)
        state_dict["roi_heads.box_predictor.cls_score.weight"] *= 0.5
        torch.save(state_dict, path)
        change_manifest(tiny_release)
        with pytest.raises(GoldenMismatch, match="golden images: the scores of 20 clear objects moved"):
            open_detector("tiny", store_root=tiny_release.folder.parents[1], device="cpu", engine="torch-fp32")

    def test_a_golden_image_that_does_not_decode(
        self, tiny_release: Release, tiny_cache: Path, change_manifest: Callable[..., None]
    ) -> None:
        (tiny_release.folder / "golden.jpg").write_bytes(b"no image")
        change_manifest(tiny_release)
        store_root = tiny_release.folder.parents[1]
        with pytest.raises(BrokenRelease, match=r"golden\.jpg: not an image"):
            open_detector("tiny", store_root=store_root, device="cpu", cores=1, cache_dir=tiny_cache)

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"architecture": "yolo"}, "architecture 'yolo' is unknown"),
            ({"architecture": "fasterrcnn_mobilenet_v3_large_fpn"}, "does not fit it"),
            ({"class_names": ("ant", "bee")}, "does not fit it: size mismatch"),
            ({"options": {"anchors": 3}}, "options of the network: .*anchors"),
            ({"score_floor": 0.2}, "score_floor is 0.2, but its network has 0.05"),
            ({"detections_per_image": 100}, "detections_per_image is 100, but its network has 20"),
            ({"one_label_iou": 0.5}, "one_label_iou is 0.5, but its network has None"),
        ],
    )
    def test_a_manifest_that_does_not_fit_its_network_is_refused(
        self,
        tiny_release: Release,
        change_manifest: Callable[..., None],
        fields: dict[str, Any],
        message: str,
    ) -> None:
        change_manifest(tiny_release, golden=(), **fields)
        with pytest.raises(BrokenRelease, match=f"(?s){re.escape(str(tiny_release.folder))}: .*{message}"):
            load_network("tiny", store_root=tiny_release.folder.parents[1])

    @pytest.mark.parametrize("field", ["min_size", "max_size", "mean", "std"])
    def test_an_input_rule_that_the_network_does_not_follow_is_refused(
        self, tiny_release: Release, change_manifest: Callable[..., None], field: str
    ) -> None:
        rule = tiny_release.manifest.input
        value = getattr(rule, field)
        other = value + 1 if isinstance(value, int) else (0.5, 0.5, 0.5)
        change_manifest(tiny_release, input=rule.model_copy(update={field: other}))
        with pytest.raises(BrokenRelease, match=f"the manifest's input.{field} is"):
            load_network("tiny", store_root=tiny_release.folder.parents[1])

    @pytest.mark.parametrize(("schema_version", "engine"), [(1, "torch-fp32"), (2, "openvino-int8")])
    def test_opens_a_release_of_an_older_schema(
        self,
        tiny_release: Release,
        tiny_graphs: Path,
        monkeypatch: pytest.MonkeyPatch,
        *,
        schema_version: int,
        engine: str,
    ) -> None:
        """The manifests are those of `dice@1` and `dice@5`; the network, its files and its golden image are tiny."""
        monkeypatch.setattr(openvino, "_BFLOAT16", ())  # rounding would be too much for random weights
        document = json.loads((MANIFESTS / f"schema_{schema_version}.json").read_text("utf-8"))
        for record in document.get("engines", {}).values():
            shutil.copytree(tiny_graphs, tiny_release.folder / record["graphs"])
        new = tiny_release.manifest.model_dump(mode="json")
        tiny = ("options", "class_names", "input", "score_floor", "detections_per_image", "score_threshold")
        paths = [path for path in tiny_release.folder.rglob("*") if path.is_file() and path.name != FILE_NAME]
        document |= {name: new[name] for name in tiny} | {
            "golden": new["golden"][0]["expected"],
            "files": {path.relative_to(tiny_release.folder).as_posix(): store.sha256_of(path) for path in paths},
        }
        assert document["schema_version"] == schema_version
        (tiny_release.folder / FILE_NAME).write_text(json.dumps(document), "utf-8")
        detector = open_detector(
            str(tiny_release.folder), store_root=tiny_release.folder, device="cpu", engine=engine, cores=1
        )
        assert (detector.info.name, detector.engine.name) == ("dice", engine)
        (found,) = detector.detect([images.read(tiny_release.folder / "golden.jpg")])
        assert len(found.above(new["score_threshold"])) >= 3
        assert overlaps_of_two_classes(found) > 0

    def test_class_names_are_the_release_s_own(self, tiny_store: Path) -> None:
        with pytest.raises(ReleaseNotFound, match="class names are for a bare state dict"):
            load_network("tiny", store_root=tiny_store, class_names=["a", "b", "c"])


class TestReference:
    @pytest.mark.parametrize(
        ("ref", "message"),
        [
            ("coins", r"no release 'coins' in .*; there: tiny@1"),
            ("tiny@2", r"no release 'tiny@2' in .*; there: tiny@1"),
            ("runs/nothing.pt", "neither a state dict's file nor a folder with a manifest.json"),
            ("C:\\nothing.pt", "neither a state dict's file nor a folder with a manifest.json"),
            ("Nothing Here", "is no release reference"),
            ("", "is no release reference"),
        ],
    )
    def test_what_leads_nowhere(self, tiny_store: Path, ref: str, message: str) -> None:
        with pytest.raises(ReleaseNotFound, match=message):
            load_network(ref, store_root=tiny_store)

    def test_a_folder_without_manifest(self, tiny_store: Path, tmp_path: Path) -> None:
        with pytest.raises(ReleaseNotFound, match=r"a folder with a manifest\.json"):
            load_network(str(tmp_path), store_root=tiny_store)


class TestDeviceAndEngine:
    def test_an_unknown_engine(self, tiny_store: Path) -> None:
        with pytest.raises(EngineNotAvailable, match="torch-int4"):
            open_detector("tiny", store_root=tiny_store, device="cpu", engine="torch-int4")

    def test_the_engine_can_be_named(self, tiny_store: Path) -> None:
        detector = open_detector("tiny", store_root=tiny_store, device="cpu", engine="torch-fp32")
        assert detector.engine.name == "torch-fp32"

    def test_an_engine_without_finite_answers_fails_the_golden_check(self, tiny_store: Path) -> None:
        class Diverged:
            name, device, parallel = "diverged", "cpu", 1

            def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
                raise FloatingPointError("a score is not finite")

            def detect_on_every_lane(self, image: RgbImage) -> list[Detections]:
                return self.detect([image])

        with pytest.raises(GoldenMismatch, match="golden images: a score is not finite"):
            check_golden(Diverged(), store.find(tiny_store, "tiny"))


@pytest.fixture(scope="module")
def tiny_state_dict(tiny_network: Callable[[], FasterRCNN]) -> dict[str, Tensor]:
    return dict(tiny_network().state_dict())


class TestBareStateDict:
    @pytest.mark.parametrize(
        ("name", "min_size", "expected", "logged"),
        [
            ("mine.pt", None, 800, "RENDERSIGHT_MIN_SIZE=320, or --min-size 320"),
            ("mine_320.pt", None, 320, "RENDERSIGHT_MIN_SIZE=800, or --min-size 800"),
            ("mine.pt", 480, 480, ""),
        ],
    )
    def test_input_of_equal_tensors_is_assumed_and_logged(
        self,
        tmp_path: Path,
        random_network: Callable[..., FasterRCNN],
        caplog: pytest.LogCaptureFixture,
        *,
        name: str,
        min_size: int | None,
        expected: int,
        logged: str,
    ) -> None:
        architecture = "fasterrcnn_mobilenet_v3_large_fpn"
        network = random_network(architecture, ARCHITECTURES[architecture].options)
        torch.save(network.state_dict(), tmp_path / name)
        loaded = load_network(str(tmp_path / name), store_root=tmp_path, min_size=min_size)
        assert loaded.info.input.min_size == expected
        assert logged in caplog.text
        assert bool(logged) == bool(caplog.records)

    def test_input_size_can_be_given(
        self, tmp_path: Path, tiny_state_dict: dict[str, Tensor], tiny_store: Path
    ) -> None:
        torch.save(tiny_state_dict, tmp_path / "tiny.pt")
        loaded = partial(open_detector, store_root=tiny_store, device="cpu", engine="torch-fp32", min_size=64)
        assert loaded(str(tmp_path / "tiny.pt")).info.input.min_size == 64
        with pytest.raises(ReleaseNotFound, match="an input size is for a bare state dict; tiny@1 has its own"):
            loaded("tiny")

    @pytest.mark.parametrize(
        "wrap",
        [
            lambda tensors: tensors,
            lambda tensors: {"model": tensors, "epoch": 3},
            lambda tensors: {"state_dict": {f"module.{name}": tensor for name, tensor in tensors.items()}},
        ],
        ids=["bare", "model", "state_dict and module."],
    )
    def test_it_is_recognised_and_loaded(
        self, tmp_path: Path, tiny_state_dict: dict[str, Tensor], wrap: Callable[[dict[str, Tensor]], object]
    ) -> None:
        path = tmp_path / "my_model.pth"
        torch.save(wrap(tiny_state_dict), path)
        loaded = load_network(str(path), store_root=tmp_path, class_names=["ant", "bee", "cat"])
        assert loaded.release is None
        assert loaded.info.architecture == "fasterrcnn_mobilenet_v2_fpn"
        assert loaded.info.class_names == ("ant", "bee", "cat")
        assert (loaded.info.name, loaded.info.version) == ("my_model", store.sha256_of(path)[:12])
        assert loaded.info.score_threshold == 0.5
        restored = loaded.network.state_dict()
        assert all(torch.equal(restored[name], tensor) for name, tensor in tiny_state_dict.items())

    def test_without_names_its_classes_are_numbered(self, tmp_path: Path, tiny_state_dict: dict[str, Tensor]) -> None:
        torch.save(tiny_state_dict, tmp_path / "model.pt")
        loaded = load_network(str(tmp_path / "model.pt"), store_root=tmp_path)
        assert loaded.info.class_names == ("class_1", "class_2", "class_3")

    @pytest.mark.parametrize("names", [["ant"], ["ant", "bee", "cat", "dog"], ["ant", "bee", "bee"]])
    def test_names_that_do_not_fit_are_refused_with_the_count(
        self, tmp_path: Path, tiny_state_dict: dict[str, Tensor], names: list[str]
    ) -> None:
        path = tmp_path / "model.pt"
        torch.save(tiny_state_dict, path)
        with pytest.raises(BrokenStateDict, match=f"the network has 3 classes, but the names are {', '.join(names)}$"):
            load_network(str(path), store_root=tmp_path, class_names=names)

    @pytest.mark.parametrize(
        ("saved", "error", "message"),
        [
            (
                {"stuff": {"a": torch.ones(2)}, "epoch": 3},
                BrokenStateDict,
                "is not a state dict: stuff, epoch are not",
            ),
            ({"fc.weight": torch.ones(2, 2)}, UnknownArchitecture, r"1 tensors \(fc.weight, ...\) fit no known"),
            (torch.nn.Linear(2, 2), BrokenStateDict, "is a pickled Linear, not a state dict"),
            ([1, 2], BrokenStateDict, "holds a list"),
        ],
    )
    def test_what_is_no_detector_is_refused_by_name(
        self, tmp_path: Path, saved: object, error: type[ModelError], message: str
    ) -> None:
        path = tmp_path / "model.pt"
        torch.save(saved, path)
        with pytest.raises(error, match=f"{re.escape(str(path))}: {message}"):
            load_network(str(path), store_root=tmp_path)

    def test_weights_that_are_not_finite_are_refused_by_name(
        self, tmp_path: Path, tiny_state_dict: dict[str, Tensor]
    ) -> None:
        broken = {**tiny_state_dict, "rpn.head.cls_logits.bias": torch.tensor([0, torch.nan, 0])}
        torch.save(broken, tmp_path / "model.pt")
        with pytest.raises(BrokenStateDict, match=r"not finite in rpn\.head\.cls_logits\.bias"):
            load_network(str(tmp_path / "model.pt"), store_root=tmp_path)

    def test_it_is_served_without_a_cache(
        self, tiny_store: Path, tiny_graphs: Path, noise: Noise, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(graphs, "convert", lambda network: graphs_in(tiny_graphs))
        path = tiny_store / "tiny/1/model.pt"
        detector = open_detector(str(path), store_root=tiny_store, device="cpu", engine="openvino-fp32", cores=1)
        (found,) = detector.detect([noise(64, 96)])
        assert len(found) > 0


def old_name(name: str) -> str:
    """Rename as torchvision 0.9 called it, before its blocks became `Conv2dNormActivation`."""
    name = name.replace("rpn.head.conv.0.0.", "rpn.head.conv.")
    return re.sub(r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d)\.0\.", r"\1.", name)


def test_the_notebook_s_state_dict_of_2021_is_served_unchanged(tmp_path: Path, noise: Noise) -> None:
    """A `fasterrcnn_resnet50_fpn` with frozen batch norm and eps 0, saved under torchvision 0.9's names."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        backbone = resnet_fpn_backbone(
            backbone_name="resnet50", weights=None, norm_layer=partial(FrozenBatchNorm2d, eps=0.0)
        )
        original = FasterRCNN(backbone, num_classes=3).eval()
        for module in original.modules():
            if isinstance(module, FrozenBatchNorm2d):
                # statistics so small that another eps, even 1e-5, gives another network
                module.running_var.uniform_(1e-5, 3e-5)
                module.weight.copy_(module.running_var.sqrt() * 0.5)
        original.rpn.head.cls_logits.weight.mul_(30)
        original.rpn.head.bbox_pred.weight.mul_(10)
        original.roi_heads.box_predictor.cls_score.weight.mul_(60)
    renamed = {old_name(name): tensor for name, tensor in original.state_dict().items()}
    assert {"rpn.head.conv.weight", "backbone.fpn.inner_blocks.0.weight"} < set(renamed)
    assert not any(name.endswith("num_batches_tracked") for name in renamed)
    torch.save(renamed, tmp_path / "Dragon_Model.tar")
    picture = noise(10, 240)  # resized to 55 x 1333
    with torch.inference_mode():
        (expected,) = original([torch.from_numpy(np.moveaxis(picture, 2, 0).astype(np.float32) / 255)])

    loaded = load_network(str(tmp_path / "Dragon_Model.tar"), store_root=tmp_path, class_names=["dragon", "knight"])
    (found,) = TorchEngine(loaded.network, "cpu").detect([picture])

    assert (loaded.info.name, loaded.info.architecture) == ("Dragon_Model", "fasterrcnn_resnet50_fpn")
    assert (loaded.options.min_size, loaded.options.max_size) == (800, 1333)
    assert len(found) == len(expected["scores"]) >= 5
    np.testing.assert_allclose(found.boxes_xyxy, expected["boxes"].numpy(), atol=1e-3)
    np.testing.assert_allclose(found.scores, expected["scores"].numpy(), atol=1e-6)
    np.testing.assert_array_equal(found.labels, expected["labels"].numpy())
