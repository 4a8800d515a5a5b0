import pwd
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from model_store.detector import Detector
from model_store.errors import ModelError
from tests.app.fakes import CARD, FixedEngine


def test_the_settings_reach_the_model_store() -> None:
    asked: list[tuple[Any, ...]] = []

    def record(ref: str, **options: Any) -> Detector:
        asked.append((ref, options))
        return Detector(CARD, FixedEngine())

    settings = Settings(
        model="fruit@3",
        model_store=Path("/models"),
        labels=("a", "b"),
        device="cpu",
        streams=2,
        cache_dir=Path("~/kept"),
        min_size=512,
        detections_per_image=300,
    )
    with TestClient(create_app(settings, open_detector=record)):
        pass
    options = {
        "store_root": Path("/models"),
        "device": "cpu",
        "engine": "auto",
        "class_names": ("a", "b"),
        "streams": 2,
        "cache_dir": Path.home() / "kept",
        "share": 1.0,
        "min_size": 512,
        "detections_per_image": 300,
    }
    assert asked == [("fruit@3", options)]


def test_a_user_without_home_folder_has_no_cache(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    asked = []

    def record(ref: str, **options: Any) -> Detector:
        asked.append(options["cache_dir"])
        return Detector(CARD, FixedEngine())

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with TestClient(create_app(Settings(), open_detector=record)):
        pass
    assert asked == [None]
    assert "each start converts anew; RENDERSIGHT_CACHE_DIR names a folder" in caplog.text


def test_start_fails_without_a_usable_model(tmp_path: Path) -> None:
    app = create_app(Settings(model="dice", model_store=tmp_path))
    with pytest.raises(ModelError, match="no release 'dice'"), TestClient(app):
        pass
