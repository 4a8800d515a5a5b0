"""Converted graphs are found again by the same weights on the same machine, and only then."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from model_store.engines import graph_cache
from model_store.engines.graph_cache import GraphCache
from model_store.engines.openvino import GRAPHS
from model_store.manifest import InputRule
from model_store.model_info import NetworkFacts

FACTS = NetworkFacts(
    architecture="fasterrcnn_resnet50_fpn",
    class_count=1,
    score_floor=0.05,
    detections_per_image=100,
    input=InputRule(min_size=800, max_size=1333, mean=(0.1, 0.2, 0.3), std=(1, 2, 3)),
)
SHA256 = "ab" * 32


def write(folder: Path) -> None:
    for graph in GRAPHS:
        (folder / f"{graph}.xml").write_text("<net/>")


def test_what_was_kept_is_found_by_the_next_process(tmp_path: Path) -> None:
    assert GraphCache(tmp_path, sha256=SHA256).facts() is None
    assert GraphCache(tmp_path, sha256=SHA256).keep(FACTS, write)
    assert GraphCache(tmp_path, sha256=SHA256).facts() == FACTS
    assert [path.name for path in tmp_path.iterdir()] == [GraphCache(tmp_path, sha256=SHA256).folder.name]


def test_other_weights_options_processors_and_versions_have_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    GraphCache(tmp_path, sha256=SHA256).keep(FACTS, write)
    assert GraphCache(tmp_path, sha256="cd" * 32).facts() is None
    assert GraphCache(tmp_path, sha256=SHA256, options="min_size 640").facts() is None
    with monkeypatch.context() as patch:
        patch.setattr(graph_cache, "model_name", lambda: "another processor")
        assert GraphCache(tmp_path, sha256=SHA256).facts() is None
    other = tmp_path / "another_converter.py"
    other.write_text("pass")
    with monkeypatch.context() as patch:
        patch.setattr(graph_cache, "_CONVERTER", (other,))
        assert GraphCache(tmp_path, sha256=SHA256).facts() is None
    monkeypatch.setattr(graph_cache.ov, "__version__", "1")
    assert GraphCache(tmp_path, sha256=SHA256).facts() is None


def test_half_a_folder_counts_as_none_and_is_replaced(tmp_path: Path) -> None:
    cache = GraphCache(tmp_path, sha256=SHA256)
    cache.keep(FACTS, write)
    (cache.folder / "head.xml").unlink()
    assert cache.facts() is None
    assert cache.keep(replace(FACTS, class_count=2), write)
    (cache.folder / "facts.json").write_text("{")
    assert cache.facts() is None
    assert cache.keep(FACTS, write)
    assert cache.facts() == FACTS


def test_a_failed_conversion_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        write(folder)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        GraphCache(tmp_path, sha256=SHA256).keep(FACTS, fail)
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written_only_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        assert not GraphCache(tmp_path / "file", sha256=SHA256).keep(FACTS, write)
    assert "cannot be written" in caplog.text
