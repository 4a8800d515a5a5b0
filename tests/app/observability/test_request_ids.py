import pytest
from fastapi.testclient import TestClient

from tests.app.fakes import PHOTO


def test_ids_differ_unless_the_client_gives_one(client: TestClient) -> None:
    assert client.get("/livez").headers["x-request-id"] != client.get("/livez").headers["x-request-id"]
    given = "Abc-1.2_" + "x" * 120
    assert client.post("/detect", content=PHOTO, headers={"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a/b", "é".encode()])
def test_an_id_that_is_no_id_is_replaced(client: TestClient, given: str | bytes) -> None:
    answered = client.get("/livez", headers={"X-Request-ID": given}).headers["x-request-id"]
    assert len(answered) == 32
    assert answered.isalnum()
