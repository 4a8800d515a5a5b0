import json
from typing import Any

import numpy as np
import pytest

from rendersight.client import (
    InputRefused,
    InvalidInput,
    KeyRefused,
    Overloaded,
    ServiceProblem,
    Unavailable,
    UnexpectedAnswer,
)
from rendersight.client.answers import (
    Answer,
    problem_of,
    read_detections,
    read_models,
    retry_after_s,
    server_timing,
)
from tests.rendersight.client.scripted import FOUND


def answer(status: int = 200, body: Any = b"", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer("http://host/x", status, named, body if isinstance(body, bytes) else json.dumps(body).encode())


def test_detections_as_arrays() -> None:
    found = read_detections(answer(body=FOUND)).to_detections()
    np.testing.assert_array_equal(found.boxes_xyxy, np.array([[0, 0, 10, 10.5], [1, 2, 30, 40]], np.float32))
    assert found.labels.tolist() == [1, 2]
    nothing = read_detections(answer(body={**FOUND, "detections": []}))
    assert nothing.to_detections().boxes_xyxy.shape == (0, 4)
    assert nothing.request_id is None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>", "it is not JSON"),
        (b"\xff", "it is not JSON"),
        ([], "no such detections"),
        ({**FOUND, "detections": [{"label": "a"}]}, "KeyError"),
        ({**FOUND, "detections": [{**FOUND["detections"][0], "box": [1, 2, 3]}]}, "ValueError"),
        ({**FOUND, "image": None}, "TypeError"),
        ({**FOUND, "image": {"width": float("inf"), "height": 1}}, "OverflowError"),
    ],
)
def test_something_else_that_answers(body: Any, reason: str) -> None:
    with pytest.raises(UnexpectedAnswer, match=f"http://host/x gave no answer of Rendersight: status 200, .*{reason}"):
        read_detections(answer(body=body))


def test_a_field_that_is_new_does_no_harm() -> None:
    item = {**FOUND["detections"][0], "mask": [1]}
    assert read_detections(answer(body={**FOUND, "new": 1, "detections": [item]})).detections[0].label == "apple"


def test_models() -> None:
    model = {
        **FOUND["model"],
        "architecture": "net",
        "classes": ["a", "b"],
        "sha256": "ff",
        "score_floor": 0,
        "score_threshold": 0.6,
        "default_score_threshold": 0.5,
        "detections_per_image": 100,
        "metrics": [{"data": "photos"}],
    }
    (read,) = read_models(answer(body={"models": [model], "last_reload": None}))
    assert (read.classes, read.score_threshold, read.default_score_threshold) == (("a", "b"), 0.6, 0.5)
    assert read.metrics == ({"data": "photos"},)
    with pytest.raises(UnexpectedAnswer, match="no such models"):
        read_models(answer(body={"models": [FOUND["model"]]}))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InputRefused),
        (401, KeyRefused),
        (403, KeyRefused),
        (404, ServiceProblem),
        (409, ServiceProblem),
        (413, InputRefused),
        (415, InputRefused),
        (422, InputRefused),
        (429, Unavailable),
        (500, ServiceProblem),
        (502, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
        (599, ServiceProblem),
    ],
)
def test_an_error_without_a_problem_goes_by_its_status(status: int, kind: type[ServiceProblem]) -> None:
    found = problem_of(answer(status, b"<html>Bad Gateway</html>", x_request_id="r2"))
    assert type(found) is kind
    assert (found.status, found.type, found.detail, found.request_id) == (status, "about:blank", "", "r2")


def test_a_problem_is_told_whole() -> None:
    wrong = {"location": "query", "name": "score_threshold", "value": "2", "accepted": "up to 1"}
    body = {"type": "urn:x", "title": "Wrong", "status": 422, "detail": "2 is no score", "request_id": "r"}
    found = problem_of(answer(422, {**body, "errors": [wrong]}))
    assert str(found) == "422 Wrong: 2 is no score"
    assert (found.type, found.request_id, found.errors) == ("urn:x", "r", (InvalidInput(**wrong),))
    overloaded = problem_of(answer(503, {**body, "type": "urn:rendersight:problem:overloaded"}, retry_after="7"))
    assert type(overloaded) is Overloaded
    assert overloaded.retry_after_s == 7


@pytest.mark.parametrize(
    ("retry_after", "date", "seconds"),
    [
        ("0", "", 0),
        (" 120 ", "", 120),
        ("Fri, 31 Dec 1999 23:59:59 GMT", "Fri, 31 Dec 1999 23:59:29 GMT", 30),
        ("Fri, 31 Dec 1999 23:59:59 GMT", "Sat, 01 Jan 2000 00:00:00 GMT", 0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", "", None),
        ("Fri, 31 Dec 1999 23:59:59 GMT", "Fri, 31 Dec 1999 23:59:29 -0000", None),
        ("-1", "", None),
        ("1.5", "", None),
        ("soon", "", None),
        ("²", "", None),
        ("", "", None),
    ],
)
def test_retry_after(retry_after: str, date: str, seconds: float | None) -> None:
    assert retry_after_s({"retry-after": retry_after, "date": date}) == seconds


def test_server_timing() -> None:
    assert server_timing('a;dur=1, b;desc="x";dur="2.5",c, d;dur=x') == {"a": 0.001, "b": 0.0025}
    assert server_timing("") == {}
