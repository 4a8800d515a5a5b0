"""The verb `detect`, called as the console script calls it, against a server on a loopback port."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from rendersight import cli
from rendersight.cli import main
from tests.app.fakes import PHOTO, FixedEngine, app_with
from tests.app.wire import free_port, serving
from tests.rendersight.client.scripted import FOUND, answers, problem, scripted
from tests.terminal import run_on_a_terminal

ROOT = Path(cli.__file__).parents[1]

TABLE = """{photo}  60 x 45 px, 2 objects above 0.6
  apple  0.950       0.0      0.0     10.0     10.0
  pear   0.800       1.0      2.0     30.0     40.0
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(app_with(FixedEngine())) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photos" / "a.jpg"
    path.parent.mkdir()
    path.write_bytes(PHOTO)
    return path


def test_prints_table(url: str, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detect", str(photo), "--url", url]) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == (TABLE.format(photo=photo), "")


def test_flags_become_parameters(photo: Path) -> None:
    with scripted(answers(200, FOUND)) as server:
        flags = ["--score-threshold", "0.5", "--labels", "apple, pear", "--iou-threshold", "0.4", "--class-agnostic"]
        assert (
            main(["detect", str(photo), "--url", server.url, *flags, "--max-detections", "9", "--tiles", "auto"]) == 0
        )
        assert server.paths == [
            "/detect?score_threshold=0.5&labels=apple&labels=pear&iou_threshold=0.4&class_agnostic=true&max_detections=9"
            "&tiles=auto"
        ]


def test_prints_one_json_line_per_photo(url: str, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = photo.with_name("b.png")
    broken.write_bytes(b"no image")
    twin = photo.with_suffix(".jpeg")
    twin.write_bytes(PHOTO)
    assert main(["detect", str(photo.parent), "--url", url, "--json"]) == 2
    shown = capsys.readouterr()
    first, second, third = (json.loads(line) for line in shown.out.splitlines())
    assert [line["index"] for line in (first, second, third)] == [0, 1, 2]
    assert [line["filename"] for line in (first, second, third)] == [str(twin), str(photo), str(broken)]
    assert first["result"] == second["result"]
    assert first["result"]["detections"][0] == {"label": "apple", "label_id": 1, "score": 0.95, "box": [0, 0, 10, 10]}
    assert third["problem"]["status"] == 415
    assert shown.err.splitlines()[-1] == "rendersight: 1 of 3 photos could not be used"
    assert f"rendersight: {broken}: 415 Unknown image format: " in shown.err


def test_writes_pictures_into_folder(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep" / "out"
    with scripted(answers(200, b"\x89PNG", media_type="image/png")) as server:
        assert main(["detect", str(photo), "--url", server.url, "--format", "png", "--out", str(out)]) == 0
        assert server.paths == ["/detect?format=png"]
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {"a.png": b"\x89PNG"}
    assert capsys.readouterr().out == ""


def test_labelme_file_points_to_its_photo(photo: Path, tmp_path: Path) -> None:
    document = {"version": "5.5.0", "shapes": [], "imagePath": "a.jpg", "imageHeight": 45, "imageWidth": 60}
    out = tmp_path / "labelme"
    with scripted(answers(200, document, media_type="application/vnd.rendersight.labelme+json")) as server:
        assert main(["detect", str(photo), "--url", server.url, "--format", "labelme", "--out", str(out)]) == 0
    written = json.loads((out / "a.json").read_text())
    assert written == {**document, "imagePath": "../photos/a.jpg"}


def test_never_replaces_photo(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with scripted(answers(200, b"\xff\xd8", media_type="image/jpeg")) as server:
        words = ["detect", str(photo), "--url", server.url, "--format", "jpeg", "--out", str(photo.parent)]
        assert main(words) == 2
    assert f"would replace the photo {photo}; take another folder" in capsys.readouterr().err
    assert photo.read_bytes() == PHOTO
    assert list(photo.parent.iterdir()) == [photo]


def test_reads_key_from_file(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "key"
    key.write_text("rs_secret\n")
    with scripted(answers(200, FOUND), problem(401, "unauthorized")) as server:
        words = ["detect", str(photo), "--url", server.url, "--api-key-file", str(key)]
        assert main(words) == 0
        assert server.headers[0]["authorization"] == "Bearer rs_secret"
        assert main(words) == 2
    assert "401 unauthorized: so it is" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message", "status"),
    [
        (["PHOTO", "--labels", "pare"], "no such class: 'pare'; accepted: apple, pear, plum", 2),
        (["PHOTO", "--out", "x"], "--format and --out belong together", 2),
        (["PHOTO", "--format", "csv"], "--format and --out belong together", 2),
        (["nowhere.jpg"], "nowhere.jpg is neither a file nor a folder", 2),
        (["PHOTO", "--api-key-file", "none"], "--api-key-file none: No such file or directory", 2),
        (["PHOTO", "--url", "localhost"], "base_url='localhost' is not accepted", 2),
        (["PHOTO", "--timeout", "0"], "timeout_s=0.0 is not accepted", 2),
        (["PHOTO", "--url", "NOBODY", "--timeout", "0.5"], "no connection to http://127.0.0.1:", 1),
        (["PHOTO", "--url", "URL/elsewhere"], "404 Not Found", 1),
    ],
)
def test_errors_are_one_line(
    flags: list[str],
    message: str,
    status: int,
    *,
    url: str,
    photo: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(photo.parent)
    places = {"PHOTO": str(photo), "NOBODY": f"http://127.0.0.1:{free_port()}", "URL/elsewhere": f"{url}/elsewhere"}
    assert main(["detect", "--url", url, *(places.get(flag, flag) for flag in flags)]) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert shown.err.startswith("rendersight: ")
    assert message in shown.err
    assert list(photo.parent.iterdir()) == [photo]


@pytest.mark.parametrize(
    "flags", [["--json", "--format", "png"], ["--score-threshold", "2"], ["--max-detections", "0"]]
)
def test_rejects_flag_out_of_range(flags: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["detect", "photo.jpg", *flags])
    assert ended.value.code == 2


def test_shows_progress_on_terminal(url: str, tmp_path: Path) -> None:
    for number in range(30):
        Image.new("RGB", (60, 45), (number, 0, 0)).save(tmp_path / f"{number}.png")
    command = [sys.executable, "-m", "rendersight", "detect", str(tmp_path), "--url", url, "--concurrency", "1"]
    status, out, seen = run_on_a_terminal(command, ROOT)
    assert status == 0
    assert out.count("2 objects above") == 30
    assert "photos:" in seen
    assert "/30 [" in seen


def test_ends_silently_when_output_is_closed(url: str, tmp_path: Path) -> None:
    for number in range(200):
        Image.new("RGB", (60, 45), (number, 0, 0)).save(tmp_path / f"{number}.png")
    command = [sys.executable, "-m", "rendersight", "detect", str(tmp_path), "--url", url]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        assert running.stderr.read() == ""
    assert running.returncode == 141


def test_counts_objects_in_words(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, none = {**FOUND, "detections": FOUND["detections"][:1]}, {**FOUND, "detections": []}
    with scripted(answers(200, one), answers(200, none)) as server:
        words = ["detect", str(photo), "--url", server.url]
        assert [main(words), main(words)] == [0, 0]
    lines = capsys.readouterr().out.splitlines()
    assert [lines[0], lines[2]] == [
        f"{photo}  60 x 45 px, {count} above 0.6, 4 tiles" for count in ("1 object", "0 objects")
    ]
