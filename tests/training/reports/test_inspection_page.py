import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rendersight.annotations import ReadOptions
from rendersight.annotations.dataset import read_annotations
from tests.training.html_tags import tags_of_a_whole_page
from training.config import resolve
from training.data.anchor_fit import geometry_of
from training.data.dataset import names_in
from training.data.inspection import Inspection, as_json, as_text, inspect
from training.reports.inspection_page import page

LABEL = "<b>&\"six'"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Inspection:
    """Inspect three photos with a copy, a box outside, an annotation without image, and names that look like HTML."""
    folder = tmp_path_factory.mktemp("doctor")
    rng = np.random.default_rng(0)
    for name in ("<i>a", "b", "c"):
        Image.fromarray(rng.integers(0, 255, (90, 120, 3), np.uint8)).save(folder / f"{name}.png")
    Image.open(folder / "b.png").save(folder / "copy.bmp")
    shapes = [
        {"label": LABEL, "points": corners, "shape_type": "rectangle"}
        for corners in ([[5, 5], [45, 45]], [[110, 40], [190, 80]], [[130, 5], [150, 20]], [[9, 9], [9, 9]])
    ]
    (folder / "<i>a.json").write_text(json.dumps({"shapes": shapes}))
    (folder / "lost.json").write_text(json.dumps({"shapes": shapes, "imagePath": "<script>.png"}))
    found = read_annotations(folder, ReadOptions(negatives=True))
    return inspect("<set>", found, names_in(found), geometry_of(resolve(None, {}, device="cuda")))


def test_page_fetches_nothing(report: Inspection) -> None:
    tags = tags_of_a_whole_page(page(report))
    assert tags.count("img") > 3
    assert "i" not in tags


def test_escapes_names_and_labels(report: Inspection) -> None:
    text = page(report)
    for raw, safe in (
        ("<set>", "&lt;set&gt;"),
        (LABEL, "&lt;b&gt;&amp;&#34;six&#39;"),
        ("<script>.png", "&lt;script&gt;.png"),
    ):
        assert raw not in text
        assert safe in text


def test_shows_every_finding_in_page_text_and_json(report: Inspection) -> None:
    checks = {finding.check for finding in report.findings}
    assert {"files", "duplicates", "misfits", "balance"} <= checks
    text, told, data = page(report), as_text(report), as_json(report)
    for finding in report.findings:
        assert f"{finding.severity}: {finding.check}" in text
        assert finding.what in told
    assert [item["what"] for item in data["findings"]] == [finding.what for finding in report.findings]
    assert data["findings"][0]["severity"] == "fault"
    assert data["network"]["anchor_sizes"] == [32, 64, 128, 256, 512]
    assert json.loads(json.dumps(data)) == data


def test_reports_an_empty_dataset(report: Inspection, tmp_path: Path) -> None:
    found = read_annotations(tmp_path)
    empty = inspect("empty", found, (), report.geometry)
    assert "No findings" in page(empty)
    assert page(empty).count(">none</text>") == 6
    assert "0 images" in as_text(empty)


def test_shows_splits(report: Inspection) -> None:
    images = tuple(replace(image, splits=("train",)) for image in report.found.images)
    with_splits = replace(report, found=replace(report.found, images=images))
    assert "<h2>Splits</h2>" in page(with_splits)
    assert "splits: train 4" in as_text(with_splits)
    assert "<h2>Splits</h2>" not in page(report)
