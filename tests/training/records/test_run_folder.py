import json
from pathlib import Path

import pytest

from rendersight.annotations import ReadOptions
from training.config import TrainConfig
from training.records.checkpoint import BEST, LAST
from training.records.run_folder import METRICS, RUN, RunRecord, prepare


@pytest.mark.parametrize("resume", [False, True])
def test_prepare_removes_drafts_of_killed_runs(tmp_path: Path, *, resume: bool) -> None:
    if resume:
        (tmp_path / LAST).touch()
    before = sorted(tmp_path.iterdir())
    for name in (LAST, BEST, METRICS, "run.json", "train.txt", "hold_out.txt", "report.html"):
        (tmp_path / f".rendersight-draft-{name}").write_text("half a fi")
    prepare(tmp_path, resume=resume)
    assert sorted(tmp_path.iterdir()) == before


def test_record_keeps_how_the_dataset_is_read(tmp_path: Path) -> None:
    reading = ReadOptions("yolo", ("nut", "bolt"), negatives=True, pixel_origin=0, with_difficult=True)
    record = RunRecord("PHOTOS", "0" * 64, ("nut",), TrainConfig(), None, {}, "random weights", None, reading)
    record.write(tmp_path)
    assert RunRecord.read(tmp_path) == record
    content = json.loads((tmp_path / RUN).read_text())
    del content["reading"]
    (tmp_path / RUN).write_text(json.dumps({**content, "dataset_format": "voc"}))  # as older runs have it
    assert RunRecord.read(tmp_path).reading == ReadOptions("voc", negatives=True)
