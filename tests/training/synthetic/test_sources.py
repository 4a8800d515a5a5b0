"""The flags that say with how many processes something is rendered."""

import argparse
from pathlib import Path

from training.synthetic.blender import Workers
from training.synthetic.sources import add_sources, cores, workers_of


def workers(*flags: str) -> Workers:
    parser = argparse.ArgumentParser()
    add_sources(parser)
    return workers_of(parser.parse_args(["dice", "--blender", "blender", *flags]))


def test_each_process_has_twice_its_share_of_the_cores_unless_it_is_told_another() -> None:
    assert workers("--workers", "1") == Workers(Path("blender"), 1, threads=2 * cores())
    assert workers("--workers", str(10 * cores())).threads == 1
    assert workers("--workers", "3", "--threads", "5") == Workers(Path("blender"), 3, threads=5)
