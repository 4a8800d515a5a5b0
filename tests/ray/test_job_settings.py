from pathlib import Path

import pytest

from deploy.ray.errors import JobError
from deploy.ray.job_settings import FILE, JobSettings, parts_of
from deploy.ray.storage import Storage
from tests.app.fakes import CARD

JOB = JobSettings.of(CARD, score_threshold=None, max_pixels=1000)


def test_threshold_defaults_to_model() -> None:
    assert JOB.score_threshold == CARD.score_threshold
    assert JobSettings.of(CARD, score_threshold=0.3, max_pixels=1).score_threshold == 0.3
    assert JobSettings.of(CARD, score_threshold=0, max_pixels=1).score_threshold == CARD.score_floor
    assert (JOB.model, JOB.version) == ("fruit", "3")


def test_claims_folder(tmp_path: Path) -> None:
    out = Storage(str(tmp_path / "out"))
    assert not JOB.check(out)
    assert out.names() == []
    JOB.claim(out)
    assert out.names() == [FILE]
    assert JOB.check(out)


@pytest.mark.parametrize(("threshold", "pixels", "version"), [(0.61, 1000, "3"), (0.6, 1001, "3"), (0.6, 1000, "4")])
def test_refuses_folder_of_other_settings(threshold: float, pixels: int, version: str, tmp_path: Path) -> None:
    out = Storage(str(tmp_path))
    JOB.claim(out)
    other = JobSettings(JOB.model, version, JOB.sha256, threshold, pixels)
    with pytest.raises(JobError, match="choose another folder") as caught:
        other.check(out)
    assert str(JOB) in str(caught.value)
    assert str(other) in str(caught.value)


def test_refuses_folder_of_other_weights(tmp_path: Path) -> None:
    out = Storage(str(tmp_path))
    JOB.claim(out)
    other = JobSettings(JOB.model, JOB.version, "cd" * 32, JOB.score_threshold, JOB.max_pixels)
    with pytest.raises(JobError, match=r"fruit@3 \(abababab\).*fruit@3 \(cdcdcdcd\)"):
        other.check(out)


def test_refuses_folder_with_other_files(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_text("")
    with pytest.raises(JobError, match=r"holiday.jpg but no _job.json"):
        JOB.check(Storage(str(tmp_path)))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "model": "fruit"}', "\xff"])
def test_names_broken_job_file(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text, "latin-1")
    with pytest.raises(JobError, match=f"{tmp_path}/{FILE} is not a job file of format 1"):
        JOB.check(Storage(str(tmp_path)))


@pytest.mark.parametrize(
    ("count", "actors", "sizes"),
    [
        (1, 1, [1]),
        (16, 1, [16]),
        (17, 3, [16, 1]),
        (160, 1, [40] * 4),
        (4001, 1, [1000] * 4 + [1]),
        (4001, 4, [251] * 15 + [236]),
    ],
)
def test_parts_keep_all_actors_busy(count: int, actors: int, sizes: list[int]) -> None:
    photos = [str(number) for number in range(count)]
    parts = list(parts_of(photos, actors=actors))
    assert [len(part) for part in parts] == sizes
    assert [photo for part in parts for photo in part] == photos
