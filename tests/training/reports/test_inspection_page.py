"""The page about a dataset: whole in itself, with nothing of a dataset's text taken for markup."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rendersight.annotations.folder import read_folder
from tests.training.html_tags import tags_of_a_whole_page
from training.config import TrainConfig
from training.data.anchor_fit import geometry_of
from training.data.dataset import names_in
from training.data.inspection import Inspection, as_json, describe, inspect
from training.reports.inspection_page import page
from training.reports.svg import histogram

LABEL = "<b>&\"six'"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Inspection:
    """Of three photos with a copy, a box outside, a lost annotation, and names that look like markup."""
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
    found = read_folder(folder)
    return inspect("<set>", found, names_in(found), geometry_of(TrainConfig()))


def test_the_page_is_whole_in_itself(report: Inspection) -> None:
    tags = tags_of_a_whole_page(page(report))
    assert tags.count("img") > 3
    assert "i" not in tags


def test_names_and_labels_are_text(report: Inspection) -> None:
    text = page(report)
    for raw, safe in (
        ("<set>", "&lt;set&gt;"),
        (LABEL, "&lt;b&gt;&amp;&quot;six&#x27;"),
        ("<script>.png", "&lt;script&gt;.png"),
    ):
        assert raw not in text
        assert safe in text


def test_all_findings_are_on_the_page_in_the_text_and_in_the_json(report: Inspection) -> None:
    checks = {finding.check for finding in report.findings}
    assert {"files", "duplicates", "misfits", "balance", "unlabelled"} <= checks
    text, told, data = page(report), describe(report), as_json(report)
    for finding in report.findings:
        assert f"{finding.severity}: {finding.check}" in text
        assert finding.what in told
    assert [item["what"] for item in data["findings"]] == [finding.what for finding in report.findings]
    assert data["findings"][0]["severity"] == "fault"
    assert data["network"]["anchor_sizes"] == [32, 64, 128, 256, 512]
    assert json.loads(json.dumps(data)) == data


def test_a_dataset_without_images_has_a_page(report: Inspection, tmp_path: Path) -> None:
    found = read_folder(tmp_path)
    empty = inspect("empty", found, (), report.geometry)
    assert "Nothing to remark" in page(empty)
    assert "0 images" in describe(empty)


def test_splits_have_a_table(report: Inspection) -> None:
    images = tuple(replace(image, splits=("train",)) for image in report.found.images)
    with_splits = replace(report, found=replace(report.found, images=images))
    assert "<h2>Splits</h2>" in page(with_splits)
    assert "splits: train 4" in describe(with_splits)
    assert "<h2>Splits</h2>" not in page(report)


def bars_of(svg: str) -> list[int]:
    return [int(count) for count in re.findall(r"<title>(\d+)</title>", svg)]


@pytest.mark.parametrize("values", [[1], [5, 5, 5], [1, 2, 4, 8, 1000], [0.25, 0.5, 3]])
@pytest.mark.parametrize("is_log", [True, False])
def test_every_value_is_in_a_bar(values: list[float], is_log: bool) -> None:
    svg = histogram(np.array(values, np.float64), title="t", unit="px", marks=[(2.0, "<two>")], is_log=is_log)
    assert sum(bars_of(svg)) == len(values)
    assert "&lt;two&gt;" in svg


def test_an_axis_has_a_number_where_all_values_are_one() -> None:
    assert ">640</text>" in histogram(np.full(5, 640.0), title="t", unit="px")


def test_no_values_are_told() -> None:
    assert ">none<" in histogram(np.zeros(0), title="t", unit="px")
