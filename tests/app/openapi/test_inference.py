import re
from dataclasses import replace

from fastapi.testclient import TestClient

from app.openapi.inference import name_served_model
from tests.app.fakes import CARD


def test_escapes_class_names_as_json_schema_allows(client: TestClient) -> None:
    names = ("red apple", "half-pear", "größe", r"^$\.*+?()[]{}|/", "a&b~#")
    document = client.get("/openapi.json").json()
    name_served_model(document, replace(CARD, class_names=names))
    pattern = document["components"]["schemas"]["InferenceParameters"]["properties"]["labels"]["pattern"]
    assert set(re.findall(r"\\(.)", pattern)) == set(r"^$\.*+?()[]{}|/s")
    assert all(re.search(pattern, text) for text in (*names, ",".join(names), " half-pear , red apple"))
    assert not any(re.search(pattern, text) for text in ("", "redapple", "half", "x"))
