from pathlib import Path

import pytest

from tests.training.conftest import write_run
from training.records.history import History, best_epoch
from training.records.run_folder import HOLD_OUT_LIST, METRICS, RunError


def test_a_run_tells_its_best_epoch_and_how_long_it_trained(tmp_path: Path) -> None:
    history = History.read(write_run(tmp_path / "run", aps=[0.1, 0.3, 0.3], hold_out=["x.png", "y.png"]))
    assert history.best["epoch"] == 2
    assert history.hold_out == ("x.png", "y.png")
    assert history.training_s == pytest.approx(4 + 10 + 10)
    assert history.images_per_s == pytest.approx(60 / 24)


def test_the_latest_epoch_counts_where_no_object_is_held_out() -> None:
    for unmeasured in (None, -1.0):  # older runs recorded -1
        assert best_epoch([{"epoch": 1, "AP": unmeasured}, {"epoch": 2, "AP": unmeasured}])["epoch"] == 2
    assert best_epoch([{"epoch": 1, "AP": 0.0}, {"epoch": 2, "AP": 0.0}])["epoch"] == 1


def test_rejects_run_without_finished_epoch(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="run has no finished epoch yet"):
        History.read(write_run(tmp_path / "run", aps=[]))


NO_CLASSES = '{"epoch": 1, "AP": 0.5, "threshold": 0.5, "images_per_s": 1}'


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"epoch": 1, "AP": 0.5}', '{"epoch": 1, "images_per_s": 1}', "7", NO_CLASSES]
)
def test_broken_metrics_are_named(tmp_path: Path, text: str) -> None:
    folder = write_run(tmp_path / "run")
    (folder / METRICS).write_text(text)
    with pytest.raises(RunError, match=r"metrics\.jsonl is broken"):
        History.read(folder)


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / HOLD_OUT_LIST).unlink()
    with pytest.raises(RunError, match=r"hold_out\.txt: No such file"):
        History.read(folder)
