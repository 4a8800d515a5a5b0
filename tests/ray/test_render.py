"""Rendering as Ray tasks on two machines, with a small program instead of Blender."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cluster import BINARIES, Cluster, wait_for
from benchmarks.servers import ROOT
from deploy.ray import render
from tests.training.fake_blender import PAWN, fake
from training.cli import main as training

COUNT = 9
WHAT = [str(PAWN), "--label", "pawn", "--count", str(COUNT)]


def start(cluster: Cluster, out: Path, blender: Path, *flags: str) -> subprocess.Popen[str]:
    words = ["-m", "deploy.ray.render", *WHAT, "--out", str(out), "--blender", str(blender)]
    return subprocess.Popen(
        [BINARIES / "python", *words, "--python", sys.executable, "--address", cluster.address, *flags],
        cwd=ROOT,
        env=cluster.environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the files that one run of `training render` writes."""
    folder = tmp_path_factory.mktemp("whole")
    words = [*WHAT, "--out", str(folder / "out"), "--blender", str(fake(folder)), "--workers", "1"]
    assert training(["render", *words]) == 0
    return content(folder / "out")


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_parts_make_files_of_one_run(machines: Cluster, whole: dict[str, bytes], tmp_path: Path) -> None:
    broken = fake(tmp_path / "broken", behaviour="assert spec['seed'] != 4")
    process = start(machines, tmp_path / "out", broken, "--parts", "2")
    said = process.communicate(timeout=200)[1].splitlines()
    assert process.returncode == 1, said
    assert said[0] == "2 parts, 2 at a time on 1 cores each"
    assert re.fullmatch(r"part 2 of 2: .*000001-2.*", said[1])
    assert said[2:] == ["rendered 1 of 2 parts; repeat the command to continue"]
    assert content(tmp_path / "out") == {name: data for name, data in whole.items() if not name.startswith("000001-2")}
    process = start(machines, tmp_path / "out", fake(tmp_path / "whole"), "--parts", "3")
    said = process.communicate(timeout=200)[1].splitlines()
    assert process.returncode == 0, said
    assert said[-1] == "rendered 3 of 3 parts"
    assert content(tmp_path / "out") == whole


@pytest.mark.ray
@pytest.mark.timeout(300)
@pytest.mark.long
def test_finishes_after_lost_machine(machines: Cluster, whole: dict[str, bytes], tmp_path: Path) -> None:
    slow = fake(tmp_path / "slow", behaviour="import time; time.sleep(1)")
    process = start(machines, tmp_path / "out", slow, "--parts", "2")
    wait_for(lambda: process.poll() is not None or len(list((tmp_path / "out").glob("*.jpg"))) > 1, "two pictures")
    machines.nodes[-1].kill()
    said = process.communicate(timeout=200)[1]
    assert process.returncode == 0, said
    assert "rendered 2 of 2 parts" in said
    found = content(tmp_path / "out")
    assert {name: found.get(name) for name in whole} == whole


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "required: "),
        (["dice", "--count", "4", "--out", "renders", "--cont", "3"], "unrecognized arguments: --cont 3"),
        (["dice", "--count", "none", "--out", "renders"], "argument --count"),
    ],
)
def test_rejects_bad_input_before_connecting(words: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        render.main(words)
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--shard=1/2", "--workers", "--threads"])
def test_refuses_flags_that_it_sets_itself(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert render.main(["dice", "--count", "4", "--out", "renders", flag, "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"python -m deploy.ray.render: {flag} is not accepted; --parts and --cores set it"
