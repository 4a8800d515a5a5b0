from collections.abc import Sequence
from pathlib import Path
from shutil import rmtree

from rendersight.detections import Detections
from tests.training.conftest import write_run
from tests.training.html_tags import tags_of_a_whole_page
from tests.training.truth import INPUT
from training.data.dataset import LabelledImages, read_dataset
from training.measuring.evaluation import evaluate
from training.measuring.measured import measure
from training.measuring.sim2real import Sim2Real
from training.reports.report_folder import write_evaluation, write_run_plots, write_sim2real


def guesses(data: LabelledImages) -> list[Detections]:
    """Return boxes shifted by 4 px, every second one of the wrong class."""
    found = []
    for image in data.images:
        labels = [label if index % 2 else 3 - label for index, label in enumerate(data.label_ids(image))]
        found.append(Detections.of(image.boxes_xyxy + 4, labels, [0.9 - 0.1 * i for i in range(len(labels))]))
    return found


def write(out: Path, data: LabelledImages, found: Sequence[Detections]) -> str:
    real = [measure(name, data, found) for name in ("desk", "table")]
    write_sim2real(
        out,
        Sim2Real.of(
            "shapes@1",
            sha256="0" * 64,
            input_rule=INPUT,
            score_threshold=0.5,
            synthetic=measure("renders", data, guesses(data)),
            real=real,
        ),
    )
    return (out / "report.md").read_text("utf-8")


def test_reports_photos_without_objects(shapes: Path, tmp_path: Path) -> None:
    data = read_dataset(shapes).select(["photo_04.png"])
    assert "not reached" in write(tmp_path, data, [Detections.of([], [], [])])
    assert len(list(tmp_path.iterdir())) == 8


PICTURES = {"precision_recall.png", "reliability.png", "confusion.png", "false_alarms.jpg", "misses.jpg"}


def test_evaluation_writes_figures_pictures_and_a_page(shapes: Path, tmp_path: Path) -> None:
    data = read_dataset(shapes)
    out = tmp_path / "out"
    write_evaluation(out, data, guesses(data), evaluate(data, guesses(data)))
    rest = {"truth.json", "detections.json", "figures.json", "hold_out.png", "report.html"}
    assert {path.name for path in out.iterdir()} == PICTURES | rest
    tags = tags_of_a_whole_page((out / "report.html").read_text("utf-8"))
    assert tags.count("img") == len(PICTURES) + 1


def report_epoch(run: Path, data: LabelledImages, found: Sequence[Detections]) -> None:
    train, hold_out = data.select([image.name for image in data.images[:7]]), data
    write_run_plots(run, hold_out, found, evaluate(hold_out, found), train=train)


def test_run_keeps_the_pictures_of_its_best_epoch(shapes: Path, tmp_path: Path) -> None:
    data = read_dataset(shapes)
    run = write_run(tmp_path / "run", aps=[0.3])
    report_epoch(run, data, guesses(data))
    best = {name: (run / "plots" / name).read_bytes() for name in (*PICTURES, "hold_out.png")}
    curves = (run / "plots" / "ap.png").read_bytes()
    for aps, is_best in (([0.3, 0.2], False), ([0.3, 0.2, 0.4], True)):
        write_run(tmp_path / "longer", aps=aps).joinpath("metrics.jsonl").replace(run / "metrics.jsonl")
        rmtree(tmp_path / "longer")
        report_epoch(run, data, [Detections.of([], [], [])] * len(data.images))
        changed = {name for name, before in best.items() if (run / "plots" / name).read_bytes() != before}
        assert changed == (best.keys() if is_best else set())
        assert (run / "plots" / "ap.png").read_bytes() != curves
        text = (run / "report.html").read_text("utf-8")
        assert f"from epoch {3 if is_best else 1}, the best so far" in text
        assert text.count("<img") == len(PICTURES) + 4
