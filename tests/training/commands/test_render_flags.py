"""The flags that say with how many processes something is rendered."""

import argparse
import os
from pathlib import Path

import pytest

from model_store import cpu
from model_store.cpu import usable_cores
from training.commands.render_flags import add_sources, workers_of
from training.synthetic.renderer import Workers


def workers(*flags: str) -> Workers:
    parser = argparse.ArgumentParser()
    add_sources(parser)
    return workers_of(parser.parse_args(["dice", "--blender", "blender", *flags]))


def test_threads_default_to_twice_the_share_of_cores() -> None:
    assert workers("--workers", "1") == Workers(Path("blender"), 1, threads=2 * usable_cores())
    assert workers("--workers", str(10 * usable_cores())).threads == 1
    assert workers("--workers", "3", "--threads", "5") == Workers(Path("blender"), 3, threads=5)


def test_workers_follow_container_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text("400000 100000\n")  # docker run --cpus=4
    monkeypatch.setattr(cpu, "_QUOTAS", (quota,))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(64)), raising=False)
    assert workers() == Workers(Path("blender"), 2, threads=4)
