import pytest
from fastapi.testclient import TestClient

from app.schemas import ModelsOut
from tests.app.conftest import NOT_CONVERTED, SCORE_THRESHOLD
from tests.app.fakes import FixedEngine, app_with


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
    }


def test_a_configured_threshold_is_the_default_one() -> None:
    with TestClient(app_with(FixedEngine(), score_threshold=0.9)) as client:
        (model,) = client.get("/models").json()["models"]
    assert (model["score_threshold"], model["default_score_threshold"]) == (0.6, 0.9)


@pytest.mark.parametrize("example", ModelsOut.model_config["json_schema_extra"]["examples"])
def test_the_documented_example_is_a_valid_answer(example: dict[str, object]) -> None:
    assert ModelsOut.model_validate(example).model_dump(mode="json") == example
