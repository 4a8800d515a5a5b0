import sys
import time
from itertools import count
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.training.conftest import write_run
from training.records.run_folder import read_metrics
from training.reports.tensorboard import FOLDER, scalars, write_scalars


@pytest.fixture(autouse=True)
def slow_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each file begin in a second of its own: TensorBoard reads them in the order of their names."""
    seconds = count(1_700_000_000)
    monkeypatch.setattr(time, "time", lambda: float(next(seconds)))


def curves(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag -> its epochs and values, as TensorBoard reads them."""
    read = EventAccumulator(str(run / FOLDER)).Reload()
    return {tag: [(event.step, round(event.value, 4)) for event in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def test_writes_a_point_per_epoch(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", aps=[0.1, 0.3])
    for epoch in read_metrics(run):
        write_scalars(run, epoch)
    assert capfd.readouterr() == ("", "")
    found = curves(run)
    assert found["hold-out/AP"] == [(1, 0.1), (2, 0.3)]
    assert found["training/images_per_s"] == [(1, 5.0), (2, 2.0)]
    assert found["training/learning_rate"] == [(1, 0.001), (2, 0.001)]
    assert found["loss/loss"] == [(1, 0.7), (2, 0.7)]


def test_repeated_epochs_replace_earlier_ones(tmp_path: Path) -> None:
    first, again = write_run(tmp_path / "run", aps=[0.1, 0.3, 0.2]), write_run(tmp_path / "again", aps=[0.1, 0.5, 0.6])
    for epoch in (*read_metrics(first), *read_metrics(again)[1:]):
        write_scalars(first, epoch)
    assert curves(first)["hold-out/AP"] == [(1, 0.1), (2, 0.5), (3, 0.6)]


def test_skips_unmeasured_figures() -> None:
    epoch = {"epoch": 1, "AP": 0.5, "APs": None, "loss": 1.5, "loss_box_reg": 0.5, "per_class_ap": {"disc": 0.5}}
    assert dict(scalars(epoch)) == {"hold-out/AP": 0.5, "loss/loss": 1.5, "loss/box_reg": 0.5}


def test_writes_nothing_without_tensorboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    write_scalars(tmp_path, {"epoch": 1, "loss": 0.5})
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
