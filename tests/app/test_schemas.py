import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.schemas import DetectionsOut, Problem
from model_store.detector import Detector
from rendersight.detections import Detections
from tests.app.fakes import CARD, FixedEngine

DETECTOR = Detector(CARD, FixedEngine())


def answer(found: Detections, size_wh: tuple[int, int] = (64, 48)) -> DetectionsOut:
    return DetectionsOut.from_domain(found, detector=DETECTOR, size_wh=size_wh, score_threshold=0.5)


def test_the_answer_is_the_one_of_the_contract() -> None:
    out = answer(Detections.of([[10.504, 20, 52.1, 40.706]], [2], [0.987654]))
    assert out.model_dump(mode="json") == {
        "model": {"name": "fruit", "version": "3", "engine": "fixed", "device": "cpu"},
        "image": {"width": 64, "height": 48},
        "score_threshold": 0.5,
        "tiles": 0,
        "detections": [{"label": "pear", "label_id": 2, "score": 0.9877, "box": [10.5, 20.0, 52.1, 40.71]}],
    }


def test_no_objects_are_an_empty_list() -> None:
    assert answer(Detections.of([], [], [])).detections == []


def test_clips_boxes_to_the_image() -> None:
    out = answer(Detections.of([[-1e-5, -1e-5, 64.00001, 48.00001]], [1], [1.0]))
    assert out.detections[0].box == (0.0, 0.0, 64.0, 48.0)


def test_rounding_keeps_an_area() -> None:
    out = answer(Detections.of([[3.001, 4.001, 3.002, 4.002], [63.999, 47.999, 64, 48]], [1, 1], [1.0, 0.9]))
    assert out.detections[0].box == (3.0, 4.0, 3.01, 4.01)
    assert out.detections[1].box == (63.99, 47.99, 64.0, 48.0)


@given(st.floats(0, 1, width=32), st.floats(0, 63, width=32), st.floats(2**-10, 1, width=32))
def test_rounded_values_are_near_and_inside(score: float, x0: float, width: float) -> None:
    (found,) = answer(Detections.of([[x0, 0, x0 + width, 48]], [1], [score])).detections
    assert math.isclose(found.score, score, abs_tol=0.5001e-4)
    assert math.isclose(found.box[0], x0, abs_tol=0.501e-2)
    assert math.isclose(found.box[2], x0 + width, abs_tol=1.501e-2)
    assert 0 <= found.box[0] < found.box[2] <= 64


def test_document_names_the_decimals() -> None:
    properties = DetectionsOut.model_json_schema()["$defs"]["DetectionOut"]["properties"]
    assert "rounded to 4 decimals" in properties["score"]["description"]
    assert "rounded to 2 decimals" in properties["box"]["description"]


def test_problem_without_faults_has_no_errors_member() -> None:
    problem = Problem(type="about:blank", title="Not Found", status=404, detail="there is no /x", request_id="1")
    assert set(problem.body()) == {"type", "title", "status", "detail", "request_id"}


@pytest.mark.parametrize("example", DetectionsOut.model_config["json_schema_extra"]["examples"])
def test_the_documented_example_is_a_valid_answer(example: dict[str, object]) -> None:
    assert DetectionsOut.model_validate(example).model_dump(mode="json") == example
