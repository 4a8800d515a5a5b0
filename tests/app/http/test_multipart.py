import time

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app import errors
from app.http.multipart import FormLimits
from app.http.uploads import UploadedBody
from app.inference.decoding import decode
from tests.app.fakes import PHOTO, FixedEngine, encoded
from tests.app.forms import END, FORM, LIMITS, kind, part, refused


def test_accepts_forms_as_clients_write_them(client: TestClient, engine: FixedEngine) -> None:
    noisy = [
        b"\r\n" + part() + END,
        part() + END + b"an epilogue",
        part(PHOTO, "image", "photo.jpg", "Content-Type: text/plain", "Content-Transfer-Encoding: binary") + END,
        part(PHOTO, "image", 'Grüße; \\"1\\".jpg') + END,
    ]
    for body in noisy:
        assert client.post("/detect", content=body, headers={"Content-Type": FORM}).status_code == 200
    assert len({image.tobytes() for image in engine.images}) == 1


def test_keeps_bytes_that_look_like_a_boundary() -> None:
    content = b"\r\n--cu\r\n--\r--cut\n--cut" + bytes(range(256)) * 3 + b"\r\n--cuT--"
    with pytest.raises(errors.ImageNotRecognized, match="begins with 0d 0a 2d 2d 63 75 0d 0a"):
        decode(UploadedBody(part(content) + END, b"cut", LIMITS).image(), max_pixels=1)
    image = Image.fromarray(np.random.default_rng(1).integers(0, 255, (30, 40, 3), np.uint8))
    bitmap = encoded(image, "BMP") + content  # what follows a bitmap is ignored
    photo = decode(UploadedBody(part(bitmap) + END, b"cut", LIMITS).image(), max_pixels=1200)
    assert (photo.pixels == np.asarray(image)).all()


@pytest.mark.parametrize(
    "body",
    [
        b"no form at all",
        part(),
        part() + b"--cut",
        part() + b"--cut-",
        part()[:-40],
        part().replace(b"\r\n\r\n", b"\r\n", 1) + END,
        b"--other\r\n" + part()[7:] + END,
        b"--cutXX\r\n" + part()[7:] + END,
        b"--cut\r\n\r\n" + PHOTO + b"\r\n" + END,
        b"--cut\r\nContent-Disposition: form-data\r\n\r\nx\r\n" + END,
        b'--cut\r\nContent-Disposition: attachment; name="image"; filename="a"\r\n\r\nx\r\n' + END,
        b"--cut\r\nContent Disposition: form-data\r\n\r\nx\r\n" + END,
        part(PHOTO, "image", "x" * 10_000) + END,
        part(PHOTO, "image", "a.jpg", *(f"X-{i}: 1" for i in range(50))) + END,
        part(b"", "x") * 33 + END,
    ],
)
def test_rejects_a_malformed_form(client: TestClient, body: bytes) -> None:
    assert kind(refused(client, body)) == (400, "malformed-body")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (END, [("image", None)]),
        (part(PHOTO, "photo") + END, [("photo", None)]),
        (part() + part(b"0.5", "score_threshold", None) + END, [("score_threshold", None)]),
        (part() + part() + END, [("image", None)]),
        (part(b"photo.jpg", "image", None) + END, [("image", "photo.jpg")]),
        (part(b"", "image", "") + END, [("image", "")]),
        (part(PHOTO, "a") + part(b"text", "image", None) + END, [("a", None), ("image", "text")]),
        (part(PHOTO, "x" * 1000) + END, [("x" * 100 + "...", None)]),
        (part(b"1", "x", None) * 32 + END, [("x", None)] * errors.MAX_FAULTS),
    ],
    ids=["empty", "misnamed", "extra", "twice", "text", "no-file-chosen", "two-faults", "long", "many"],
)
def test_rejects_a_form_that_is_not_one_image(
    client: TestClient, body: bytes, named: list[tuple[str, str | None]]
) -> None:
    problem = refused(client, body)
    assert kind(problem) == (422, "invalid-form")
    assert [(item["name"], item["value"]) for item in problem["errors"]] == named
    assert all(item["location"] == "form" and item["accepted"] for item in problem["errors"])
    assert all(name in problem["detail"] for name, _ in named)


def test_rejects_a_form_beyond_its_limits() -> None:
    limits = FormLimits(max_parts=2, max_header_bytes=200)

    def read(form: bytes) -> None:
        decode(UploadedBody(form + END, b"cut", limits).image(), max_pixels=10_000)

    read(part())
    with pytest.raises(errors.MalformedBody, match="more parts than the limit of 2"):
        read(part() * 3)
    told = "; the limit is 16 headers of 200 bytes per part"
    with pytest.raises(errors.MalformedBody, match=f"Maximum header size exceeded{told}"):
        read(part(PHOTO, "image", "photo.jpg", "X-Long: " + "a" * 234))
    for names in ([f"X-{number}" for number in range(16)], ["X"] * 1_000_000):
        began_s = time.monotonic()
        with pytest.raises(errors.MalformedBody, match=f"Maximum header count exceeded{told}"):
            read(part(PHOTO, "image", "photo.jpg", *(f"{name}: a" for name in names)))
        assert time.monotonic() - began_s < 5  # each costs Python code


@pytest.mark.parametrize("data", [PHOTO, b"no image"])
def test_names_a_file_without_a_name_by_its_format(data: bytes) -> None:
    form = b"".join(part(piece, "image", "/") for piece in (data, data)) + END
    names = [file.image().name for file in UploadedBody(form, b"cut", LIMITS).files()]
    assert names == ["photo.jpg" if data is PHOTO else "photo"] * 2
