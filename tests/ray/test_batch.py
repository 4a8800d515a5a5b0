"""The batch job in Ray's environment: its output, and how it recovers from failures."""

import contextlib
import functools
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.main import create_app
from app.settings import Settings
from benchmarks.cluster import BINARIES, Cluster, wait_for
from benchmarks.servers import ROOT
from deploy.ray import batch
from model_store import store

MODEL = "dice@6"
EXAMPLES = sorted((ROOT / "examples").glob("*.jpg"))

_READ = "import json, sys, pyarrow.dataset as d; print(json.dumps(d.dataset(sys.argv[1]).to_table().to_pylist()))"


def start(*arguments: object, on: Cluster | None) -> subprocess.Popen[str]:
    address = "local" if on is None else on.address
    words = [str(BINARIES / "python"), "-m", "deploy.ray.batch", "--address", address, *map(str, arguments)]
    environment = os.environ if on is None else on.environment
    return subprocess.Popen(words, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


def run(*arguments: object, on: Cluster | None, status: int = 0) -> str:
    """Run a job on a given cluster or its own, and return its stderr."""
    process = start(*arguments, on=on)
    said = process.communicate(timeout=200)[1]
    assert process.returncode == status, said
    return said


def rows_in(out: Path) -> list[dict[str, Any]]:
    """Return the folder's rows, read as one table."""
    done = subprocess.run([BINARIES / "python", "-c", _READ, out], capture_output=True, text=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def paths_in(out: Path) -> list[str]:
    return sorted(row["path"] for row in rows_in(out))


def copies(folder: Path, count: int) -> list[str]:
    """Write `count` photos and return their paths."""
    folder.mkdir()
    for number in range(count):
        shutil.copy(EXAMPLES[number % len(EXAMPLES)], folder / f"{number:04}.jpg")
    return sorted(map(str, folder.iterdir()))


def files_in(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for path in EXAMPLES:
        shutil.copy(path, folder / path.name)
    below = folder / "below"
    below.mkdir()
    with Image.open(EXAMPLES[0]) as image:
        turned = Image.Exif()
        turned[0x0112] = 6
        image.convert("L").save(below / "grey.png")
        image.save(below / "turned.jpg", exif=turned)
        image.resize((3000, 2250)).save(below / "large.jpg")
        image.save(below / "portable.ppm")
    Image.new("RGB", (64, 48)).save(below / "empty.webp")
    data = EXAMPLES[1].read_bytes()
    (below / "cut.jpg").write_bytes(data[: len(data) // 2])
    (below / "text.jpg").write_text("no image")
    (below / "notes.txt").write_text("no image either")
    return folder


@pytest.fixture(scope="module")
def written(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return the folder of predictions and the job's stderr."""
    out = tmp_path_factory.mktemp("out") / "predictions"
    return out, run(photos.as_uri(), os.path.relpath(out, ROOT), "--model", MODEL, on=None)


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_rows_match_service(photos: Path, written: tuple[Path, str]) -> None:
    rows = {row["path"]: row for row in rows_in(written[0])}
    assert sorted(rows) == sorted(str(path) for path in photos.rglob("*") if path.is_file() and path.suffix != ".txt")
    objects = 0
    with TestClient(create_app(Settings(model=MODEL, device="cpu"))) as client:
        for path, row in rows.items():
            if Path(path).suffix == ".ppm":  # the service does not accept this format
                assert row["boxes"]
                continue
            answer = client.post("/detect", files={"image": Path(path).read_bytes()})
            if row["error"] is not None:
                assert answer.status_code in (415, 422)
                assert [row[name] for name in ("width", "height", "boxes", "labels", "label_ids", "scores")] == [
                    None
                ] * 6
                continue
            result = answer.json()
            assert (row["width"], row["height"]) == (result["image"]["width"], result["image"]["height"])
            found = [
                {
                    "label": label,
                    "label_id": label_id,
                    "score": pytest.approx(score, abs=2e-4),
                    "box": pytest.approx(box, abs=0.02),
                }
                for label, label_id, score, box in zip(
                    row["labels"], row["label_ids"], row["scores"], row["boxes"], strict=True
                )
            ]
            assert result["detections"] == found, path
            assert (row["model"], row["version"]) == ("dice", "6")
            objects += len(found)
    assert objects > 50
    errors = {Path(path).name: row["error"] for path, row in rows.items() if row["error"] is not None}
    assert errors.pop("text.jpg") == "not an image that Pillow reads"
    assert errors.pop("cut.jpg").startswith("the image does not decode")
    assert errors == {}
    assert rows[str(photos / "below" / "empty.webp")]["boxes"] == []


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_prints_progress_and_totals(written: tuple[Path, str]) -> None:
    first, second, *_, last = written[1].splitlines()  # a slow machine prints progress in between
    assert re.fullmatch(r"12 images, 12 to predict with dice@6 \(\w{8}\) above 0\.\d+, up to 50000000 px", first)
    assert re.fullmatch(r"actors: 1, of \d+ cores each, computing on cpu", second)
    assert re.fullmatch(r"12 images predicted, \d+ objects, 2 of 12 images in \S+ with an error", last)


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_repeated_job_skips_finished_photos(photos: Path, written: tuple[Path, str]) -> None:
    before = files_in(written[0])
    said = run(photos, written[0], "--model", MODEL, on=None)
    assert "12 images, 0 to predict" in said
    assert "2 of 12 images" in said
    assert files_in(written[0]) == before


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_continues_after_kill(machines: Cluster, tmp_path: Path) -> None:
    names = copies(tmp_path / "photos", 128)
    out = tmp_path / "out"
    process = start(tmp_path / "photos", out, on=machines)
    wait_for(lambda: process.poll() is not None or files_in(out), "the first file")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_for(lambda: not _actors(), "the end of its processes", within_s=30)
    before = files_in(out)
    assert 0 < len(before) < 8
    kept = paths_in(out)
    (out / "part-0.parquet").write_bytes(
        (out / next(iter(before))).read_bytes()[:-100]
    )  # truncated, as after a power cut
    (out / "_0.draft").write_bytes(b"half")
    said = run(tmp_path / "photos", out, on=machines)
    assert f"128 images, {128 - len(kept)} to predict" in said
    assert "part-0.parquet is incomplete: its images are predicted again" in said
    assert paths_in(out) == names  # none missing, none twice
    after = files_in(out)
    assert {name: after[name] for name in before} == before
    assert sorted(path.name for path in out.iterdir()) == sorted([*after, "_job.json"])


def _actors() -> list[str]:
    """Return the pids of a job's live actors; Ray's own processes end with them."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"ray::MapWorker" in (path / "cmdline").read_bytes():
                found.append(path.name)
    return found


class _Site(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and answers 503 for one file while `fails` is set."""

    fails = True

    def do_GET(self) -> None:
        if self.path.endswith("dice-2.jpg") and self.fails:
            self.send_error(503)
        else:
            super().do_GET()

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def site(photos: Path) -> Iterator[str]:
    handler = functools.partial(_Site, directory=str(photos))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_retries_unread_url_in_next_run(
    site: str, machines: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = run(f"{site}/", tmp_path / "out", "--model", MODEL, on=machines, status=1)
    assert f"{site}/dice-2.jpg: 503" in said
    assert "1 not read: repeat the command to try them again" in said
    assert len(paths_in(tmp_path / "out")) == 11
    monkeypatch.setattr(_Site, "fails", False)
    assert "12 images, 1 to predict" in run(f"{site}/", tmp_path / "out", "--model", MODEL, on=machines)
    found = paths_in(tmp_path / "out")
    assert len(found) == len(set(found)) == 12
    assert f"{site}/below/grey.png" in found


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_reports_unloadable_model_in_one_line(photos: Path, machines: Cluster, tmp_path: Path) -> None:
    shutil.copytree(store.DEFAULT_ROOT / "dice" / "6", tmp_path / "store" / "dice" / "6")
    (tmp_path / "store" / "dice" / "6" / "model.pt").write_bytes(b"changed")
    said = run(photos, tmp_path / "out", "--store", tmp_path / "store", on=machines, status=1)
    assert len(said.splitlines()) == 3
    assert "model.pt: sha256 is" in said.splitlines()[-1]


@pytest.mark.ray
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--address", "127.0.0.1:9"], "no cluster at 127.0.0.1:9: "),
        (["--address", "ray://127.0.0.1:9"], "accepted: HOST:PORT, auto, local"),
        (["--cores", "2"], "no machine of the cluster has 2 cores for an actor"),
        (["--num-gpus", "1"], "no machine of the cluster has 1 cores and 1 GPUs for an actor"),
    ],
)
def test_refuses_unusable_cluster(
    photos: Path, machines: Cluster, tmp_path: Path, flags: list[str], reason: str
) -> None:
    said = run(photos, tmp_path / "out", *flags, on=machines, status=2)
    assert reason in said.splitlines()[-1]
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_refuses_port_without_ray(site: str, photos: Path, machines: Cluster, tmp_path: Path) -> None:
    port = site.removeprefix("http://")
    said = run(photos, tmp_path / "out", "--address", port, on=machines, status=2)
    assert re.search(rf"no cluster at {port}: .+; the default port of a head is 6379$", said.splitlines()[-1])


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_names_wrong_token(photos: Path, machines: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(machines.environment, "RAY_AUTH_TOKEN", "0" * 64)
    said = run(photos, tmp_path / "out", on=machines, status=2)
    assert "Authentication token is missing or incorrect" in said.splitlines()[-1]


@pytest.mark.ray
@pytest.mark.timeout(300)
@pytest.mark.long
def test_reports_missing_gpu(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_OVERRIDE_RESOURCES", json.dumps({"GPU": 1}))  # makes Ray count one GPU on any machine
    said = run(photos, tmp_path / "out", "--num-gpus", "1", on=None, status=1).splitlines()
    assert re.fullmatch(r"actors: 1, of \d+ cores each, computing on cuda", said[1])
    assert "device 'cuda' is not available" in said[2]


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_skips_names_that_are_not_utf8(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(12):
        (folder / os.fsdecode(b"%02d-\xff.jpg" % number)).touch()
    said = run(folder, tmp_path / "out", on=None, status=1).splitlines()
    assert said[0].startswith("12 images, 0 to predict")
    assert said[1].endswith("/photos/00-\\udcff.jpg': its name is not UTF-8")
    assert said[11] == "and 2 more"
    assert said[12].startswith("0 images predicted, 0 objects, 0 of 0 images in ")


@pytest.mark.ray
@pytest.mark.timeout(300)
@pytest.mark.parametrize("spoil", ["a page", "a column"])
def test_names_unreadable_file(written: tuple[Path, str], photos: Path, tmp_path: Path, spoil: str) -> None:
    out = tmp_path / "out"
    shutil.copytree(written[0], out)
    (part, *_) = sorted(out.glob("*.parquet"))
    if spoil == "a page":
        data = bytearray(part.read_bytes())
        data[4:600] = bytes(596)
        part.write_bytes(data)
    else:
        code = "import sys, pyarrow as pa, pyarrow.parquet as p; p.write_table(pa.table({'error': ['x']}), sys.argv[1])"
        subprocess.run([BINARIES / "python", "-c", code, part], check=True)
    (line,) = run(photos, out, "--model", MODEL, on=None, status=2).splitlines()
    assert part.name in line
    assert line.endswith("; delete the file to predict its images again")


@pytest.mark.ray
@pytest.mark.timeout(300)
@pytest.mark.long
def test_finishes_after_lost_machine(machines: Cluster, tmp_path: Path) -> None:
    names = copies(tmp_path / "photos", 96)
    out = tmp_path / "out"
    process = start(tmp_path / "photos", out, on=machines)
    wait_for(lambda: process.poll() is not None or files_in(out), "the first file")
    machines.nodes[-1].kill()
    said = process.communicate(timeout=200)[1]
    assert process.returncode == 0, said
    assert "actors: 2, of 1 cores each" in said
    assert paths_in(out) == names


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["{photos}", "{photos}"], "is the folder of the photos"),
        (["{photos}/missing", "{out}"], "no such folder"),
        (["{out}/..", "{out}", "--model", "fruit"], "no release 'fruit'"),
        (["{photos}", "{out}", "--model", "{state}"], "is a bare state dict; accepted: a release"),
        (["s3://bucket/photos", "{out}"], "Install s3fs to access S3"),
        (["{photos}", "gs://bucket/out"], "gcsfs"),
        (["{photos}", "{photos}/.."], "but no _job.json"),
        (["", "{out}"], "the name of a folder is empty"),
    ],
)
def test_rejects_bad_input_in_one_line(
    arguments: list[str], reason: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    (photos.parent / "something").touch()
    state = store.DEFAULT_ROOT / "dice" / "6" / "model.pt"
    assert batch.main([word.format(photos=photos, out=out, state=state) for word in arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("python -m deploy.ray.batch: ")
    assert reason in line
    assert not out.exists()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--score-threshold", "2"], "2 is not between 0 and 1"),
        (["--actors", "0"], "0 is not a whole number above 0"),
        (["--num-gpus", "-1"], "-1 is not a number of at least 0"),
        (["--num-gpus", "one"], "one is not a number of at least 0"),
        (["--max-pixels", "many"], "invalid positive value: 'many'"),
    ],
)
def test_rejects_bad_flags(flags: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        batch.main(["photos", "out", *flags])
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


def test_follow_prints_lines_without_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    parts = [
        {"images": 3, "errors": 1, "objects": 5, "unread": []},
        {"images": 2, "errors": 0, "objects": 1, "unread": ["photo: gone"]},
    ]
    summary = batch.Summary()
    batch.follow(parts, 6, summary, tell_s=0)
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"3 of 6 images, \d+\.\d a second", first)
    assert second.startswith("5 of 6 images")
    assert summary == batch.Summary(images=5, errors=1, objects=6, unread=["photo: gone"])
    batch.follow(parts, 6, summary)
    assert capsys.readouterr().err == ""


def test_names_missing_package(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert batch.main([str(photos), str(tmp_path / "out")]) == 2
    assert "the package pyarrow is not installed; run `make ray-env`" in capsys.readouterr().err
