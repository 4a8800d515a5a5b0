from pathlib import Path

import pytest

from model_store.manifest import Manifest
from training.reports.model_card import card_text

MANIFEST = Path(__file__).parents[2] / "model_store" / "manifests" / "schema_2.json"


@pytest.mark.parametrize("figures", [{}, {"AP": 0.0, "f1": 0.0}], ids=["no object", "nothing found"])
def test_recommends_no_threshold_that_nothing_was_measured_for(figures: dict[str, float]) -> None:
    manifest = Manifest.model_validate_json(MANIFEST.read_bytes())
    hold_out = manifest.metrics[0].model_copy(update={"figures": figures})
    card = card_text(manifest.model_copy(update={"metrics": (hold_out,), "score_threshold_from": ()}))
    assert "Recommended" not in card
    assert "None can be recommended" in card
    assert "Recommended score threshold" in card_text(manifest)
