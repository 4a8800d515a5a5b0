"""A tiny release, published for real, and the service with it."""

import io
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import absl.logging
import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image

from app.main import create_app
from app.observability.logging import configure_logging
from app.settings import PREFIX, Settings
from model_store import architectures, golden, store
from model_store.engines.torch import TorchEngine
from model_store.manifest import InputRule, Manifest, Metrics
from tests.app.fakes import FixedEngine, app_with

ARCHITECTURE = "fasterrcnn_mobilenet_v2_fpn"
OPTIONS = architectures.ARCHITECTURES[ARCHITECTURE].options.model_copy(
    update={"min_size": 64, "max_size": 128, "rpn_post_nms_top_n": 20}
)
SCORE_THRESHOLD = 0.4

NOT_CONVERTED = "torch-fp32"
"""The engine to serve `tiny` with: it takes the state dict as it is, and OpenVINO would convert it for seconds."""


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def release_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with one release, `tiny`: a random network whose head leans towards its classes."""
    torch.manual_seed(7)
    network = architectures.build(ARCHITECTURE, class_count=2, options=OPTIONS)
    with torch.no_grad():
        network.roi_heads.box_predictor.cls_score.bias.copy_(torch.tensor([0.0, 1.0, 0.5]))
    engine = TorchEngine(network, "cpu")
    pixels = np.random.default_rng(7).integers(0, 255, (48, 64, 3), np.uint8)

    def fill(folder: Path, version: int) -> None:
        torch.save(network.state_dict(), folder / store.WEIGHTS)
        Image.fromarray(pixels).save(folder / store.GOLDEN_IMAGE, quality=95)
        (found,) = engine.detect([np.asarray(Image.open(folder / store.GOLDEN_IMAGE))])
        Manifest(
            name="tiny",
            version=version,
            created="2026-01-31",
            architecture=ARCHITECTURE,
            options=OPTIONS.model_dump(),
            class_names=("left", "right"),
            input=InputRule(
                min_size=OPTIONS.min_size,
                max_size=OPTIONS.max_size,
                mean=architectures.IMAGENET_MEAN,
                std=architectures.IMAGENET_STD,
            ),
            score_floor=OPTIONS.score_floor,
            detections_per_image=OPTIONS.detections_per_image,
            score_threshold=SCORE_THRESHOLD,
            files={name: store.sha256_of(folder / name) for name in (store.WEIGHTS, store.GOLDEN_IMAGE)},
            metrics=(Metrics(data="noise", image_count=1, figures={"AP50": 0.25}, per_class_ap={"left": 0.25}),),
            golden=golden.expectation(found, score_threshold=SCORE_THRESHOLD),
        ).write(folder)

    root = tmp_path_factory.mktemp("releases")
    store.publish(root, "tiny", fill, lambda release: None)
    return root


@pytest.fixture(scope="session")
def tiny_client(release_store: Path) -> Iterator[TestClient]:
    """The whole service with the tiny network."""
    with TestClient(
        create_app(Settings(model="tiny", model_store=release_store, device="cpu", engine=NOT_CONVERTED))
    ) as client:
        yield client


@pytest.fixture
def engine() -> FixedEngine:
    return FixedEngine()


@pytest.fixture
def client(engine: FixedEngine) -> Iterator[TestClient]:
    """The service around an engine whose detections are known."""
    with TestClient(app_with(engine, max_bytes=200_000, max_pixels=10_000)) as client:
        yield client


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What goes to the log as JSON lines, configured as the service runs."""
    root = logging.getLogger()
    # OpenVINO imports absl where it is there, and absl closes what it took for standard error, which is pytest's.
    absl.logging.get_absl_handler().python_handler.setStream(sys.__stderr__)
    level = root.level
    configure_logging("json")
    (handler,) = root.handlers
    assert isinstance(handler, logging.StreamHandler)
    written = io.StringIO()
    handler.setStream(written)
    yield written
    root.removeHandler(handler)
    root.setLevel(level)
    for name in ("uvicorn", "python_multipart", "PIL"):
        logging.getLogger(name).setLevel(logging.NOTSET)
