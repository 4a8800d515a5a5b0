from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.http.assets import whole_file


def test_ignores_an_invalid_range(client: TestClient) -> None:
    for unfit in ("bytes=abc", "bytes=99999999-"):
        assert client.get("/docs", headers={"Range": unfit}).status_code == 200


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("page.js", "text/javascript; charset=utf-8"),
        ("photo.jpg", "image/jpeg"),
        ("LICENSE", "text/plain; charset=utf-8"),
    ],
)
def test_guesses_the_media_type_from_the_name(tmp_path: Path, name: str, media_type: str) -> None:
    (tmp_path / name).write_bytes(b"content")
    response = whole_file(tmp_path / name, {"Cache-Control": "no-cache"})
    assert (response.body, response.headers["content-type"]) == (b"content", media_type)
    assert response.headers["cache-control"] == "no-cache"
