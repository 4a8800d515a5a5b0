"""Whatever is uploaded, the answer is boxes or a 4xx, in time, and nothing is printed, warned of or left behind.

A failure names its cases; `corpus.build(name)` makes one again.
"""

import io
import json
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from app.errors import ServiceError
from app.http.multipart import FORM, FormLimits
from app.http.uploads import IMAGE_TYPES, UploadedBody
from app.inference.decoding import decode
from rendersight import images
from rendersight.detections import Detections
from rendersight.images import WEB_FORMATS, RgbImage
from tests.app import corpus
from tests.app.corpus_sound import VARIANTS, image
from tests.app.fakes import FOUND, PHOTO, FixedEngine, app_with

TIME_LIMIT_S = 5.0  # the slowest take half a second where nothing else runs
RESIDENT_LIMIT_MB = 25  # 5 were measured; a leak of one small image, 4 KB, in each of 9,000 cases would be 36
SAMPLE = 150
MAX_PIXELS = 1_000_000
MAX_BYTES = 4_000_000
LIMITS = FormLimits(max_parts=32, max_header_bytes=4096)
_MOST_SHOWN = 20


class ForgetfulEngine(FixedEngine):
    """Finds the same in every image, and remembers none."""

    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        assert all(image.dtype == np.uint8 and image.ndim == 3 and image.size for image in images)
        return [FOUND for _ in images]


@dataclass
class Watch:
    """Sees what a request does beside its answer."""

    client: TestClient
    capfd: pytest.CaptureFixture[str]
    log: io.StringIO
    temporary: Path
    warned: list[warnings.WarningMessage]

    def faults_of(self, name: str, data: bytes) -> list[str]:
        """Upload a case; returns what is wrong, each with the case's name."""
        began_s = time.perf_counter()
        response = self._post(name, data)
        took_s = time.perf_counter() - began_s
        printed = "".join(self.capfd.readouterr())
        found = [
            *_wrong_in(response),
            *([f"took {took_s:.1f} s"] if took_s > TIME_LIMIT_S else []),
            *([f"printed {printed[:200]!r}"] if printed else []),
            *(f"warned {warning.message!r}" for warning in self.warned),
            *(f"logged {line[:2000]}" for line in self.log.getvalue().splitlines() if not _is_quiet(line)),
            *(f"left {path.name}" for path in self.temporary.iterdir()),
        ]
        self.warned.clear()
        self.log.seek(0)
        self.log.truncate()
        for path in self.temporary.iterdir():
            path.unlink()
        return [f"{name}: {fault}" for fault in found]

    def _post(self, name: str, data: bytes) -> Response:
        """Send one in four as a form, with a declared type and a file name of any format."""
        random = corpus.random_of(name)
        declared = IMAGE_TYPES[random.integers(len(IMAGE_TYPES))]
        if random.random() < 0.25:
            return self.client.post("/detect", files={"image": (f"photo.{declared[6:]}", data, declared)})
        return self.client.post("/detect", content=data, headers={"Content-Type": declared})


def _wrong_in(response: Response) -> list[str]:
    if response.status_code == 200:
        answer = response.json()
        size = answer["image"]
        return [] if size["width"] > 0 and size["height"] > 0 and answer["detections"] else [f"answered {answer}"]
    problem = response.json()
    wrong = []
    if response.status_code not in (400, 413, 415, 422):
        wrong.append(f"answered {response.status_code}: {problem}")
    if response.headers["content-type"] != "application/problem+json" or problem["status"] != response.status_code:
        wrong.append(f"is no problem: {response.headers['content-type']} {problem}")
    if not all(problem[member] for member in ("title", "detail", "request_id")):
        wrong.append(f"lacks a member: {problem}")
    if len(problem["detail"]) > 300 or " at 0x" in problem["detail"] or ".py" in problem["detail"]:
        wrong.append(f"tells internals: {problem['detail'][:1000]}")
    return wrong


def _is_quiet(line: str) -> bool:
    """Whether it is a structured line and none that somebody has to look at."""
    try:
        return bool(json.loads(line)["level"] == "INFO")
    except ValueError:
        return False


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, for all temporary files from now on."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert Path(tempfile.gettempdir()) == tmp_path
    return tmp_path


def watching(
    engine: FixedEngine, capfd: pytest.CaptureFixture[str], log: io.StringIO, temporary: Path
) -> Iterator[Watch]:
    app = app_with(engine, max_pixels=MAX_PIXELS, max_bytes=MAX_BYTES)
    # not as errors, which a `try` would swallow: as a list, for all threads
    with (
        pytest.MonkeyPatch.context() as patch,
        warnings.catch_warnings(record=True) as warned,
        TestClient(app) as client,
    ):
        warnings.simplefilter("always")
        patch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # put back after `configure_pillow`
        images.configure_pillow(max_pixels=MAX_PIXELS)
        yield Watch(client, capfd, log, temporary, warned)


@pytest.fixture
def watch(capfd: pytest.CaptureFixture[str], log: io.StringIO, temporary: Path) -> Iterator[Watch]:
    yield from watching(ForgetfulEngine(), capfd, log, temporary)


def check(watch: Watch, names: Sequence[str]) -> None:
    """Upload cases and fail with all that was wrong."""
    root = logging.getLogger()
    for handler in root.handlers[1:]:  # pytest's, which would keep all lines
        root.removeHandler(handler)
    # the largest first: what they leave of the heap in use is no leak
    names = sorted(names, key=lambda name: not name.startswith("made/"))
    faults: list[str] = []
    early_mb = 0.0
    for index, name in enumerate(names):
        faults += watch.faults_of(name, corpus.build(name))
        if index == len(names) // 10:
            early_mb = resident_mb()
    grown_mb = resident_mb() - early_mb
    if grown_mb > RESIDENT_LIMIT_MB:
        faults.append(f"all: the process grew by {grown_mb:.0f} MB, the limit is {RESIDENT_LIMIT_MB}")
    assert not faults, "\n".join([f"{len(faults)} faults in {len(names)} cases", *faults[:_MOST_SHOWN]])


def resident_mb() -> float:
    """Return how much memory this process holds now; 0 where the system does not tell."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if status.exists() else 0.0


def shuffled() -> list[str]:
    names = np.array(corpus.names())
    return [str(name) for name in np.random.default_rng(11).permutation(names)]


def test_a_case_is_made_again_by_its_name() -> None:
    names = corpus.names()
    assert len(names) == len(set(names)) > 5000
    for name in shuffled()[:100]:
        first = corpus.build(name)
        image.cache_clear()
        assert corpus.build(name) == first


def test_there_are_variants_of_every_format() -> None:
    assert {variant.partition("/")[0] for variant in VARIANTS} == set(WEB_FORMATS)


@pytest.mark.parametrize("variant", VARIANTS)
def test_mutated_images_start_out_sound(watch: Watch, variant: str) -> None:
    assert watch.client.post("/detect", content=image(variant)).status_code == 200


def test_survives_hostile_uploads(watch: Watch) -> None:
    check(watch, shuffled()[:SAMPLE])


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_no_hostile_upload_does_harm(watch: Watch) -> None:
    check(watch, shuffled())


class HarmfulEngine(ForgetfulEngine):
    """Does on its thread what must not happen."""

    def __init__(self, harm: str) -> None:
        super().__init__()
        self._harm = harm

    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        match self._harm:
            case "warned":
                warnings.warn("a warning", RuntimeWarning, stacklevel=1)
            case "printed":
                os.write(2, b"a C library prints")
            case "logged":
                logging.getLogger("some.library").warning("a warning")
            case "left":
                tempfile.mkstemp()
            case "answered 500":
                raise RuntimeError
        return super().detect(images)


@pytest.mark.parametrize("harm", ["warned", "printed", "logged", "left", "answered 500"])
def test_harm_would_be_noticed(capfd: pytest.CaptureFixture[str], log: io.StringIO, temporary: Path, harm: str) -> None:
    for watch in watching(HarmfulEngine(harm), capfd, log, temporary):
        assert watch.faults_of("a", PHOTO)[0].startswith(f"a: {harm}")


def all_of_it(height: int, width: int) -> tuple[int, int]:
    return height, width


def outcome(data: bytes, boundary: bytes | None = None) -> int:
    """Decode an upload and return the status of its answer; anything but a 4xx passes through."""
    try:
        photo = decode(UploadedBody(data, boundary, LIMITS).image(), max_pixels=MAX_PIXELS, need=all_of_it)
    except ServiceError as error:
        return error.status if str(error) else 0
    assert photo.pixels.dtype == np.uint8
    assert photo.pixels.shape == (photo.height, photo.width, 3)
    return 200


sound = st.sampled_from(list(VARIANTS)).map(image)
piece = st.tuples(sound, st.integers(0, 3000), st.integers(0, 3000)).map(lambda cut: cut[0][cut[1] : cut[1] + cut[2]])
exploring = settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)


@exploring
@given(st.tuples(sound, st.integers(0, 200), st.lists(st.one_of(piece, st.binary(max_size=40)), max_size=4)))
def test_spliced_images_are_decoded_or_refused(parts: tuple[bytes, int, list[bytes]]) -> None:
    start, length, rest = parts
    assert 200 <= outcome(start[:length] + b"".join(rest)) < 500


fields = st.sampled_from(
    [
        b"--cut\r\n",
        b"--cut--\r\n",
        b"--cut--",
        b"\r\n",
        b"\r\n\r\n",
        b"--",
        b'Content-Disposition: form-data; name="image"; filename="a.jpg"\r\n',
        b"Content-Disposition: form-data; name=image; filename*=utf-8''%ff%00\r\n",
        b'Content-Disposition: form-data; name="\xff\xed\xa0\x80"\r\n',
        b'Content-Disposition: form-data; name="image\r\n',
        b"Content-Disposition: ;;;=\r\n",
        b"Content-Transfer-Encoding: \xff\r\n",
        b"Content-Type: image/jpeg; boundary=cut\r\n",
        b": \r\n",
        PHOTO,
    ]
)


@exploring
@given(st.lists(st.one_of(fields, fields, st.binary(max_size=20)), max_size=12).map(b"".join))
def test_any_form_is_taken_or_refused(body: bytes) -> None:
    assert 200 <= outcome(b"--cut\r\n" + body, b"cut") < 500


@settings(exploring, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(min_size=1, max_size=200), boundary=st.text(st.characters(max_codepoint=255), max_size=80))
def test_any_boundary_is_taken_or_refused(client: TestClient, body: bytes, boundary: str) -> None:
    declared = f"{FORM}; boundary={boundary}".encode("latin-1")
    response = client.post("/detect", content=body, headers={"Content-Type": declared})
    assert 400 <= response.status_code < 500
    assert response.json()["request_id"]
