"""Choice of the engine by `auto`: the fastest that is known to be accurate and that runs here."""

import logging
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openvino as ov
import pytest
from openvino import opset13

from model_store import cpu, detector, store
from model_store.detector import Detector, open_detector
from model_store.engines import graphs, openvino
from model_store.errors import EngineNotAvailable, ModelError
from model_store.manifest import EngineRecord
from model_store.store import Release
from rendersight.images import RgbImage

ROOT = Path(__file__).parents[2]
GRAPHS = "engines/prepared"

FP32_ALONE = "openvino._BFLOAT16 = ()"


@pytest.fixture(autouse=True)
def nothing_is_reduced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding makes another network of a random one, which the golden check would refuse."""
    monkeypatch.setattr(openvino, "_BFLOAT16", ())


@pytest.fixture
def prepared(tiny_release: Release, tiny_graphs: Path, change_manifest: Callable[..., None]) -> Callable[..., Release]:
    """Give the release engines, the same unquantised graphs under each name: name -> whether it is judged."""

    def prepare(**judged: bool) -> Release:
        shutil.copytree(tiny_graphs, tiny_release.folder / GRAPHS, dirs_exist_ok=True)
        records = {
            name.replace("_", "-"): EngineRecord(
                graphs=GRAPHS,
                data="noise",
                image_count=1,
                figures={"AP": 0.5},
                reference={"AP": 0.5},
                is_judged=is_judged,
            )
            for name, is_judged in judged.items()
        }
        change_manifest(tiny_release, engines=records)
        return store.open_release(tiny_release.folder)

    return prepare


@pytest.fixture
def engine_of(tiny_cache: Path) -> Callable[..., str]:
    """Open a release and tell which engine runs it."""

    def open_it(release: Release, engine: str = "auto") -> str:
        return open_on_one_core(release.folder, tiny_cache, engine=engine).engine.name

    return open_it


def open_on_one_core(path: Path, cache: Path, **options: Any) -> Detector:
    return open_detector(str(path), store_root=path.parent, device="cpu", cores=1, cache_dir=cache, **options)


def test_auto_takes_the_fastest_that_is_judged(
    prepared: Callable[..., Release], engine_of: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "has_bfloat16", lambda: True)
    assert engine_of(prepared(openvino_int8=True, openvino_bf16=True)) == "openvino-int8"
    release = prepared(openvino_int8=False, openvino_bf16=True)
    assert engine_of(release) == "openvino-bf16"
    assert engine_of(release, "openvino-int8") == "openvino-int8"
    monkeypatch.setattr(cpu, "has_bfloat16", lambda: False)
    assert engine_of(release) == "openvino-fp32"  # what this processor would only imitate is no gain


@pytest.mark.parametrize(("count", "engine"), [(19, "openvino-int8"), (20, "openvino-int8"), (21, "openvino-fp32")])
def test_engines_prepared_for_fewer_objects_are_not_used(
    prepared: Callable[..., Release], tmp_path: Path, count: int, engine: str
) -> None:
    release = prepared(openvino_int8=True)
    detector = open_on_one_core(release.folder, tmp_path / "cache", detections_per_image=count)
    assert (detector.engine.name, detector.info.detections_per_image) == (engine, count)


def test_int8_that_was_never_measured_is_refused(tiny_release: Release, engine_of: Callable[..., str]) -> None:
    with pytest.raises(EngineNotAvailable, match="no int8 engine; prepare one"):
        engine_of(tiny_release, "openvino-int8")


def test_a_broken_engine_is_left_out_with_a_warning(
    prepared: Callable[..., Release],
    engine_of: Callable[..., str],
    change_manifest: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    release = prepared(openvino_int8=True)
    (release.folder / GRAPHS / "head.xml").write_text("<net/>")
    change_manifest(release, engines=release.manifest.engines)
    with caplog.at_level(logging.WARNING):
        assert engine_of(store.open_release(release.folder)) == "openvino-fp32"
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert line.startswith("engine openvino-int8 is left out: the graphs cannot be used")
    assert line.endswith("openvino-fp32 serves instead, at about half the speed")
    with pytest.raises(ModelError, match="graphs cannot be used"):
        engine_of(store.open_release(release.folder), "openvino-int8")


def test_skipped_engines_do_not_name_folders_of_this_machine(
    prepared: Callable[..., Release], change_manifest: Callable[..., None], tiny_cache: Path
) -> None:
    release = prepared(openvino_int8=True)
    (release.folder / GRAPHS / "head.xml").unlink()
    change_manifest(release, engines=release.manifest.engines)
    (skipped,) = open_on_one_core(release.folder, tiny_cache).skipped
    assert skipped.name == "openvino-int8"
    assert "head.xml" in skipped.reason
    assert str(release.folder) not in skipped.reason


def test_an_engine_that_finds_something_else_is_left_out(
    prepared: Callable[..., Release],
    engine_of: Callable[..., str],
    change_manifest: Callable[..., None],
    tiny_graphs: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    release = prepared(openvino_int8=True)
    head = ov.Core().read_model(tiny_graphs / "head.xml")
    scores = next(node for node in head.get_ops() if node.get_type_name() == "Softmax")
    scores.input(0).replace_source_output(opset13.negative(scores.input_value(0)).output(0))
    ov.save_model(head, release.folder / GRAPHS / "head.xml", compress_to_fp16=False)
    change_manifest(release, engines=release.manifest.engines)
    with caplog.at_level(logging.WARNING):
        assert engine_of(store.open_release(release.folder)) == "openvino-fp32"
    assert "engine openvino-int8 is left out: golden images" in caplog.text


def test_refuses_engine_with_another_number_of_classes(
    prepared: Callable[..., Release], engine_of: Callable[..., str], change_manifest: Callable[..., None]
) -> None:
    release = prepared(openvino_int8=True)
    names = (*release.manifest.class_names, "more")
    change_manifest(release, class_names=names)
    with pytest.raises(ModelError, match=rf"the manifest names {len(names)} classes, its network has {len(names) - 1}"):
        engine_of(store.open_release(release.folder), "openvino-int8")


def test_fp16_is_for_cuda(tiny_release: Release, engine_of: Callable[..., str]) -> None:
    with pytest.raises(EngineNotAvailable, match="needs CUDA"):
        engine_of(tiny_release, "torch-fp16")


def test_torch_runs_in_bfloat16_where_it_is_asked_for(
    tiny_release: Release, engine_of: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detector, "check_golden", lambda engine, release: None)  # rounding makes it another network
    assert engine_of(tiny_release, "torch-bf16") == "torch-bf16"


def test_a_bare_state_dict_is_converted_once_and_then_needs_no_torch(
    prepared: Callable[..., Release],
    tiny_store: Path,
    tiny_cache: Path,
    noise: Callable[..., RgbImage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It takes seconds: a conversion, and a process that cannot import torch."""
    path = tiny_store / "tiny/1/model.pt"
    monkeypatch.setattr(cpu, "has_bfloat16", lambda: True)
    first = open_on_one_core(path, tiny_cache)
    monkeypatch.setattr(cpu, "has_bfloat16", lambda: False)
    monkeypatch.delattr(graphs, "write_graphs")  # a second conversion would fail
    again = open_on_one_core(path, tiny_cache, class_names=("a", "b", "c"))
    assert (first.engine.name, again.engine.name) == ("openvino-bf16", "openvino-fp32")
    assert again.info.class_names == ("a", "b", "c")
    assert again.info.sha256 == first.info.sha256 == store.sha256_of(path)
    picture = noise(100, 90)
    assert len(again.detect([picture])[0]) == len(first.detect([picture])[0]) > 0

    done = run_without_torch(f"""
from pathlib import Path
import numpy as np
from model_store.detector import Detector, open_detector
from model_store.engines import openvino
from model_store.errors import EngineNotAvailable
{FP32_ALONE}
for ref in ({str(prepared(openvino_int8=True).folder)!r}, {str(path)!r}):
    detector = open_detector(ref, store_root=Path(), cores=1, cache_dir=Path({str(tiny_cache)!r}))
    print(detector.engine.name.partition("-")[0], len(detector.detect([np.zeros((50, 50, 3), np.uint8)])))
try:
    open_detector({str(path)!r}, store_root=Path())
except EngineNotAvailable as error:
    print(error)
""")
    prepared_release, cached, unknown = done.stdout.splitlines() or pytest.fail(done.stderr)
    assert prepared_release == cached == "openvino 1"
    assert "model.pt is a bare state dict, which only torch can read" in unknown
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize("cache", ["file/below", "file"])
def test_a_cache_that_cannot_be_made_costs_no_prepared_engine(
    prepared: Callable[..., Release], tmp_path: Path, caplog: pytest.LogCaptureFixture, cache: str
) -> None:
    (tmp_path / "file").write_text("")
    detector = open_on_one_core(prepared(openvino_int8=True).folder, tmp_path / cache, engine="openvino-int8")
    assert detector.engine.name == "openvino-int8"
    assert f"the cache {tmp_path / cache} cannot be made" in caplog.text


@pytest.mark.long
def test_a_full_disk_costs_no_converted_engine(
    tiny_store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A limit on the size of files stands for the full disk: OpenVINO sees the same failed write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        detector = open_on_one_core(tiny_store / "tiny/1", tmp_path / "cache", engine="openvino-fp32")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert detector.engine.name == "openvino-fp32"
    assert "cannot be written" in caplog.text
    assert not list(tmp_path.rglob("*.xml"))


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
