"""Engines are prepared, measured against eager fp32, and published only where they lose little."""

import json
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.models.detection import FasterRCNN

from model_store import store
from model_store.engines import Engine
from model_store.engines.graphs import write_graphs
from model_store.engines.torch import TorchEngine
from model_store.errors import GoldenMismatch
from model_store.network import load_network
from model_store.store import Release
from rendersight import images
from training.cli import main
from training.data.dataset import read_dataset
from training.records.run_folder import RunError
from training.releasing import accelerate as module
from training.releasing import publish
from training.releasing.accelerate import EnginePlan, accelerate
from training.releasing.quantise import QuantisationJob, calibration_inputs
from training.releasing.work_folder import WorkFolder


def bar(items: Iterable[Any], **_: Any) -> Iterable[Any]:
    return items


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, tiny_network: Callable[[], FasterRCNN]) -> Path:
    """Noise, labelled with what the network itself finds above 0.5; not to be changed, copy it."""
    folder = tmp_path_factory.mktemp("photos")
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


def plan_of(photos: Path, *engines: str, **options: Any) -> EnginePlan:
    data = read_dataset(photos, class_names=("ant", "bee", "cat"))
    return EnginePlan(sorted(photos.glob("*.png")), "noise", data, engines, **options)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> WorkFolder:
    """What the tests convert and detect, once."""
    return WorkFolder(tmp_path_factory.mktemp("work"), lambda _: None)


def run(release: Release, plan: EnginePlan, work: WorkFolder, *, bar: Callable[..., Iterable[Any]] = bar) -> Release:
    return accelerate(release, plan, store_root=release.folder.parents[1], work=work, bar=bar)


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accept engines of a random network, which reduced precision makes another one."""
    monkeypatch.setattr(module, "MAX_LOSS", dict.fromkeys(module.MAX_LOSS, 1.0))
    monkeypatch.setattr(module, "check_release", lambda release: None)
    monkeypatch.setattr(publish, "_checked", lambda name, record, *_, **__: record)


@pytest.fixture
def quantised(tiny_graphs: Path, monkeypatch: pytest.MonkeyPatch) -> list[QuantisationJob]:
    """The jobs that NNCF would have done; for all engines the graphs are the same."""
    jobs: list[QuantisationJob] = []

    def copy(job: QuantisationJob) -> None:
        jobs.append(job)
        shutil.copytree(job.graphs, job.out, dirs_exist_ok=True)

    def write(network: FasterRCNN, folder: Path, *, compress: bool) -> None:
        shutil.copytree(tiny_graphs, folder, dirs_exist_ok=True)

    monkeypatch.setattr(module, "run_apart", copy)
    monkeypatch.setattr(module, "write_graphs", write)
    return jobs


@pytest.mark.long
@pytest.mark.usefixtures("lenient")
def test_the_next_version_carries_engines_and_what_they_lose(
    tiny_release: Release, photos: Path, work: WorkFolder
) -> None:
    (tiny_release.folder / store.CARD).write_text(
        "# tiny@1\n\nWords.\n\n## Worst mistakes\n\n![misses](misses.jpg)\n\n## Making\n\nMore words.\n"
    )
    files = {**tiny_release.manifest.files, store.CARD: store.sha256_of(tiny_release.folder / store.CARD)}
    tiny_release.manifest.model_copy(update={"files": files}).write(tiny_release.folder)
    published = run(store.open_release(tiny_release.folder), plan_of(photos, "openvino-bf16", "openvino-int8"), work)
    manifest = published.manifest
    assert published.ref == "tiny@2"
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


@pytest.mark.usefixtures("lenient")
@pytest.mark.long
def test_a_repeated_command_takes_over_what_a_killed_one_finished(
    tiny_release: Release, photos: Path, quantised: list[QuantisationJob], tmp_path: Path
) -> None:
    photos = shutil.copytree(photos, tmp_path / "photos")
    said: list[str] = []
    work = WorkFolder(tmp_path / "work", said.append)

    def killing_bar(items: Iterable[Any], *, desc: str) -> Iterable[Any]:
        for number, item in enumerate(items):
            if desc == "openvino-int8 on noise" and number == 2:
                raise KeyboardInterrupt
            yield item

    def taken_over() -> set[str]:
        found = {line.partition(": reused from ")[0] for line in said if ": reused from " in line}
        said.clear()
        return found

    def repeat() -> Release:
        return run(tiny_release, plan_of(photos, "openvino-bf16", "openvino-int8"), work)

    with pytest.raises(KeyboardInterrupt):
        run(tiny_release, plan_of(photos, "openvino-bf16", "openvino-int8"), work, bar=killing_bar)
    assert taken_over() == set()
    first = repeat()
    graphs = {"graphs of openvino-bf16", "graphs of openvino-int8"}
    assert taken_over() == {*graphs, "torch-fp32 on noise", "openvino-bf16 on noise"}
    assert set(first.manifest.engines) == {"openvino-bf16", "openvino-int8"}

    Image.new("RGB", (96, 64)).save(photos / "0.png")  # both what is measured on and what int8 is made of
    second = repeat()
    assert taken_over() == {"graphs of openvino-bf16", "graphs of exact fp32"}
    assert len(quantised) == 2
    for name, record in second.manifest.engines.items():
        assert record.reference["AP"] < first.manifest.engines[name].reference["AP"]


@pytest.mark.long
def test_refused_engines_are_named_and_the_rest_is_published(
    tiny_release: Release,
    photos: Path,
    *,
    quantised: list[QuantisationJob],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root, work = tiny_release.folder.parents[1], tmp_path / "work"
    command = ["accelerate", str(tiny_release.folder), "--store", str(root), "--work", str(work)]
    command += ["--calibration", str(photos / "0.png"), "--judge-by", f"noise={photos}"]
    command += ["--engine", "openvino-bf16", "--engine", "openvino-int8"]

    monkeypatch.setattr(module, "check_release", lambda release: None)
    monkeypatch.setattr(module, "_SPARED", ((), (".*head.*",)))
    monkeypatch.setattr(module, "MAX_LOSS", dict.fromkeys(module.MAX_LOSS, -1.0))
    assert main(command) == 2
    (last,) = capsys.readouterr().err.splitlines()[-1:]
    loss = r"loses -?[\d.]+ AP on noise; at most -1\.0 is accepted"
    assert re.search(
        f"no engine to publish: .*openvino-bf16 is left out: {loss}; openvino-int8 is left out: {loss}; ", last
    )
    assert last.endswith(f"{work} keeps the results")
    assert (store.versions(root, "tiny"), len(quantised)) == ([1], 2)

    def check(engine: Engine, release: Release) -> None:
        assert release.manifest.golden
        if engine.name == "openvino-int8":
            raise GoldenMismatch("golden image: nothing was found again")

    monkeypatch.setattr(module, "MAX_LOSS", dict.fromkeys(module.MAX_LOSS, 1.0))
    monkeypatch.setattr(publish, "check_golden", check)
    assert main(command) == 0
    line = "openvino-int8 is left out: golden image: nothing was found again"
    assert line in capsys.readouterr().err.splitlines()
    release = store.find(root, "tiny@2")
    assert len(quantised) == 2
    assert list(release.manifest.engines) == ["openvino-bf16"]
    assert release.manifest.engines["openvino-bf16"].golden_drift is not None
    assert release.manifest.refused_engines == {"openvino-int8": "golden image: nothing was found again"}
    assert [path.name for path in (release.folder / "engines").iterdir()] == ["openvino-bf16"]

    monkeypatch.setattr(publish, "check_golden", lambda engine, release: None)
    assert main(["accelerate", str(release.folder), *command[2:]]) == 0  # its engines are replaced
    again = store.find(root, "tiny@3").manifest
    assert (len(quantised), set(again.engines), again.refused_engines) == (2, {"openvino-bf16", "openvino-int8"}, {})


@pytest.mark.usefixtures("lenient")
@pytest.mark.long
def test_chooses_new_golden_images_if_asked(
    tiny_release: Release, photos: Path, work: WorkFolder, tmp_path: Path
) -> None:
    Image.open(photos / "1.png").crop((0, 0, 90, 60)).save(tmp_path / "smaller.png")
    golden = read_dataset(tmp_path, class_names=("ant", "bee", "cat"))
    published = run(tiny_release, plan_of(photos, "openvino-fp32", golden=golden), work)
    images_of = {image.file for image in published.manifest.golden}
    assert images_of == {path.name for path in published.folder.glob("golden*.jpg")}
    assert images.read(published.folder / "golden.jpg").shape == (60, 90, 3)


def test_nothing_is_judged_where_the_network_itself_finds_nothing(
    tiny_release: Release, photos: Path, work: WorkFolder, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    photos = shutil.copytree(photos, tmp_path / "photos")
    for path in photos.glob("*.json"):
        document = json.loads(path.read_text())
        for shape in document["shapes"]:
            shape["points"] = [[0, 0], [3, 3]]
        path.write_text(json.dumps(document))
    with pytest.raises(
        RunError, match=r"AP50 of tiny on noise is 0\.000; below 0\.1 the loss of an engine cannot be judged"
    ):
        run(tiny_release, plan_of(photos, "openvino-bf16"), work)
    request.getfixturevalue("lenient")
    published = run(tiny_release, plan_of(photos, "openvino-bf16", even_if_unjudged=True), work)
    assert not published.manifest.engines["openvino-bf16"].is_judged


@pytest.mark.usefixtures("lenient")
def test_an_engine_may_drop_proposals_that_the_release_keeps(
    tiny_release: Release, photos: Path, work: WorkFolder
) -> None:
    published = run(tiny_release, plan_of(photos, "openvino-bf16", rpn_score_floor=1.0), work)
    record = published.manifest.engines["openvino-bf16"]
    assert (record.rpn_score_floor, record.figures["AP50"]) == (1.0, 0.0)  # no objectness is above 1
    assert record.reference["AP50"] > 0.95
    assert published.manifest.options == tiny_release.manifest.options


def test_photos_without_proposals_do_not_spoil_the_quantised_head(
    tiny_release: Release, photos: Path, tmp_path: Path
) -> None:
    loaded = load_network(str(tiny_release.folder), store_root=tiny_release.folder.parents[1])
    loaded.network.rpn.score_thresh = 1.0
    folder = tmp_path / "graphs"
    folder.mkdir()
    write_graphs(loaded.network, folder)
    inputs = calibration_inputs(
        QuantisationJob(graphs=folder, out=folder, rule=loaded.facts.input, photos=tuple(photos.glob("*.png")))
    )
    assert (len(inputs["features"]), len(inputs["head"])) == (4, 0)


def test_a_state_dicts_file_is_no_release(
    tiny_release: Release, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = str(tiny_release.folder / store.WEIGHTS)
    assert main(["accelerate", weights, "--calibration", str(photos), "--judge-by", f"noise={photos}"]) == 2
    assert "is a state dict; accelerate needs a release" in capsys.readouterr().err
