import json
from pathlib import Path

import pytest

from tests.training.conftest import write_run
from training.cli import main
from training.config import TrainConfig
from training.measuring.comparison import compare
from training.records.run_folder import RunError

LARGER = TrainConfig(epochs=3, min_size=1024, learning_rate=1e-4)


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(Path("runs/mine"))
    write_run(Path("runs/larger"), aps=[0.4, 0.2], config=LARGER)


def rows(text: str) -> dict[str, list[str]]:
    """A row's name -> its cells, which two spaces or more divide."""
    cells = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()]
    return {name: rest for name, *rest in filter(None, cells)}


def test_runs_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "runs/mine", "runs/larger"]) == 0
    found = rows(capsys.readouterr().out)
    assert found["runs/mine"] == ["runs/larger"]
    names = list(found)
    assert names[names.index("what differs") + 1 : names.index("best epoch, on the hold-out images")] == [
        "min_size",
        "learning_rate",
    ]
    assert found["min_size"] == ["–", "1024"]
    assert found["mAP@[.5:.95]"] == ["0.300", "0.400"]
    assert found["score threshold there"] == ["0.450", "0.450"]
    assert found["AP of disc"] == ["0.300", "0.400"]
    assert found["AP of square"] == ["–", "–"]
    assert found["best epoch"] == ["2", "1"]
    assert found["epochs trained"] == ["3 of 3", "2 of 3"]
    assert found["images/s"] == ["2.50", "2.86"]
    assert found["time in training steps"] == ["0:00:24", "0:00:14"]


def test_equal_runs_differ_in_nothing() -> None:
    write_run(Path("again"))
    found = compare([Path("runs/mine"), Path("again")])
    assert found.differences() == {}
    assert found.warnings() == []
    assert rows(found.table())["nothing"] == []


def test_a_script_gets_all_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "runs/mine", "runs/larger", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["differences"] == {"min_size": [None, 1024], "learning_rate": [3e-4, 1e-4]}
    assert told["warnings"] == []
    first = told["runs"][0]
    assert (first["run"], first["training_s"], first["best"]["loss"], first["batch_size"]) == ("runs/mine", 24, 0.7, 4)


def test_runs_whose_figures_do_not_compare_are_named_in_pairs() -> None:
    write_run(Path("others"), hold_out=["x.png", "y.png", "z.png"])
    write_run(Path("changed"), dataset_fingerprint="1" * 64)
    write_run(Path("classes"), class_names=("disc",), dataset_fingerprint="2" * 64)
    write_run(Path("wider"), config=LARGER.model_copy(update={"box_margin": 0.1}))
    mine = Path("runs/mine")
    assert compare([mine, Path("others")]).warnings() == [
        "runs/mine and others: different images are held out: 2 are in one of them only, 1 in both"
    ]
    changed = "the datasets differ, so images of the same name may have other pixels or boxes"
    assert compare([mine, Path("changed")]).warnings() == [f"runs/mine and changed: {changed}"]
    assert compare([mine, Path("classes")]).warnings() == [f"runs/mine and classes: {changed}; the classes differ"]
    wider = compare([mine, Path("wider"), Path("runs/larger")])
    margin = "true boxes are widened by"
    assert wider.warnings() == [
        f"runs/mine and wider: {margin} 0 and by 0.1 (box_margin)",
        f"wider and runs/larger: {margin} 0.1 and by 0 (box_margin)",
    ]
    assert wider.table().endswith(f"figures are not comparable: {wider.warnings()[1]}")
    assert rows(compare([mine, Path("changed")]).table())["dataset_fingerprint"] == ["0" * 12, "1" * 12]


def test_a_changed_tree_differs_from_its_commit_also_where_it_is_cut() -> None:
    write_run(Path("clean"), commit="c" * 40)
    write_run(Path("changed"), commit="c" * 40 + "+")
    assert rows(compare([Path("clean"), Path("changed")]).table())["commit"] == ["c" * 12, "c" * 12 + "+"]
    write_run(Path("seeded"), config=LARGER.model_copy(update={"seed": 12345678901234}))
    assert "12345678901234" in compare([Path("clean"), Path("seeded")]).table()


def test_all_that_cannot_be_compared_is_told_at_once() -> None:
    write_run(Path("young"), aps=[])
    with pytest.raises(RunError) as caught:
        compare([Path("runs/mine"), Path("nowhere"), Path("young"), Path("runs/../runs/mine")])
    assert str(caught.value) == (
        "nowhere holds no run: run.json: No such file or directory; "
        "young has no finished epoch yet; "
        "runs/../runs/mine is given twice"
    )
