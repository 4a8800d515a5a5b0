import dataclasses
import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from model_store import store
from model_store.detector import open_detector
from model_store.engines.torch import TorchEngine
from model_store.errors import GoldenMismatch
from model_store.manifest import ExpectedDetection, GoldenImage
from model_store.store import Release
from rendersight import images
from tests.training.conftest import draw_dataset
from training.cli import main
from training.config import TrainConfig
from training.data.dataset import read_dataset
from training.learning import run
from training.measuring.measured import detect, pool
from training.records.checkpoint import BEST
from training.records.loading import load_run
from training.records.run_folder import WORK, RunError
from training.releasing.publish import (
    SIM2REAL,
    PreparedEngines,
    ReleaseTexts,
    _golden_candidates,
    check_release,
    publish,
)
from training.releasing.work_folder import WorkFolder

CONFIG = TrainConfig(
    architecture="fasterrcnn_mobilenet_v2_fpn",
    weights="none",
    min_size=96,
    max_size=96,
    rois_per_image=32,
    epochs=1,
    hold_out=3,
)


def bar(items: Iterable[Any], **_: Any) -> Iterable[Any]:
    return items


@pytest.fixture(scope="module")
def finished(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch, its weights set so that every proposal is a disc, with a score of about 0.9."""
    out = tmp_path_factory.mktemp("runs") / "shapes"
    context = run.RunContext(
        device="cpu", workers=0, store_root=Path(), say=lambda _: None, bar=bar, stop_asked=lambda: False
    )
    run.start(shapes, out, CONFIG, class_names=None, context=context)
    weights = torch.load(out / BEST, weights_only=True)
    weights["roi_heads.box_predictor.cls_score.weight"] *= 30
    weights["roi_heads.box_predictor.cls_score.bias"] = torch.tensor([0.0, 3.0, -1.0])
    torch.save(weights, out / BEST)
    return out


def publish_it(finished: Path, root: Path, **more: Any) -> Release:
    photos = Path(run.RunRecord.read(finished).dataset)
    options: dict[str, Any] = {"also_measure": [("the same again", photos)], "with_photos": True, **more}
    texts = ReleaseTexts("Finds drawn shapes.", "drawn shapes", "MIT", "No photo gave a gradient.")
    work = WorkFolder(finished / WORK, lambda _: None)
    return publish(finished, "shapes", store_root=root, texts=texts, dataset=None, work=work, bar=bar, **options)


@pytest.fixture(scope="module")
def release(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Release:
    return publish_it(finished, tmp_path_factory.mktemp("store"))


def test_a_release_is_complete(release: Release) -> None:
    manifest = release.manifest
    release.verify()
    assert set(manifest.files) == {path.name for path in release.folder.iterdir()} - {"manifest.json"}
    assert (manifest.name, manifest.version, manifest.class_names) == ("shapes", 1, ("disc", "square"))
    assert manifest.architecture == CONFIG.architecture
    assert (manifest.input.min_size, manifest.input.max_size) == (96, 96)
    assert manifest.origin.config == CONFIG.model_dump(mode="json")
    assert manifest.origin.library_versions["torch"]
    assert [item.image_count for item in manifest.metrics] == [3, 10]
    assert manifest.metrics[0].figures["threshold"] == manifest.score_threshold
    assert manifest.origin.continued_from is None


def test_release_keeps_whether_an_object_has_one_label(finished: Path, release: Release, tmp_path: Path) -> None:
    assert release.manifest.one_label_iou is None
    run_folder = shutil.copytree(finished, tmp_path / "run")
    record = run.RunRecord.read(run_folder)
    replace(record, config=record.config.model_copy(update={"one_label_per_object": True})).write(run_folder)
    manifest = publish_it(run_folder, tmp_path / "store").manifest
    assert (manifest.one_label_iou, manifest.options["one_label_per_object"]) == (0.5, True)
    card = (tmp_path / "store" / "shapes" / "1" / "README.md").read_text()
    assert "An object has one label" in card
    assert "An object has one label" not in (release.folder / "README.md").read_text()


def test_its_card_shows_the_figures_of_its_manifest(release: Release) -> None:
    card = (release.folder / "README.md").read_text()
    assert f"{release.manifest.metrics[1].figures['AP50']:.3f}" in card
    assert "# shapes@1" in card
    assert "drawn shapes, held out (3 images)" in card


def test_its_card_says_which_data_chose_what(release: Release) -> None:
    card = (release.folder / "README.md").read_text()
    assert "where F1 is best on the held-out images." in card
    assert "## Data behind each choice\n\nNo photo gave a gradient.\n" in card
    assert release.manifest.provenance == "No photo gave a gradient."
    assert release.manifest.score_threshold_from == ()


@pytest.fixture(scope="module")
def other_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("other"), count=8, seed=6)


@pytest.fixture(scope="module")
def reported(finished: Path, shapes: Path, other_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """A release whose threshold comes from two sets of photos, with the report in its card and a refused engine."""
    return publish_it(
        finished,
        tmp_path_factory.mktemp("reported"),
        also_measure=[("desk", shapes), ("table", other_photos)],
        threshold_from=["desk", "table"],
        with_report=True,
        prepare=lambda _: PreparedEngines(refused={"openvino-int8": "loses 0.02 of AP on desk; 0.01 is accepted"}),
    )


def test_it_names_the_engine_that_was_left_out(reported: Release) -> None:
    assert reported.manifest.refused_engines == {"openvino-int8": "loses 0.02 of AP on desk; 0.01 is accepted"}
    section = "## Engines\n\n`openvino-int8` is left out: loses 0.02 of AP on desk; 0.01 is accepted.\n\n## Making\n"
    assert section in (reported.folder / "README.md").read_text()


def test_photos_choose_the_threshold_when_they_are_named(
    finished: Path, reported: Release, shapes: Path, other_photos: Path
) -> None:
    manifest = reported.manifest
    assert manifest.score_threshold_from == ("desk", "table")
    assert [(item.data, item.image_count) for item in manifest.metrics[1:]] == [("desk", 10), ("table", 8)]
    engine = TorchEngine(load_run(finished).network, "cpu")
    both = pool([detect(engine, folder.name, read_dataset(folder), bar=bar) for folder in (shapes, other_photos)])
    assert manifest.score_threshold == both.result.best_f1.score_threshold
    assert "where F1 is best on desk + table." in (reported.folder / "README.md").read_text()


def test_the_verb_lets_one_set_of_photos_choose_what_is_best_on_it(
    finished: Path, shapes: Path, other_photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["publish", str(finished), "--name", "shapes", "--store", str(tmp_path), "--provenance", "Drawn."]
    arguments += ["--also-measure", f"desk={shapes}", "--also-measure", f"table={other_photos}", "--sim2real"]
    arguments += ["--golden-from", str(other_photos)]
    assert main([*arguments, "--threshold-from", "table", "--json"]) == 0
    release = store.find(tmp_path, "shapes@1")
    said = capsys.readouterr()
    assert f"golden images and detections.jpg: images of {other_photos}\n" in said.err
    assert f"report with crops of the photos: {finished / SIM2REAL}; the crops are not published\n" in said.err
    assert json.loads(said.out) == {
        "release": "shapes@1",
        "name": "shapes",
        "version": 1,
        "folder": str(release.folder),
    }
    assert (release.manifest.score_threshold_from, release.manifest.provenance) == (("table",), "Drawn.")
    assert "confusion.png" in release.manifest.files
    assert {"misses.jpg", "false_alarms.jpg"}.isdisjoint(release.manifest.files)
    assert "Worst mistakes" not in (release.folder / "README.md").read_text()
    assert "misses.jpg" in (finished / SIM2REAL / "report.md").read_text()
    assert (finished / SIM2REAL / "misses.jpg").is_file()
    thresholds = [item.figures["threshold"] for item in release.manifest.metrics]
    assert release.manifest.score_threshold == thresholds[2]
    assert thresholds[2] not in thresholds[:2]  # else it would not show which of them was taken


def test_the_verb_says_in_one_line_which_photos_it_does_not_know(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["publish", str(finished), "--name", "shapes", "--store", str(tmp_path / "store")]
    assert main([*arguments, "--threshold-from", "sofa"]) == 2
    error = capsys.readouterr().err
    assert error == "python -m training: no photos called sofa are measured; --also-measure names none\n"
    assert not (tmp_path / "store").exists()


def test_photos_in_which_nothing_is_found_rightly_choose_no_threshold(finished: Path, tmp_path: Path) -> None:
    Image.new("RGB", (96, 96)).save(tmp_path / "empty.png")
    with pytest.raises(RunError, match="nothing found in dark is correct"):
        publish_it(finished, tmp_path / "store", also_measure=[("dark", tmp_path)], threshold_from=["dark"])


def test_the_report_and_its_pictures_are_part_of_the_release(reported: Release) -> None:
    card = (reported.folder / "README.md").read_text()
    reported.verify()
    pictures = set(re.findall(r"!\[[^]]+\]\(([^)]+)\)", card))
    assert len(pictures) == 7
    assert pictures <= set(reported.manifest.files)
    assert sum((reported.folder / name).stat().st_size for name in pictures) < 1_500_000
    assert "| ratio to drawn shapes, held out |" in card
    assert f"above score {reported.manifest.score_threshold:g}, at IoU 0.5" in card
    assert reported.manifest.metrics[1].intervals["AP50"]
    assert reported.manifest.metrics[1].per_class_ap50["disc"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold_from": ["sofa"]}, "no photos called sofa .* names the same again"),
        ({"also_measure": [], "threshold_from": ["sofa"]}, "sofa are measured; --also-measure names none"),
        ({"also_measure": [], "with_report": True}, "--sim2real needs photos"),
        ({"with_photos": False}, "publish some of them with --with-photos, or name others with --golden-from"),
        ({"with_photos": False, "gallery_from": ["the same again"]}, "add --with-photos"),
        ({"also_measure": [("a", Path()), ("a", Path())]}, "two sets of photos are called a"),
    ],
)
def test_photos_that_are_not_there_are_named_before_anything_is_measured(
    options: dict[str, Any], message: str, *, finished: Path, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=message):
        publish_it(finished, tmp_path / "store", **options)
    assert not (tmp_path / "store").exists()


def test_without_photos_golden_images_are_renders(shapes: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(shapes, tmp_path / "mixed")
    (folder / "photo_03.scene.json").write_text("{}")
    candidates, _ = _golden_candidates(read_dataset(folder), None, with_photos=False)
    assert [image.name for image in candidates.images] == ["photo_03.png"]


def test_its_weights_are_a_plain_state_dict(release: Release, finished: Path) -> None:
    weights = torch.load(release.folder / "model.pt", weights_only=True)
    best = torch.load(finished / BEST, weights_only=True)
    assert all(torch.equal(weights[name], best[name]) for name in best)


def test_the_service_side_opens_it_and_finds_what_the_manifest_expects(release: Release) -> None:
    detector = open_detector("shapes@1", store_root=release.folder.parents[1], device="cpu")
    golden = release.manifest.golden
    assert sum(len(image.expected) for image in golden) > 0
    for image in golden:
        (found,) = detector.detect([images.read(release.folder / image.file)])
        scores = found.above(release.manifest.score_threshold).scores.tolist()
        assert scores == pytest.approx([item.score for item in image.expected], abs=1e-4)


def test_publishing_again_makes_the_next_version(finished: Path, release: Release) -> None:
    again = publish_it(finished, release.folder.parents[1])
    assert again.manifest.version == 2
    assert store.find(release.folder.parents[1], "shapes").ref == "shapes@2"
    assert store.find(release.folder.parents[1], "shapes@1").manifest == release.manifest


def test_a_release_that_finds_something_else_is_not_let_through(release: Release) -> None:
    elsewhere = ExpectedDetection(label_id=1, score=1.0, box_xyxy=(20.0, 20.0, 25.0, 25.0))
    golden = (GoldenImage(expected=(elsewhere,)),)
    wrong = dataclasses.replace(release, manifest=release.manifest.model_copy(update={"golden": golden}))
    (release.folder / "manifest.json").chmod(0o644)
    text = (release.folder / "manifest.json").read_text()
    wrong.manifest.write(release.folder)
    try:
        with pytest.raises(GoldenMismatch, match="not found again"):
            check_release(wrong)
    finally:
        (release.folder / "manifest.json").write_text(text)


def test_a_run_without_a_finished_epoch_is_not_published(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text((finished / "run.json").read_text())
    with pytest.raises(RunError, match=r"no best\.pt yet"):
        publish_it(tmp_path, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_widened_boxes_are_measured_and_named_as_such(finished: Path, tmp_path: Path) -> None:
    wide = tmp_path / "wide"
    shutil.copytree(finished, wide)
    record = run.RunRecord.read(finished)
    replace(record, config=record.config.model_copy(update={"box_margin": 0.3})).write(wide)
    (metrics,) = publish_it(wide, tmp_path / "store", also_measure=[]).manifest.metrics
    assert metrics.data == "drawn shapes, held out, boxes widened by 30% a side"
    held = read_dataset(Path(record.dataset)).select(run.run_folder.read_names(finished / run.run_folder.HOLD_OUT_LIST))
    engine = TorchEngine(load_run(finished).network, "cpu")
    assert metrics.figures == detect(engine, "wide", held.widened(0.3), bar=bar).figures()
    assert metrics.figures != detect(engine, "tight", held, bar=bar).figures()
