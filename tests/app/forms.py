"""Multipart forms, and the refusal of a body."""

from collections.abc import Iterator
from typing import Any

from fastapi.testclient import TestClient

from app.http.multipart import FormLimits
from tests.app.fakes import PHOTO

FORM = "multipart/form-data; boundary=cut"
LIMITS = FormLimits(max_parts=32, max_header_bytes=4096)


def part(content: bytes = PHOTO, name: str = "image", filename: str | None = "photo.jpg", *more: str) -> bytes:
    named = f'Content-Disposition: form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "")
    return b"--cut\r\n" + "\r\n".join([named, *more]).encode() + b"\r\n\r\n" + content + b"\r\n"


END = b"--cut--\r\n"


def refused(client: TestClient, body: bytes | Iterator[bytes], content_type: str | None = FORM, **headers: str) -> Any:
    """Post a body that is not taken; returns the problem."""
    if content_type:
        headers["Content-Type"] = content_type
    response = client.post("/detect", content=body, headers=headers)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == response.status_code
    return response.json()


def kind(problem: Any) -> tuple[int, str]:
    return problem["status"], problem["type"].rpartition(":")[2]
