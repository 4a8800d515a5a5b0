import json

from app.errors import ServiceError
from app.openapi.responses import error_responses


def test_error_examples_have_their_status() -> None:
    for status, response in error_responses(*ServiceError.__subclasses__()).items():
        for example in response["content"]["application/problem+json"]["examples"].values():
            assert example["value"]["status"] == status
            assert json.dumps(example["value"])


def test_statuses_are_in_order() -> None:
    statuses = list(error_responses(*ServiceError.__subclasses__(), path="/v2/models"))
    assert statuses == sorted(statuses)
