import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.app.fakes import PHOTO, encoded
from tests.app.forms import END, FORM, kind, part, refused


@pytest.mark.parametrize("data", [b"%PDF-1.7 ...", b"<svg/>", b"\x00", b"RIFF....WAVEfmt "])
def test_rejects_data_without_a_known_signature(client: TestClient, data: bytes) -> None:
    for body, content_type in ((data, "image/jpeg"), (part(data) + END, FORM)):
        assert kind(refused(client, body, content_type)) == (415, "unknown-image-format")


@pytest.mark.parametrize(
    "data",
    [
        PHOTO[: len(PHOTO) // 2],
        PHOTO[:4],
        encoded(Image.new("RGB", (50, 50)))[:-30],
        b"\x89PNG\r\n\x1a\n" + b"\x00" * 50,
        b"GIF89a",
        b"BM" + b"\xff" * 60,
        b"II*\0" + b"\xff" * 60,
        b"RIFF\x10\0\0\0WEBPVP8 " + b"\xff" * 60,
    ],
)
def test_rejects_a_known_format_that_does_not_decode(client: TestClient, data: bytes) -> None:
    assert kind(refused(client, data, "image/png")) == (422, "broken-image")


def test_counts_pixels_in_the_header(client: TestClient) -> None:
    assert client.post("/detect", content=encoded(Image.new("1", (100, 100)))).status_code == 200
    one_more = encoded(Image.new("1", (73, 137)))  # 10001
    problem = refused(client, one_more, "image/png")
    assert kind(problem) == (413, "image-too-large")
    assert problem["detail"] == "image has 10001 px, the limit is 10000"
    # only the header is there: a decoder would find it broken
    assert kind(refused(client, one_more[:45], "image/png")) == (413, "image-too-large")
