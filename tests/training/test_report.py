import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from rendersight.detections import Detections
from training.dataset import LabelledImages, read_dataset
from training.domain import measure
from training.report import write_sim2real
from training.sim2real import Sim2Real


def guesses(data: LabelledImages) -> list[Detections]:
    """Boxes shifted by 4 px, every second one of the wrong class."""
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
            score_threshold=0.5,
            synthetic=measure("renders", data, guesses(data)),
            real=real,
        ),
    )
    return (out / "report.md").read_text("utf-8")


def test_one_folder_holds_the_report_with_its_pictures(shapes: Path, tmp_path: Path) -> None:
    data = read_dataset(shapes)
    text = write(tmp_path / "report", data, guesses(data))
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert len(pictures) == 6
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"report.md", "figures.json", *pictures}
    for name in pictures:
        with Image.open(tmp_path / "report" / name) as picture:
            assert picture.width > 200
    assert json.loads((tmp_path / "report" / "figures.json").read_text())["all_real"]["image_count"] == 20


@pytest.mark.parametrize("names", [["photo_04.png"], ["photo_00.png", "photo_04.png"]])
def test_photos_without_objects_or_detections_can_be_drawn(shapes: Path, tmp_path: Path, names: list[str]) -> None:
    data = read_dataset(shapes).select(names)  # photo_04 is empty
    text = write(tmp_path, data, [Detections.of([], [], [])] * len(data.images))
    assert "not reached" in text
    assert len(list(tmp_path.iterdir())) == 8


def test_a_report_replaces_an_older_one(shapes: Path, tmp_path: Path) -> None:
    data = read_dataset(shapes)
    first = write(tmp_path, data, guesses(data))
    assert write(tmp_path, data, [Detections.of([], [], [])] * 10) != first
