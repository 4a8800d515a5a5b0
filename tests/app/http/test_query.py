import pytest
from fastapi.testclient import TestClient

from tests.app.fakes import PHOTO, FixedEngine


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("score_threshold=1.5", ["score_threshold"]),
        ("score_threshold=-0.1", ["score_threshold"]),
        ("score_threshold=nan", ["score_threshold"]),
        ("score_threshold=inf", ["score_threshold"]),
        ("score_threshold=", ["score_threshold"]),
        ("score_threshold=high", ["score_threshold"]),
        ("score_threshold=0.5&score_threshold=0.6", ["score_threshold"]),
        ("max_detections=0", ["max_detections"]),
        ("max_detections=1001", ["max_detections"]),
        ("max_detections=2.5", ["max_detections"]),
        ("max_detections=1&max_detections=1", ["max_detections"]),
        ("treshold=0.5", ["treshold"]),
        ("treshold=0.5&x=%00%FF", ["treshold", "x"]),
        ("score_threshold=2&max_detections=0", ["score_threshold", "max_detections"]),
        ("labels=apple&labels=fig", ["labels"]),
        ("labels=", ["labels"]),
        ("labels=Apple", ["labels"]),
    ],
)
def test_names_each_invalid_parameter(client: TestClient, engine: FixedEngine, query: str, names: list[str]) -> None:
    response = client.post(f"/detect?{query}", files={"image": PHOTO})
    problem = response.json()
    assert response.status_code == 422
    assert problem["type"] == "urn:rendersight:problem:invalid-parameter"
    assert [item["name"] for item in problem["errors"]] == names
    assert all(item["location"] == "query" and item["accepted"] for item in problem["errors"])
    assert all(name in problem["detail"] for name in names)
    assert engine.images == []


def test_repeats_the_value_and_the_accepted_ones(client: TestClient) -> None:
    (item,) = client.post("/detect?score_threshold=1.5", content=PHOTO).json()["errors"]
    assert item == {
        "location": "query",
        "name": "score_threshold",
        "value": "1.5",
        "accepted": "Input should be less than or equal to 1",
    }
    (item,) = client.post("/detect?labels=fig", content=PHOTO).json()["errors"]
    assert item == {"location": "query", "name": "labels", "value": "fig", "accepted": "one of apple, pear, plum"}


def test_lists_the_first_of_thousands_of_faults(client: TestClient) -> None:
    query = "&".join(f"{'x' * 200}{number}=1" for number in range(300))
    for text in (query, "&".join(f"labels={'y' * 200}{number}" for number in range(100))):
        response = client.post(f"/detect?{text}", content=PHOTO)
        assert response.status_code == 422
        assert len(response.json()["errors"]) == 20
        assert len(response.content) < 20_000
    assert client.post("/detect?" + "&".join(["labels=apple"] * 101), content=PHOTO).status_code == 422
