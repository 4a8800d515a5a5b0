"""The command for a machine with a GPU, on the CPU at small size."""

import io
import re
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from benchmarks.cuda import __main__ as cuda

ROOT = Path(__file__).parents[3]
SMALL = ("--device", "cpu", "--precision", "fp32-ieee", "--repeats", "1", "--concurrency", "4", "--seconds", "0.1")
ELSEWHERE = ("openvino", "cv2", "fastapi", "starlette", "pydantic_settings", "pycocotools", "nncf", "httpx", "tqdm")
"""Packages of the project's environment that `benchmarks.cuda` does not need."""

Tables = dict[str, list[list[str]]]


def tables_in(text: str) -> Tables:
    """Return the first word of each table's heading -> its rows without the head."""
    found = {}
    for heading, body in re.findall(r"^### (\w+).*\n\n((?:\|.*\n)+)", text, re.MULTILINE):
        head, _, *rows = ([cell.strip() for cell in line.strip("|").split(" | ")] for line in body.splitlines())
        assert {len(row) for row in rows} == {len(head)}
        found[heading] = rows
    return found


def run(words: Sequence[str]) -> tuple[int, str]:
    with redirect_stdout(io.StringIO()) as printed:
        status = cuda.main(words)
    return status, printed.getvalue()


@pytest.fixture(scope="module")
def tables(one_thread: None, tiny_store: Path) -> Tables:
    """Return the tables that one run prints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model_store.engines.torch.usable_cores", lambda: 1)  # several times faster on shared cores
        status, printed = run([*SMALL, "--model", str(tiny_store / "tiny" / "1"), "--batches", "1", "3"])
    assert status == 0, printed
    return tables_in(printed)


def columns(rows: Sequence[Sequence[str]], *numbers: int) -> list[tuple[str, ...]]:
    return [tuple(row[number] for number in numbers) for row in rows]


def test_prints_rows_of_each_section(tables: Tables) -> None:
    assert list(tables) == ["Machine", "Start", "Parity", "Batches", "Waiting"]
    assert {row[0] for row in tables["Machine"]} >= {"device", "processor", "versions"}
    assert columns(tables["Start"], 0, 1, 3) == [("tiny@1", "fp32-ieee", "ready")]
    assert columns(tables["Batches"], 0, 2) == [("tiny@1", "1"), ("tiny@1", "3")]
    assert columns(tables["Waiting"], 2) == [("single, as served",), ("batched, up to 3",)]


def test_cpu_engine_has_parity(tables: Tables) -> None:
    assert columns(tables["Parity"], 2, -1) == [("1", "within"), ("5", "within")]
    for objects, again, new, _, score, _, box_px in columns(tables["Parity"], 3, 4, 5, 6, 7, 8, 9):
        assert int(objects) == int(again) > 20
        assert int(new) == 0
        assert 0 < float(score) < 1e-3
        assert 0 < float(box_px) < 0.05


def test_waiting_requests_become_batches(tables: Tables) -> None:
    (single, batched) = tables["Waiting"]
    assert float(single[-1]) == 1
    assert 1 < float(batched[-1]) <= 3


def test_leaves_out_rows_beyond_budget(tiny_store: Path) -> None:
    status, printed = run([*SMALL, "--model", str(tiny_store / "tiny" / "1"), "--budget", "0"])
    assert status == 0
    rows = re.findall(r"^\|.*left out: the budget of 0 s is used up \|$", printed, re.MULTILINE)
    assert len(rows) > 10
    assert f"\n{len(rows)} rows were left out" in printed


def test_names_missing_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert cuda.main(["--device", "cuda:999"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"device 'cuda:999' is not available: this machine has \d+ CUDA devices; .*\n", err)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_runs_with_few_packages() -> None:
    """Run it with only torch, torchvision, NumPy, Pillow and pydantic."""
    words = [*SMALL, "--model", cuda.SEEDED, "--min-size", "160", "--batches", "1", "--budget", "500"]
    program = f"""
import runpy, sys
from importlib.machinery import PathFinder
class Blocked:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return None if name.split(".")[0] in {ELSEWHERE!r} else PathFinder.find_spec(name, path, target)
sys.meta_path = [finder for finder in sys.meta_path if finder is not PathFinder] + [Blocked]
sys.argv[1:] = {words!r}
runpy.run_module("benchmarks.cuda", run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    printed = tables_in(done.stdout)
    assert columns(printed["Start"], 0, 3) == [(cuda.SEEDED, "ready")]
    assert columns(printed["Parity"], 2, -1) == [("1", "within"), ("5", "within")]
    assert columns(printed["Batches"], 0, 2) == [(cuda.SEEDED, "1")]
