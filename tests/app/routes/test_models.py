import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.schemas import ModelsOut
from app.settings import Settings
from model_store.detector import Detector
from model_store.engine_choice import SkippedEngine
from tests.app.conftest import NOT_CONVERTED, SCORE_THRESHOLD
from tests.app.fakes import CARD, FixedEngine, app_with


def test_the_release_is_described(tiny_client: TestClient) -> None:
    (model,) = tiny_client.get("/models").json()["models"]
    assert len(model.pop("sha256")) == 64
    assert model == {
        "name": "tiny",
        "version": "1",
        "engine": NOT_CONVERTED,
        "device": "cpu",
        "architecture": "fasterrcnn_mobilenet_v2_fpn",
        "classes": ["left", "right"],
        "score_floor": 0.05,
        "score_threshold": SCORE_THRESHOLD,
        "default_score_threshold": SCORE_THRESHOLD,
        "detections_per_image": 100,
        "metrics": [
            {"data": "noise", "image_count": 1, "figures": {"AP50": 0.25}, "per_class_ap": {"left": 0.25}},
        ],
        "skipped_engines": [],
    }


def test_skipped_engines_are_listed_with_the_reason() -> None:
    skipped = (SkippedEngine("openvino-int8", "the graphs cannot be used"),)
    app = create_app(Settings(), open_detector=lambda *_, **__: Detector(CARD, FixedEngine(), skipped))
    with TestClient(app) as client:
        (model,) = client.get("/models").json()["models"]
    assert model["skipped_engines"] == [{"engine": "openvino-int8", "reason": "the graphs cannot be used"}]


def test_configured_threshold_is_the_default() -> None:
    with TestClient(app_with(FixedEngine(), score_threshold=0.9)) as client:
        (model,) = client.get("/models").json()["models"]
    assert (model["score_threshold"], model["default_score_threshold"]) == (0.6, 0.9)


@pytest.mark.parametrize("example", ModelsOut.model_config["json_schema_extra"]["examples"])
def test_the_documented_example_is_a_valid_answer(example: dict[str, object]) -> None:
    assert ModelsOut.model_validate(example).model_dump(mode="json") == example
