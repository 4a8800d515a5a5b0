import json
import re

import pytest
from fastapi.testclient import TestClient

from app import errors
from rendersight.images import WEB_FORMATS
from tests.app.fakes import FixedEngine, app_with

DOCUMENT = app_with(FixedEngine()).openapi()
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
}


def shape_of_errors(name: str) -> tuple[str, str]:
    """Return the media type and the schema that errors of an operation have."""
    return ("application/json", "InferenceError") if " /v2" in name else ("application/problem+json", "Problem")


def test_the_endpoints_are_those_of_the_contract() -> None:
    assert set(OPERATIONS) == {
        "POST /detect",
        "POST /detect/batch",
        "GET /v2",
        "GET /v2/health/live",
        "GET /v2/health/ready",
        "GET /v2/models/{model_name}",
        "GET /v2/models/{model_name}/ready",
        "POST /v2/models/{model_name}/infer",
        "GET /v2/models/{model_name}/versions/{model_version}",
        "GET /v2/models/{model_name}/versions/{model_version}/ready",
        "POST /v2/models/{model_name}/versions/{model_version}/infer",
        "GET /models",
        "POST /models/reload",
        "GET /livez",
        "GET /readyz",
        "GET /metrics",
    }


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_every_endpoint_teaches_itself(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"]
    assert operation["description"]
    assert operation["operationId"]
    (tag,) = operation["tags"]
    assert tag in {item["name"] for item in DOCUMENT["tags"]}
    for media_type, answer in operation["responses"]["200"]["content"].items():
        if media_type == "application/json":
            model = DOCUMENT["components"]["schemas"][answer["schema"]["$ref"].rpartition("/")[2]]
            assert "examples" in model or all("examples" in item for item in model["properties"].values())
        else:
            assert answer.get("example") or answer["schema"]["format"] == "binary"
    for status, response in operation["responses"].items():
        assert response["description"]
        if status != "200":
            media_type, schema = shape_of_errors(name)
            assert set(response["content"]) == {media_type}
            assert response["content"][media_type]["schema"] == {"$ref": f"#/components/schemas/{schema}"}
            assert response["content"][media_type]["examples"]


def documented(*names: str) -> set[str]:
    """The kinds of errors that these operations document."""
    return {
        slug
        for name in names
        for status, response in OPERATIONS[name]["responses"].items()
        if status != "200"
        for slug in response["content"][shape_of_errors(name)[0]]["examples"]
    }


def test_documents_each_error_where_it_can_happen() -> None:
    every = {error.slug for error in errors.ServiceError.__subclasses__()}
    assert documented(*OPERATIONS) == every
    assert documented("POST /detect") == every - {
        "not-alive",
        "release-refused",
        "invalid-inference",
        "unknown-model",
    }
    inferring = documented("POST /v2/models/{model_name}/infer")
    assert inferring - documented("POST /detect") == {"invalid-inference", "unknown-model"}
    assert documented("POST /detect") - inferring == {"invalid-form", "not-acceptable"}
    assert documented("POST /detect/batch") < documented("POST /detect")
    statuses = {"200", "400", "401", "403", "406", "408", "413", "415", "422", "500", "503", "504"}
    assert set(OPERATIONS["POST /detect"]["responses"]) == statuses


def test_documents_every_accepted_body() -> None:
    body = OPERATIONS["POST /detect"]["requestBody"]
    assert body["required"] is True
    form = body["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["image"]
    assert form["properties"]["image"]["format"] == "binary"
    bare = set(body["content"]) - {"multipart/form-data"}
    assert bare == {f"image/{name.lower()}" for name in (*WEB_FORMATS, "HEIF", "HEIC")}
    assert all(body["content"][media_type]["schema"]["format"] == "binary" for media_type in bare)


def test_detect_documents_its_parameters() -> None:
    parameters = {item["name"]: item for item in OPERATIONS["POST /detect"]["parameters"]}
    assert {name: item["in"] for name, item in parameters.items()} == {
        "score_threshold": "query",
        "max_detections": "query",
        "labels": "query",
        "iou_threshold": "query",
        "class_agnostic": "query",
        "tiles": "query",
        "format": "query",
        "x-request-timeout": "header",
    }
    assert all(item["description"] for item in parameters.values())
    of_batch = {item["name"]: item for item in OPERATIONS["POST /detect/batch"]["parameters"]}
    assert of_batch == {name: item for name, item in parameters.items() if name != "format"}


def test_every_schema_reference_resolves() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(DOCUMENT)))
    assert named == set(schemas)
    assert not {"HTTPValidationError", "ValidationError"} & set(schemas)


def test_the_document_is_served_as_it_is(client: TestClient) -> None:
    served = client.get("/openapi.json").json()
    for path in ("/detect", "/detect/batch"):
        labels = next(item for item in served["paths"][path]["post"]["parameters"] if item["name"] == "labels")
        assert labels["schema"]["items"].pop("enum") == ["apple", "pear", "plum"]
    labels = served["components"]["schemas"]["InferenceParameters"]["properties"]["labels"]
    pattern = re.compile(labels.pop("pattern"))
    assert [bool(pattern.search(text)) for text in ("pear", " plum,apple ", "", "fig", "pear,")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    for path, item in served["paths"].items():
        named = [one for one in next(iter(item.values())).get("parameters", []) if one["in"] == "path"]
        known = [one["schema"].pop("enum") for one in named]
        assert known == [["fruit"], ["3"]][: path.count("{")]
    assert served == DOCUMENT
