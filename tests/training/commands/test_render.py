"""Shards of a rendering, with a small program in Blender's place."""

import argparse
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.training.fake_blender import fake
from training.cli import main
from training.commands.render import Shard, shard
from training.synthetic.dataset import render_dataset
from training.synthetic.recipes import dice, plain
from training.synthetic.renderer import Workers

COUNT = 7


@pytest.mark.parametrize("total", [1, 2, 3, 7, 10])
@pytest.mark.parametrize("seeds", [range(7), range(100, 107), range(1)])
def test_shards_are_disjoint_complete_and_even(total: int, seeds: range) -> None:
    parts = [Shard(number, total).of(seeds) for number in range(1, total + 1)]
    assert sorted(seed for part in parts for seed in part) == list(seeds)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_shard_keeps_its_seeds_when_more_follow() -> None:
    assert list(Shard(2, 3).of(range(7))) == [1, 4]
    assert list(Shard(2, 3).of(range(9))) == [1, 4, 7]


def test_pictures_of_one_scene_are_in_one_shard() -> None:
    parts = [Shard(number, 2).of(range(1, 13), together=3) for number in (1, 2)]
    assert parts == [[1, 2, 6, 7, 8, 12], [3, 4, 5, 9, 10, 11]]


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "1", "1/", "/4", "a/4", "-1/4", "1/4/4", "1.0/4", "", "1/4\n"])
def test_rejects_malformed_shard(text: str) -> None:
    with pytest.raises(
        argparse.ArgumentTypeError, match=re.escape(f"{text!r} is not a shard; write i/n with i from 1 to n")
    ):
        shard(text)


def test_command_rejects_malformed_shard(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["render", "dice", "--count", "4", "--out", str(tmp_path / "x"), "--shard", "5/4"])
    assert ended.value.code == 2
    assert "--shard: '5/4' is not a shard" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "x").exists()


def render(tools: Path, out: Path, part: Shard, *, stop_after: int = COUNT) -> int:
    def progress(items: Any, *, total: int) -> Any:
        return items

    questions = iter(range(1000))
    return render_dataset(
        plain(dice),
        part.of(range(COUNT)),
        out,
        workers=Workers(fake(tools), count=1, threads=1),
        progress=progress,
        stop_asked=lambda: next(questions) >= stop_after,
    )


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one run without parts writes."""
    folder = tmp_path_factory.mktemp("renders")
    assert render(folder / "tools", folder / "whole", Shard(1, 1)) == COUNT
    return content(folder / "whole")


def test_concurrent_shards_give_the_files_of_one_run(whole: dict[str, bytes], tmp_path: Path) -> None:
    parts = [Shard(number, 3) for number in (3, 1, 2)]
    with ThreadPoolExecutor(len(parts)) as pool:
        counts = list(pool.map(lambda part: render(tmp_path / f"tools{part.number}", tmp_path / "out", part), parts))
    assert counts == [2, 3, 2]
    assert content(tmp_path / "out") == whole


def test_resumes_stopped_shard(whole: dict[str, bytes], tmp_path: Path) -> None:
    tools, out = tmp_path / "tools", tmp_path / "out"
    assert render(tools, out, Shard(1, 2), stop_after=1) == 1
    assert render(tools, out, Shard(1, 2)) == 3
    assert render(tools, out, Shard(1, 2)) == 0
    assert render(tools, out, Shard(1, 1)) == 3
    assert content(out) == whole


def test_command_reports_its_shard(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["render", "dice", "--count", "5", "--out", str(tmp_path / "out"), "--blender", str(fake(tmp_path))]
    assert main([*words, "--workers", "1", "--shard", "2/3"]) == 0
    assert f"2 images rendered, 2 in {tmp_path / 'out'} (part 2/3 of 5)" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "out").glob("*.jpg")} == {"000001.jpg", "000004.jpg"}
