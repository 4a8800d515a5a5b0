"""The verb `adapt`: what it prints, and what it refuses before it writes anything."""

import json
import shutil
from pathlib import Path

import pytest

from model_store import store
from training.cli import main


@pytest.fixture
def command(
    store_of_discs: Path,
    adapt_preset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> list[str]:
    """The verb with flags for a tiny network, in an empty folder; the store lies beside it."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    shutil.copytree(store_of_discs, tmp_path / "store")
    return ["adapt", "discs", "--preset", str(adapt_preset), "--store", str(tmp_path / "store"), "--device", "cpu"]


@pytest.mark.long
def test_prints_the_verdict_and_repeats_it(
    command: list[str],
    hall: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [*command, "--photos", str(hall), "--json"]
    assert main(words) == 0
    first = capsys.readouterr()
    told = json.loads(first.out)
    assert told["verdict"] in first.err
    assert (told["outcome"], told["release"]) in (("worse", None), ("cannot tell", "discs-our-hall@1"))
    assert (tmp_path / "here/runs/adapt/discs-our-hall/report/report.html").is_file()
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out) == told
    assert store.versions(tmp_path / "store", "discs") == [1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--photos", "nowhere"], "--photos nowhere is not a folder"),
        (["--photos", "EMPTY"], "no images in"),
        (["--photos", "ONE"], "has 1 photo, of which 1 can be read and look different; accepted: at least 5"),
        (["--photos", "PLACE", "--name", "discs"], "has a release discs already; choose another name with --name"),
        (["--photos", "PLACE", "--name", "Our Hall"], "'Our Hall' cannot name a release"),
        (["--photos", "PLACE", "--labelled", "EMPTY"], "holds no"),
        (["--photos", "PLACE", "--labelled", "nowhere"], "nowhere is not a"),
        (["--photos", "PLACE", "--renders", "nowhere"], "nowhere is not a"),
        (["--photos", "PLACE", "--preset", "none-such"], "preset 'none-such' is unknown"),
        (["--photos", "PLACE", "--out", "ONE"], "holds other files than those of `adapt`"),
        (["--photos", "PLACE", "--device", "cuda:99"], "cuda:99"),
    ],
)
def test_rejects_bad_input_before_writing_anything(
    words: list[str],
    message: str,
    *,
    command: list[str],
    hall: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"PLACE": hall, "EMPTY": tmp_path / "empty", "ONE": tmp_path / "one"}
    for folder in (tmp_path / "empty", tmp_path / "one"):
        folder.mkdir()
    shutil.copy(hall / "photo_00.png", tmp_path / "one")
    assert main([*command, *(str(places.get(word, word)) for word in words)]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert list((tmp_path / "here").iterdir()) == []


def test_rejects_release_that_is_missing(
    command: list[str],
    hall: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["adapt", "rings", *command[2:], "--photos", str(hall)]) == 2
    assert "no release 'rings' in" in capsys.readouterr().err


def test_rejects_state_dict(
    command: list[str],
    hall: Path,
    discs: object,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    weights = tmp_path / "store" / "discs" / "1" / "model.pt"
    assert main(["adapt", str(weights), *command[2:], "--photos", str(hall)]) == 2
    assert "is a state dict; accepted: a release" in capsys.readouterr().err
