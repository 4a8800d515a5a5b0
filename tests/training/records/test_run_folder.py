from pathlib import Path

import pytest

from training.records.checkpoint import BEST, LAST
from training.records.run_folder import METRICS, prepare


@pytest.mark.parametrize("resume", [False, True])
def test_prepare_removes_drafts_of_killed_runs(tmp_path: Path, *, resume: bool) -> None:
    if resume:
        (tmp_path / LAST).touch()
    before = sorted(tmp_path.iterdir())
    for name in (LAST, BEST, METRICS, "run.json", "train.txt", "hold_out.txt", "report.html"):
        (tmp_path / f".rendersight-draft-{name}").write_text("half a fi")
    prepare(tmp_path, resume=resume)
    assert sorted(tmp_path.iterdir()) == before
