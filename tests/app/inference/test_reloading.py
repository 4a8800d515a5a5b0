import json
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.http.keys import hash_of
from app.inference.reloading import open_newest
from app.main import create_app
from app.settings import Settings
from model_store import store
from model_store.detector import Detector
from model_store.errors import BrokenRelease
from tests.app.conftest import NOT_CONVERTED
from tests.app.fakes import CARD, PHOTO, FixedEngine, HeldEngine
from tests.app.wire import sample, wait_until

ADMIN = {"Authorization": "Bearer rs_admin"}


class Service:
    """The service with a real model store; its release `tiny` is copied there as often as a test likes."""

    def __init__(self, root: Path, originals: Path) -> None:
        self.root = root
        self._original = originals / "tiny" / "1"
        keys = root / "keys"
        keys.write_text(f"admin admin {hash_of('rs_admin')}\nall detect {hash_of('rs_all')}")
        self.add(1)
        self.app: FastAPI = create_app(
            Settings(
                model="tiny",
                model_store=root,
                device="cpu",
                engine=NOT_CONVERTED,
                reload_interval_s=0,
                api_keys_file=keys,
            )
        )
        self.client = TestClient(self.app)

    def add(self, version: int, change: Callable[[Path, dict[str, Any]], None] = lambda *_: None) -> None:
        """Publish a copy with this version, changed before it appears."""
        draft = self.root / ".draft"
        shutil.copytree(self._original, draft)
        manifest = json.loads((draft / "manifest.json").read_text())
        manifest["version"] = version
        change(draft, manifest)
        if (draft / "manifest.json").exists():
            (draft / "manifest.json").write_text(json.dumps(manifest))
        (self.root / "tiny").mkdir(exist_ok=True)
        draft.rename(self.root / "tiny" / str(version))

    def reload(self) -> Any:
        return self.client.post("/models/reload", headers=ADMIN)

    def served(self) -> str:
        answer = self.client.post("/detect", content=PHOTO, headers={"Authorization": "Bearer rs_all"})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["model"]["version"])

    def models(self) -> Any:
        return self.client.get("/models", headers={"Authorization": "Bearer rs_all"}).json()

    def refusals(self) -> float:
        return sample(self.app.state.metrics, "detect_reloads_total", outcome="refused")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, release_store: Path) -> Iterator[Service]:
    """A service that runs through this module's tests; each of them leaves `tiny@1` alone in the store."""
    service = Service(tmp_path_factory.mktemp("served"), release_store)
    with service.client:
        yield service


def truncated(folder: Path, manifest: dict[str, Any]) -> None:
    weights = folder / store.WEIGHTS
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


def other_classes(folder: Path, manifest: dict[str, Any]) -> None:
    manifest["class_names"] = ["right", "left"]


def too_many_classes(folder: Path, manifest: dict[str, Any]) -> None:
    manifest["class_names"] = ["left", "right", "middle"]


def golden_mismatch(folder: Path, manifest: dict[str, Any]) -> None:
    manifest["golden"][0]["expected"] = [{"label_id": 1, "score": 0.99, "box_xyxy": [20, 20, 30, 30]}]


def half_copied(folder: Path, manifest: dict[str, Any]) -> None:
    (folder / "manifest.json").unlink()
    (folder / store.GOLDEN_IMAGE).unlink()


def no_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    manifest.clear()


def leads_out(folder: Path, manifest: dict[str, Any]) -> None:
    (folder / "more").symlink_to(folder.parent / "keys")
    manifest["files"]["more"] = store.sha256_of(folder / "more")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (truncated, "sha256 is "),
        (other_classes, "tiny@2 has the classes right, left, and tiny@1 has left, right"),
        (too_many_classes, "does not fit it: size mismatch"),
        (golden_mismatch, "golden images: "),
        (half_copied, "manifest.json"),
        (no_manifest, "manifest.json"),
        (leads_out, "points outside the release's folder"),
    ],
)
def test_refuses_bad_release_and_serves_the_old_one(
    service: Service, caplog: pytest.LogCaptureFixture, change: Callable[[Path, dict[str, Any]], None], reason: str
) -> None:
    before = service.refusals()
    service.add(2, change)
    try:
        refused = service.reload()
    finally:
        shutil.rmtree(service.root / "tiny" / "2")
    assert refused.status_code == 409
    assert refused.json()["type"] == "urn:rendersight:problem:release-refused"
    assert reason in refused.json()["detail"]
    last = service.models()["last_reload"]
    assert (last["outcome"], last["detail"]) == ("refused", refused.json()["detail"])
    assert service.served() == service.models()["models"][0]["version"] == "1"
    assert service.refusals() == before + 1
    assert "release refused: " in caplog.text
    assert str(service.root) not in refused.text  # clients are not to know it


def test_swaps_to_a_newer_release_and_back(service: Service) -> None:
    """The newer one is still being copied when the service looks at it first."""
    assert service.reload().json()["outcome"] == "unchanged"
    service.add(2, half_copied)
    assert service.reload().status_code == 409
    first, second = (service.root / "tiny" / version for version in "12")
    shutil.copy(first / store.GOLDEN_IMAGE, second / store.GOLDEN_IMAGE)
    assert service.reload().status_code == 409
    manifest = json.loads((first / "manifest.json").read_text()) | {"version": 2}
    (second / "manifest.json").write_text(json.dumps(manifest))
    done = service.reload()
    assert (done.status_code, done.json()["outcome"]) == (200, "swapped")
    assert done.json()["detail"] == "tiny@2 replaces tiny@1"
    assert service.served() == service.models()["models"][0]["version"] == "2"
    assert service.models()["last_reload"] == done.json()
    assert service.reload().json()["outcome"] == "unchanged"
    shutil.rmtree(second)
    assert service.reload().json()["outcome"] == "swapped"
    assert service.served() == "1"
    assert sample(service.app.state.metrics, "detect_reloads_total", outcome="swapped") == 2
    assert sample(service.app.state.metrics, "detect_model_info", version="1") == 1
    assert sample(service.app.state.metrics, "detect_model_info") == 1


def swapping(first: Detector, others: Iterator[Detector], root: Path, **settings: Any) -> FastAPI:
    """A service whose model is what comes next, as often as the folder `fruit/1` changes."""
    opened = iter([first])

    def open_next(*_: Any, **__: Any) -> Detector:
        return next(opened, None) or next(others)

    return create_app(Settings(model="fruit", model_store=root, **settings), open_detector=open_next)


def change(root: Path, text: str) -> None:
    (root / "fruit" / "1").mkdir(parents=True, exist_ok=True)
    (root / "fruit" / "1" / "file").write_text(text)


def test_checks_periodically_and_tries_a_bad_release_once(tmp_path: Path) -> None:
    def others() -> Iterator[Detector]:
        yield Detector(replace(CARD, version="4"), FixedEngine())
        yield Detector(replace(CARD, class_names=("fig",)), FixedEngine())

    app = swapping(Detector(CARD, FixedEngine()), others(), tmp_path, reload_interval_s=0.02)
    with TestClient(app) as client:
        time.sleep(0.2)
        assert client.get("/models").json()["models"][0]["version"] == "3"
        change(tmp_path, "a")
        wait_until(lambda: client.get("/models").json()["models"][0]["version"] == "4")
        change(tmp_path, "ab")
        wait_until(lambda: client.get("/models").json()["last_reload"]["outcome"] == "refused")
        time.sleep(0.2)  # further tries would exhaust the generator
        assert sample(app.state.metrics, "detect_reloads_total") == 2
        assert client.get("/models").json()["models"][0]["version"] == "4"


@pytest.mark.parametrize("error", [MemoryError("too much"), RuntimeError("odd"), OSError(5, "Input/output error")])
def test_old_model_serves_on_after_a_failed_load(tmp_path: Path, error: Exception) -> None:
    def others() -> Iterator[Detector]:
        raise error
        yield

    app = swapping(Detector(CARD, FixedEngine()), others(), tmp_path, reload_interval_s=0.02)
    with TestClient(app) as client:
        change(tmp_path, "a")
        wait_until(lambda: client.get("/models").json()["last_reload"] is not None)
        assert client.get("/models").json()["last_reload"]["outcome"] == "refused"
        assert client.post("/detect", content=PHOTO).status_code == 200


def test_releases_the_old_model_after_its_requests(tmp_path: Path) -> None:
    engine = HeldEngine()
    old = Detector(CARD, engine)
    watched = weakref.ref(old)
    new = Detector(replace(CARD, version="4"), FixedEngine())
    app = swapping(old, iter([new]), tmp_path, reload_interval_s=0.02)
    del old
    with TestClient(app) as client, ThreadPoolExecutor() as threads:
        before = [threads.submit(client.post, "/detect", content=PHOTO) for _ in range(2)]
        assert engine.started.wait(20)
        wait_until(lambda: sample(app.state.metrics, "detect_queue_depth") == 1)
        change(tmp_path, "a")
        wait_until(lambda: client.get("/models").json()["models"][0]["version"] == "4")
        engine.release.set()
        assert client.post("/detect", content=PHOTO).json()["model"]["version"] == "4"
        assert {answer.result().json()["model"]["version"] for answer in before} == {"3"}
        wait_until(lambda: watched() is None)


def test_two_who_ask_at_once_wait_for_each_other(tmp_path: Path) -> None:
    loading, release = threading.Event(), threading.Event()

    def others() -> Iterator[Detector]:
        loading.set()
        assert release.wait(20)
        yield Detector(replace(CARD, version="4"), FixedEngine())

    keys = tmp_path / "keys"
    keys.write_text(f"admin admin {hash_of('rs_admin')}")
    app = swapping(Detector(CARD, FixedEngine()), others(), tmp_path, reload_interval_s=0, api_keys_file=keys)
    with TestClient(app) as client, ThreadPoolExecutor() as threads:
        change(tmp_path, "a")
        asked = [threads.submit(client.post, "/models/reload", headers=ADMIN) for _ in range(2)]
        assert loading.wait(20)
        assert client.get("/readyz").status_code == 200
        release.set()
        assert sorted(answer.result().json()["outcome"] for answer in asked) == ["swapped", "unchanged"]


def test_rolls_back_a_release_with_more_classes(tmp_path: Path) -> None:
    def others() -> Iterator[Detector]:
        yield Detector(replace(CARD, version="4", class_names=(*CARD.class_names, "fig")), FixedEngine())
        yield Detector(CARD, FixedEngine())

    app = swapping(Detector(CARD, FixedEngine()), others(), tmp_path, reload_interval_s=0.02)
    with TestClient(app) as client:
        for text, version in (("a", "4"), ("ab", "3")):
            change(tmp_path, text)
            wait_until(lambda version=version: client.get("/models").json()["models"][0]["version"] == version)


def test_retries_an_unreadable_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = Detector(replace(CARD, version="4"), FixedEngine())
    app = swapping(Detector(CARD, FixedEngine()), iter([new]), tmp_path, reload_interval_s=0.02)
    with TestClient(app) as client:
        with monkeypatch.context() as broken:

            def denied(*_: Any) -> str:
                raise PermissionError(13, "Permission denied", "/secret/path")

            broken.setattr(store, "fingerprint", denied)
            wait_until(lambda: client.get("/models").json()["last_reload"] is not None)
            told = client.get("/models").json()["last_reload"]
            assert (told["outcome"], told["detail"]) == ("refused", "Permission denied")
        change(tmp_path, "a")
        wait_until(lambda: client.get("/models").json()["models"][0]["version"] == "4")


def test_start_serves_the_newest_release_that_opens(
    tmp_path: Path, release_store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service(tmp_path, release_store)
    service.add(2)
    service.add(3, truncated)
    with service.client:
        assert service.served() == "2"
        told = service.models()["last_reload"]
        assert told["outcome"] == "refused"
        assert told["detail"].startswith("tiny/3/model.pt: sha256 is ")
        assert "newest release of tiny refused, serving tiny@2 instead" in caplog.text


@pytest.mark.parametrize("ref", ["tiny@2", "tiny"])
def test_start_does_not_replace_a_pinned_release(tmp_path: Path, release_store: Path, ref: str) -> None:
    service = Service(tmp_path, release_store)
    service.add(2, truncated)
    if ref == "tiny":
        truncated(tmp_path / "tiny" / "1", {})
    settings = Settings(model=ref, model_store=tmp_path, device="cpu", engine=NOT_CONVERTED)
    with pytest.raises(BrokenRelease, match=r"tiny/2/model\.pt: sha256 is "), TestClient(create_app(settings)):
        pass


def test_start_does_not_replace_a_broken_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in "12":
        (tmp_path / "store" / "tiny" / version).mkdir(parents=True)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "manifest.json").write_text("{")
    monkeypatch.chdir(tmp_path)
    opened = []

    def open_model(ref: str) -> Detector:
        opened.append(ref)
        store.locate(tmp_path / "store", ref)
        return Detector(CARD, FixedEngine())

    with pytest.raises(BrokenRelease, match=r"tiny/manifest\.json"):
        open_newest("tiny", root=tmp_path / "store", open_model=open_model)
    assert opened == ["tiny"]
