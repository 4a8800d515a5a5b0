"""The examples of docs/export.md run without our packages and find what the engines find."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from model_store import store
from model_store.detector import open_detector
from rendersight import images
from tests.docs.markdown import ROOT, blocks
from training.cli import main

PAGE = ROOT / "docs" / "export.md"
PHOTO = ROOT / "examples" / "dice-1.jpg"
MOST_LINES = 25

pytestmark = [pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def dice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "dice.onnx"
    assert main(["export", "dice", "--store", str(store.DEFAULT_ROOT), "--format", "onnx", "--out", str(path)]) == 0
    return path


def example(language: str) -> str:
    (text,) = (block.text for block in blocks(PAGE) if block.language == language)
    assert len(text.splitlines()) <= MOST_LINES
    assert "rendersight" not in text
    return text


def found_by(command: list[str | Path], dice: Path) -> list[tuple[str, float, list[float]]]:
    """Run an example on a photo, and return names, scores and boxes."""
    done = subprocess.run([*command, dice, PHOTO], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    words = [line.split() for line in done.stdout.splitlines()]
    return [(name, float(score), [float(side) for side in box]) for name, score, *box in words]


def assert_found(found: list[tuple[str, float, list[float]]], *, px: float, score: float) -> None:
    detector = open_detector("dice", store_root=store.DEFAULT_ROOT, device="cpu", engine="torch-fp32")
    (expected,) = detector.engine.detect([images.read(PHOTO)])
    expected = expected.above(detector.info.score_threshold)
    left_to_right = expected.select(np.argsort(expected.boxes_xyxy[:, 0]))
    assert len(found) == len(expected) > 1
    for (name, found_score, box), label, expected_score, expected_box in zip(
        sorted(found, key=lambda item: item[2][0]),
        left_to_right.labels,
        left_to_right.scores,
        left_to_right.boxes_xyxy,
        strict=True,
    ):
        assert name == detector.info.class_names[label - 1]
        assert found_score == pytest.approx(expected_score, abs=score)
        assert box == pytest.approx(expected_box, abs=px)


def test_python_example_finds_what_the_service_finds(dice: Path, tmp_path: Path) -> None:
    script = tmp_path / "detect.py"
    script.write_text(example("python"))
    found = found_by([sys.executable, "-I", script], dice)
    assert_found(found, px=0.1, score=0.001)  # it prints as many digits
    shown = next(block.text for block in blocks(PAGE) if block.text.startswith("$ python detect.py"))
    assert sorted(line.split()[0] for line in shown.splitlines()[1:]) == sorted(name for name, _, _ in found)


@pytest.mark.node
def test_javascript_example_finds_what_the_service_finds(dice: Path, tmp_path: Path) -> None:
    script = tmp_path / "detect.mjs"
    script.write_text(example("javascript"))
    (tmp_path / "node_modules").symlink_to(ROOT / ".venv-node" / "node_modules")
    assert_found(found_by(["node", script], dice), px=1, score=0.02)  # another decoder of JPEG


def test_javascript_example_has_the_names_and_the_threshold_of_the_release() -> None:
    manifest = store.find(store.DEFAULT_ROOT, "dice").manifest
    assert f"const names = {json.dumps(manifest.class_names)};" in example("javascript")
    assert f"const threshold = {manifest.score_threshold};" in example("javascript")
