"""Which form of the answer is given, and that each says the same."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.errors import NotAcceptable
from app.inference.formats import FORMATS, chosen_format
from app.schemas import DetectQuery, FormatName
from rendersight.annotations.dataset import read_annotations
from rendersight.drawing import class_colour
from tests.app.fakes import CARD, PHOTO, FixedEngine, app_with, encoded

MEDIA_TYPES = {name: form.media_type for name, form in FORMATS.items()}


def post(client: TestClient, name: str = "photo.jpg", data: bytes = PHOTO, accept: str = "*/*", **query: Any) -> Any:
    response = client.post("/detect", files={"image": (name, data)}, params=query, headers={"Accept": accept})
    assert response.status_code == 200, response.text
    return response


def test_every_format_name_has_a_writer() -> None:
    accepted = DetectQuery.model_json_schema()["properties"]["format"]["anyOf"][0]["enum"]
    assert set(accepted) == set(FORMATS)
    assert len(set(MEDIA_TYPES.values())) == len(FORMATS)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("application/json", "json"),
        ("Application/JSON; charset=utf-8", "json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", "json"),
        ("image/*", "jpeg"),
        ("image/png", "png"),
        ("image/*, image/jpeg;q=0", "png"),
        ("image/png;q=0.5, text/csv", "csv"),
        ("text/*;q=0.1, application/*;q=0.2", "json"),
        ("*/*, application/json;q=0", "jpeg"),
        ("image/png;q=nonsense", "png"),
        ("application/vnd.rendersight.labelme+json", "labelme"),
        ("application/vnd.rendersight.coco+json, */*;q=0.1", "coco"),
    ],
)
def test_accept_chooses_the_form(accept: str, expected: FormatName) -> None:
    assert chosen_format(None, accept) is FORMATS[expected]


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "image/webp, text/plain", "*/*;q=0"])
def test_names_the_formats_if_none_is_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptable, match=r"allows no answer format; available: application/json, image/jpeg"):
        chosen_format(None, accept)


def test_parameter_has_priority_over_the_header(client: TestClient) -> None:
    assert post(client, accept="image/png", format="csv").headers["content-type"].startswith("text/csv")
    refused = client.post("/detect", content=PHOTO, headers={"Accept": "text/html"})
    assert (refused.status_code, refused.json()["type"]) == (406, "urn:rendersight:problem:not-acceptable")
    unknown = client.post("/detect", content=PHOTO, params={"format": "xml"})
    assert unknown.status_code == 422
    assert "'json', 'jpeg', 'png', 'labelme', 'coco' or 'csv'" in unknown.json()["detail"]


@pytest.mark.parametrize("name", FORMATS)
def test_names_the_type_and_file_of_the_answer(client: TestClient, name: FormatName) -> None:
    response = post(client, format=name)
    assert response.headers["content-type"].partition(";")[0] == MEDIA_TYPES[name]
    suffixes = {"jpeg": ".boxes.jpg", "png": ".boxes.png", "labelme": ".json", "coco": ".coco.json", "csv": ".csv"}
    named = f'inline; filename="photo{suffixes[name]}"' if name in suffixes else None
    assert response.headers.get("content-disposition") == named
    assert "encode;dur=" in response.headers["server-timing"]


@pytest.mark.parametrize("image_format", ["png", "jpeg"])
def test_draws_boxes_on_the_upright_photo(client: TestClient, image_format: FormatName) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.new("RGB", (90, 60), (128, 128, 128))
    with Image.open(io.BytesIO(post(client, data=encoded(stored, exif=exif), format=image_format).content)) as picture:
        assert picture.size == (360, 540)  # 60 x 90, six times
        seen = np.asarray(picture.convert("RGB")).astype(int)
    # the pear's box is [1, 2, 30, 40]
    assert np.abs(seen[239, 100:170] - class_colour(2)).max() < (1 if image_format == "png" else 90)
    assert np.abs(seen[360:, 240:] - 128).max() < 8


def test_a_picture_has_what_the_query_selects(client: TestClient) -> None:
    grey = encoded(Image.new("RGB", (60, 45), (128, 128, 128)))
    nothing = post(client, data=grey, format="png", score_threshold=1).content
    assert (np.asarray(Image.open(io.BytesIO(nothing))) == 128).all()


@pytest.mark.parametrize("name", ["Grüße 1.jpg", "C:\\photos\\Grüße 1.jpg", "/home/x/Grüße 1.jpg"])
def test_labelme_is_read_back_beside_the_photo(tmp_path: Path, client: TestClient, name: str) -> None:
    annotation = post(client, name, format="labelme").text
    (tmp_path / "Grüße 1.jpg").write_bytes(PHOTO)
    (tmp_path / "renamed.json").write_text(annotation, "utf-8")  # so that imagePath alone leads to the photo
    folder = read_annotations(tmp_path)
    assert folder.faults == ()
    (image,) = folder.images
    assert image.labels == ("apple", "pear")
    expected = [item["box"] for item in post(client).json()["detections"]]
    assert np.abs(image.boxes_xyxy - np.array(expected)).max() <= 0.01


def test_coco_has_ids_from_one_and_box_sizes(client: TestClient) -> None:
    document = json.loads(post(client, "a.jpg", format="coco").text)
    assert document["images"] == [{"id": 1, "file_name": "a.jpg", "width": 60, "height": 45}]
    assert [(one["id"], one["name"]) for one in document["categories"]] == [(1, "apple"), (2, "pear"), (3, "plum")]
    assert [(one["category_id"], one["bbox"], one["area"]) for one in document["annotations"]] == [
        (1, [0, 0, 10, 10], 100),
        (2, [1, 2, 29, 38], 29 * 38),
    ]
    assert [one["score"] for one in document["annotations"]] == [0.95, 0.8]


def test_csv_has_a_line_for_each_object(client: TestClient) -> None:
    rows = list(csv.DictReader(io.StringIO(post(client, format="csv").text)))
    detections = post(client).json()["detections"]
    assert [(row["label"], int(row["label_id"]), float(row["score"])) for row in rows] == [
        (one["label"], one["label_id"], one["score"]) for one in detections
    ]
    assert [[float(row[side]) for side in ("x0", "y0", "x1", "y1")] for row in rows] == [
        one["box"] for one in detections
    ]


def test_a_label_with_a_comma_stays_one_field() -> None:
    info = CARD.__class__(**{**CARD.__dict__, "class_names": ('apple, "red"', "pear", "plum")})
    with TestClient(app_with(FixedEngine(), info=info)) as client:
        rows = list(csv.DictReader(io.StringIO(post(client, format="csv").text)))
    assert rows[0]["label"] == 'apple, "red"'


@pytest.mark.parametrize(("image_format", "expected"), [("JPEG", "photo.csv"), ("PNG", "photo.csv")])
def test_names_a_bare_image(client: TestClient, image_format: str, expected: str) -> None:
    data = encoded(Image.new("RGB", (9, 7)), image_format)
    response = client.post("/detect?format=csv", content=data)
    assert response.headers["content-disposition"] == f'inline; filename="{expected}"'
    suffix = {"JPEG": "jpg", "PNG": "png"}[image_format]
    assert client.post("/detect?format=labelme", content=data).json()["imagePath"] == f"photo.{suffix}"


def test_escapes_file_names_in_the_header(client: TestClient) -> None:
    hostile = 'a"; evil=1\u00e9' + "x" * 300 + ".jpg"
    header = post(client, hostile, format="csv").headers["content-disposition"]
    assert header.startswith('inline; filename="a_22_ evil_1_xxx')
    assert ";" not in header.partition('"')[2].partition('"')[0]
    assert len(header) < 500
