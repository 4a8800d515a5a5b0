"""Which engine runs a model: the fastest that is known to be accurate and that works here."""

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models.detection import FasterRCNN

from model_store import cpu, golden, graphs, store
from model_store.detector import open_detector
from model_store.engines import openvino
from model_store.errors import EngineNotAvailable, ModelError
from model_store.graphs import write_graphs
from model_store.manifest import EngineRecord
from model_store.store import Release

ROOT = Path(__file__).parents[2]


FP32_ALONE = "openvino._BFLOAT16 = ()"


@pytest.fixture(autouse=True)
def nothing_is_reduced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding makes another network of a random one, which the golden check would refuse."""
    monkeypatch.setattr(openvino, "_BFLOAT16", ())


@pytest.fixture
def prepared(
    tiny_release: Release, tiny_network: Callable[[], FasterRCNN], change_manifest: Callable[..., None]
) -> Callable[..., Release]:
    """Give the release engines, unquantised graphs under each name: name -> whether it is judged."""

    def prepare(**judged: bool) -> Release:
        records = {}
        for name, is_judged in ((key.replace("_", "-"), value) for key, value in judged.items()):
            folder = tiny_release.folder / "engines" / name
            folder.mkdir(parents=True)
            write_graphs(tiny_network(), folder)
            records[name] = EngineRecord(
                graphs=f"engines/{name}",
                data="noise",
                image_count=1,
                figures={"AP": 0.5},
                reference={"AP": 0.5},
                is_judged=is_judged,
            )
        change_manifest(tiny_release, engines=records)
        return store.open_release(tiny_release.folder)

    return prepare


def engine_of(release: Release, engine: str = "auto") -> str:
    return open_detector(str(release.folder), store_root=release.folder, device="cpu", engine=engine).engine.name


def test_auto_takes_the_fastest_that_is_judged(
    prepared: Callable[..., Release], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "has_bfloat16", lambda: True)
    release = prepared(openvino_int8=False, openvino_bf16=True)
    assert engine_of(release) == "openvino-bf16"
    assert engine_of(release, "openvino-int8") == "openvino-int8"
    monkeypatch.setattr(cpu, "has_bfloat16", lambda: False)
    assert engine_of(release) == "openvino-fp32"  # what this processor would only imitate is no gain


def test_int8_comes_first(prepared: Callable[..., Release]) -> None:
    assert engine_of(prepared(openvino_int8=True, openvino_bf16=True)) == "openvino-int8"


def test_int8_that_was_never_measured_is_refused(tiny_release: Release) -> None:
    with pytest.raises(EngineNotAvailable, match="prepared and measured first"):
        engine_of(tiny_release, "openvino-int8")


def test_a_broken_engine_is_left_out_with_a_warning(
    prepared: Callable[..., Release], change_manifest: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    release = prepared(openvino_int8=True)
    (release.folder / "engines/openvino-int8/head.xml").write_text("<net/>")
    change_manifest(release, engines=release.manifest.engines)
    with caplog.at_level(logging.WARNING):
        assert engine_of(store.open_release(release.folder)) == "openvino-fp32"
    assert "engine openvino-int8 is left out" in caplog.text
    with pytest.raises(ModelError, match="graphs cannot be used"):
        engine_of(store.open_release(release.folder), "openvino-int8")


def test_an_engine_that_finds_something_else_is_left_out(
    prepared: Callable[..., Release],
    change_manifest: Callable[..., None],
    tiny_network: Callable[[], FasterRCNN],
    caplog: pytest.LogCaptureFixture,
) -> None:
    release = prepared(openvino_int8=True)
    other = tiny_network()
    with torch.no_grad():
        other.roi_heads.box_predictor.cls_score.weight.neg_()
    write_graphs(other, release.folder / "engines/openvino-int8")
    change_manifest(release, engines=release.manifest.engines)
    with caplog.at_level(logging.WARNING):
        assert engine_of(store.open_release(release.folder)) == "openvino-fp32"
    assert "engine openvino-int8 is left out: golden image" in caplog.text


def test_fp16_is_for_cuda(tiny_release: Release) -> None:
    with pytest.raises(EngineNotAvailable, match="runs on CUDA"):
        engine_of(tiny_release, "torch-fp16")


def test_torch_runs_in_bfloat16_where_it_is_asked_for(tiny_release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golden, "REDUCED", golden.Tolerance(min_iou=0.0, max_score_change=1.0))
    assert engine_of(tiny_release, "torch-bf16") == "torch-bf16"


@pytest.mark.parametrize("bfloat16_and_engine", [(True, "openvino-bf16"), (False, "openvino-fp32")])
def test_a_bare_state_dict_is_converted_once(
    tiny_network: Callable[[], FasterRCNN],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bfloat16_and_engine: tuple[bool, str],
) -> None:
    has_bfloat16, expected = bfloat16_and_engine
    monkeypatch.setattr(cpu, "has_bfloat16", lambda: has_bfloat16)
    picture = np.random.default_rng(0).integers(0, 256, (100, 90, 3), np.uint8)
    path = tmp_path / "mine.pth"
    torch.save(tiny_network().state_dict(), path)
    first = open_detector(str(path), store_root=tmp_path, device="cpu", cache_dir=tmp_path / "cache")
    assert first.engine.name == expected
    monkeypatch.delattr(graphs, "write_graphs")  # a second conversion would fail
    again = open_detector(
        str(path), store_root=tmp_path, device="cpu", class_names=("a", "b", "c"), cache_dir=tmp_path / "cache"
    )
    assert (again.engine.name, again.card.class_names) == (expected, ("a", "b", "c"))
    assert again.card.sha256 == first.card.sha256 == store.sha256_of(path)
    assert len(again.detect([picture])[0]) == len(first.detect([picture])[0]) > 0


def run_without_torch(program: str) -> subprocess.CompletedProcess[str]:
    blocked = f"""
import sys
from importlib.machinery import PathFinder
class Blocked:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision"):
            return None
        return PathFinder.find_spec(name, path, target)
sys.meta_path = [finder for finder in sys.meta_path if finder is not PathFinder] + [Blocked]
{program}
assert not {{"torch", "torchvision", "openvino_telemetry"}} & {{name for name, module in sys.modules.items() if module}}
"""
    return subprocess.run([sys.executable, "-c", blocked], cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_prepared_release_and_a_cached_network_need_no_torch(
    prepared: Callable[..., Release], tiny_network: Callable[[], FasterRCNN], tmp_path: Path
) -> None:
    release = prepared(openvino_int8=True)
    path = tmp_path / "mine.pth"
    torch.save(tiny_network().state_dict(), path)
    open_detector(str(path), store_root=tmp_path, device="cpu", cache_dir=tmp_path / "cache")
    done = run_without_torch(f"""
from pathlib import Path
import numpy as np
from model_store.detector import open_detector
from model_store.engines import openvino
{FP32_ALONE}
for ref in ({str(release.folder)!r}, {str(path)!r}):
    detector = open_detector(ref, store_root=Path(), cache_dir=Path({str(tmp_path / "cache")!r}))
    print(detector.engine.name.partition("-")[0], len(detector.detect([np.zeros((50, 50, 3), np.uint8)])))
""")
    assert (done.stdout, done.returncode) == ("openvino 1\nopenvino 1\n", 0), done.stderr


def test_without_torch_a_bare_state_dict_is_refused_with_the_reason(
    tiny_network: Callable[[], FasterRCNN], tmp_path: Path
) -> None:
    path = tmp_path / "mine.pth"
    torch.save(tiny_network().state_dict(), path)
    done = run_without_torch(f"""
from pathlib import Path
from model_store.detector import open_detector
from model_store.engines import openvino
from model_store.errors import EngineNotAvailable
try:
    open_detector({str(path)!r}, store_root=Path())
except EngineNotAvailable as error:
    print(error)
""")
    assert "mine.pth is a bare state dict, which takes torch to read" in done.stdout, done.stderr
