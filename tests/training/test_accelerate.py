"""Engines are prepared, measured against eager fp32, and published only where they lose little."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.models.detection import FasterRCNN

from model_store import store
from model_store.detector import open_detector
from model_store.engines.torch import TorchEngine
from model_store.graphs import write_graphs
from model_store.network import load_network
from model_store.store import Release
from rendersight import images
from training import accelerate as module
from training.accelerate import Plan, accelerate
from training.commands import main
from training.dataset import read_dataset
from training.quantise import Job, calibration_inputs
from training.run_folder import RunError


def bar(items: Iterable[Any], **_: Any) -> Iterable[Any]:
    return items


@pytest.fixture
def photos(tmp_path: Path, tiny_network: Callable[[], FasterRCNN]) -> Path:
    """Noise, labelled with what the network itself finds above 0.5."""
    folder = tmp_path / "photos"
    folder.mkdir()
    engine = TorchEngine(tiny_network(), "cpu")
    for seed in range(4):
        path = folder / f"{seed}.png"
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (64, 96, 3), np.uint8)).save(path)
        found = engine.detect([images.read(path)])[0].above(0.5)
        shapes = [
            {
                "label": ("ant", "bee", "cat")[label - 1],
                "shape_type": "rectangle",
                "points": np.reshape(box, (2, 2)).tolist(),
            }
            for box, label in zip(found.boxes_xyxy.astype(float).tolist(), found.labels, strict=True)
        ]
        path.with_suffix(".json").write_text(json.dumps({"shapes": shapes, "imagePath": path.name, "imageData": None}))
    return folder


def plan_of(photos: Path, *engines: str, **options: Any) -> Plan:
    data = read_dataset(photos, class_names=("ant", "bee", "cat"))
    return Plan(sorted(photos.glob("*.png")), "noise", data, engines, **options)


def run(release: Release, plan: Plan) -> Release:
    return accelerate(release, plan, store_root=release.folder.parents[1], bar=bar, say=lambda _: None)


def test_the_next_version_carries_engines_and_what_they_lose(
    tiny_release: Release, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tiny_release.folder / store.CARD).write_text("# tiny@1\n\nWords.\n\n## Making\n\nMore words.\n")
    files = {**tiny_release.manifest.files, store.CARD: store.sha256_of(tiny_release.folder / store.CARD)}
    tiny_release.manifest.model_copy(update={"files": files}).write(tiny_release.folder)
    monkeypatch.setattr(module, "MAX_LOSS", dict.fromkeys(module.MAX_LOSS, 1.0))
    monkeypatch.setattr(module, "check_release", lambda release: None)  # int8 of a random network is another one
    published = run(store.open_release(tiny_release.folder), plan_of(photos, "openvino-bf16", "openvino-int8"))
    manifest = published.manifest
    assert (published.ref, manifest.schema_version) == ("tiny@2", 2)
    for record in manifest.engines.values():
        assert record.reference["AP50"] > 0.95
        assert record.is_judged
        assert record.image_count == 4
        assert {f"{record.graphs}/{name}.bin" for name in ("features", "proposals", "head")} <= set(manifest.files)
    assert manifest.engines["openvino-bf16"].figures["AP"] > 0.3
    sizes = {name: (published.folder / "engines" / name / "features.bin").stat().st_size for name in manifest.engines}
    assert sizes["openvino-int8"] < 0.6 * sizes["openvino-bf16"]
    card = (published.folder / store.CARD).read_text()
    assert card.startswith("# tiny@2\n\nWords.\n\n## Engines\n")
    assert card.endswith("## Making\n\nMore words.\n")


def test_an_engine_that_loses_too_much_is_not_published(
    tiny_release: Release, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LOSS", {"openvino-bf16": -1.0})
    with pytest.raises(RunError, match=r"openvino-bf16 loses .* of AP on noise; -1\.0 is accepted"):
        run(tiny_release, plan_of(photos, "openvino-bf16"))
    assert store.versions(tiny_release.folder.parents[1], "tiny") == [1]


def test_nothing_is_judged_where_the_network_itself_finds_nothing(
    tiny_release: Release, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in photos.glob("*.json"):
        document = json.loads(path.read_text())
        for shape in document["shapes"]:
            shape["points"] = [[0, 0], [3, 3]]
        path.write_text(json.dumps(document))
    with pytest.raises(RunError, match=r"AP50 of tiny on noise is 0\.000; below 0\.1 nothing can be told"):
        run(tiny_release, plan_of(photos, "openvino-bf16"))
    monkeypatch.setattr(module, "check_release", lambda release: None)
    published = run(tiny_release, plan_of(photos, "openvino-bf16", even_if_unjudged=True))
    assert not published.manifest.engines["openvino-bf16"].is_judged
    assert open_detector(published.ref, store_root=published.folder.parents[1], device="cpu").engine.name == (
        "openvino-fp32"
    )


def test_an_engine_may_drop_proposals_that_the_release_keeps(
    tiny_release: Release, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LOSS", {"openvino-bf16": 1.0})
    monkeypatch.setattr(module, "check_release", lambda release: None)
    published = run(tiny_release, plan_of(photos, "openvino-bf16", rpn_score_floor=1.0))
    record = published.manifest.engines["openvino-bf16"]
    assert (record.rpn_score_floor, record.figures["AP50"]) == (1.0, 0.0)  # no objectness is above 1
    assert record.reference["AP50"] > 0.95
    assert published.manifest.options == tiny_release.manifest.options


def test_photos_without_proposals_do_not_spoil_the_quantised_head(tiny_release: Release, photos: Path) -> None:
    loaded = load_network(str(tiny_release.folder), store_root=tiny_release.folder.parents[1])
    loaded.network.rpn.score_thresh = 1.0
    folder = photos.parent / "graphs"
    folder.mkdir()
    write_graphs(loaded.network, folder)
    inputs = calibration_inputs(
        Job(graphs=folder, out=folder, rule=loaded.facts.input, photos=tuple(photos.glob("*.png")))
    )
    assert (len(inputs["features"]), len(inputs["head"])) == (4, 0)


def test_a_state_dicts_file_is_no_release(
    tiny_release: Release, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = str(tiny_release.folder / store.WEIGHTS)
    assert main(["accelerate", weights, "--calibration", str(photos), "--judge-by", f"noise={photos}"]) == 2
    assert "is a state dict's file; publish it as a release first" in capsys.readouterr().err
