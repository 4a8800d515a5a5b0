"""A seeded tiny network and its release, from the real publisher."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models.detection import FasterRCNN

from model_store import golden, store
from model_store.architectures import ARCHITECTURES, IMAGENET_MEAN, IMAGENET_STD, NetworkOptions, build
from model_store.detector import open_detector
from model_store.engines.torch import TorchEngine
from model_store.manifest import InputRule, Manifest
from model_store.store import Release
from rendersight import images
from rendersight.images import RgbImage

ARCHITECTURE = "fasterrcnn_mobilenet_v2_fpn"
CLASS_NAMES = ("ant", "bee", "cat")
SCORE_THRESHOLD = 0.5


@pytest.fixture(scope="module", autouse=True)
def on_one_thread(one_thread: None) -> None:
    """Every test here."""


@pytest.fixture(scope="session")
def tiny_options() -> NetworkOptions:
    return ARCHITECTURES[ARCHITECTURE].options.model_copy(
        update={"min_size": 64, "max_size": 128, "rpn_post_nms_top_n": 40, "detections_per_image": 20}
    )


@pytest.fixture(scope="session")
def random_network() -> Callable[..., FasterRCNN]:
    """Build the same network at each call: random weights, batch-norm statistics of noise, decided scores."""

    def make(name: str, options: NetworkOptions, class_count: int = len(CLASS_NAMES)) -> FasterRCNN:
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(2)
            learner_options = options.model_copy(update={"norm": "batch", "norm_eps": None})
            learner = build(name, class_count=class_count, options=learner_options)
            learner.backbone.train()
            for _ in range(3):
                learner.backbone(torch.randn(2, 3, 64, 96))
            learner.rpn.head.cls_logits.weight.mul_(30)
            learner.rpn.head.bbox_pred.weight.mul_(10)
            learner.roi_heads.box_predictor.cls_score.weight.mul_(60)
            network = build(name, class_count=class_count, options=options)
            network.load_state_dict(learner.state_dict(), strict=False)
            return network.eval()

    return make


@pytest.fixture(scope="session")
def tiny_network(random_network: Callable[..., FasterRCNN], tiny_options: NetworkOptions) -> Callable[[], FasterRCNN]:
    """Build the same tiny network at each call."""
    weights = random_network(ARCHITECTURE, tiny_options).state_dict()

    def make() -> FasterRCNN:
        network = build(ARCHITECTURE, class_count=len(CLASS_NAMES), options=tiny_options)
        network.load_state_dict(weights)
        return network.eval()

    return make


@pytest.fixture(scope="session")
def noise() -> Callable[..., RgbImage]:
    def make(height: int, width: int, seed: int = 0) -> RgbImage:
        return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)

    return make


@pytest.fixture(scope="session")
def tiny_store(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_network: Callable[[], FasterRCNN],
    tiny_options: NetworkOptions,
    noise: Callable[..., RgbImage],
) -> Path:
    """A store with the release `tiny@1`; not to be changed, copy it."""
    network = tiny_network()

    def fill(folder: Path, version: int) -> None:
        torch.save(network.state_dict(), folder / store.WEIGHTS)
        Image.fromarray(noise(64, 96)).save(folder / store.GOLDEN_IMAGE, quality=95)
        (found,) = TorchEngine(network, "cpu").detect([images.read(folder / store.GOLDEN_IMAGE)])
        Manifest(
            name="tiny",
            version=version,
            created="2024-01-01T00:00:00Z",
            architecture=ARCHITECTURE,
            options=tiny_options.model_dump(),
            class_names=CLASS_NAMES,
            input=InputRule(min_size=64, max_size=128, mean=IMAGENET_MEAN, std=IMAGENET_STD),
            score_floor=tiny_options.score_floor,
            detections_per_image=tiny_options.detections_per_image,
            score_threshold=SCORE_THRESHOLD,
            files={name: store.sha256_of(folder / name) for name in (store.WEIGHTS, store.GOLDEN_IMAGE)},
            golden=golden.expectation(found, score_threshold=SCORE_THRESHOLD),
        ).write(folder)

    root = tmp_path_factory.mktemp("store")
    store.publish(root, "tiny", fill, lambda release: None)
    return root


@pytest.fixture(scope="session")
def tiny_cache(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache directory that holds the converted and compiled graphs of `tiny@1`."""
    cache = tmp_path_factory.mktemp("cache")
    open_detector("tiny", store_root=tiny_store, device="cpu", engine="openvino-fp32", cores=1, cache_dir=cache)
    return cache


@pytest.fixture(scope="session")
def tiny_graphs(tiny_cache: Path) -> Path:
    """The folder of the tiny network's graphs; not to be changed, copy it."""
    return next(tiny_cache.glob("*/head.xml")).parent


@pytest.fixture
def tiny_release(tiny_store: Path, tmp_path: Path) -> Release:
    """A copy of the release `tiny@1` in a store of its own, `tmp_path/store`, to be changed at will."""
    shutil.copytree(tiny_store, tmp_path / "store")
    return store.find(tmp_path / "store", "tiny")


@pytest.fixture
def change_manifest() -> Callable[..., None]:
    """Write a release's manifest anew with some fields changed and the sha256 of its files as they are now."""

    def change(release: Release, **fields: Any) -> None:
        hashes = {name: store.sha256_of(release.folder / name) for name in release.manifest.files}
        release.manifest.model_copy(update={"files": hashes, **fields}).write(release.folder)

    return change
