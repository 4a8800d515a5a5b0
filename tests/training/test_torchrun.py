import os

import pytest

from model_store.cpu import usable_cores
from training.torchrun import Process

STARTED = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none"}


def test_single_process_without_torchrun() -> None:
    assert Process.of({}) == Process() == Process(rank=0, size=1, local_rank=0, local_size=1, launcher=None)
    assert Process().is_first
    assert Process().threads() == usable_cores()


def test_ignores_incomplete_variables() -> None:
    assert Process.of({"RANK": "1", "WORLD_SIZE": "2"}) == Process()


def test_reads_rank_and_launcher() -> None:
    process = Process.of(STARTED)
    assert (process.rank, process.size, process.local_rank, process.local_size) == (3, 4, 1, 2)
    assert not process.is_first
    assert process.threads() == max(1, usable_cores() // 2)
    assert process.launcher is not None
    assert f" {os.getppid()} " in process.launcher
    assert Process.of(STARTED) == process


@pytest.mark.parametrize(
    ("changes", "hangs"),
    [
        ({}, True),
        ({"TORCHELASTIC_MAX_RESTARTS": "0"}, False),
        ({"TORCHELASTIC_USE_AGENT_STORE": "False"}, False),  # by TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
        ({"WORLD_SIZE": "2", "RANK": "1"}, False),  # one machine
    ],
)
def test_restart_hangs_in_store_of_torchrun(changes: dict[str, str], hangs: bool) -> None:
    restarting = {**STARTED, "TORCHELASTIC_MAX_RESTARTS": "3", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    assert Process.of({**restarting, **changes}).restarts_hang is hangs


def test_other_launcher_has_no_restarts() -> None:
    process = Process.of({name: value for name, value in STARTED.items() if name != "TORCHELASTIC_RUN_ID"})
    assert (process.rank, process.launcher) == (3, None)
