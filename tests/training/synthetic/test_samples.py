"""The renders in docs/renders are what the recipe draws today, labelled, and small."""

import json
from pathlib import Path
from typing import Any

import pytest

from rendersight.annotations.dataset import load_pixels, read_annotations
from training.synthetic.annotate import MIN_SIDE_PX
from training.synthetic.camera import SIZE_PX
from training.synthetic.dice import DICE_LABELS
from training.synthetic.recipes import dice

RENDERS = Path(__file__).parents[3] / "docs" / "renders"
COUNT = 24


def rounded(text: str) -> Any:
    """Other machines' sines differ in the last digit."""
    return json.loads(text, parse_float=lambda digits: float(f"{float(digits):.9g}"))


def test_renders_in_docs_are_labelled_and_small() -> None:
    found = read_annotations(RENDERS)
    assert found.faults == ()
    assert len(found.images) == COUNT
    assert {label for image in found.images for label in image.labels} == set(DICE_LABELS)
    assert sum(path.stat().st_size for path in RENDERS.glob("*.jpg")) < 2_000_000
    for image in found.images:
        assert load_pixels(image).shape == (SIZE_PX, SIZE_PX, 3)
        assert ((image.boxes_xyxy[:, 2:] - image.boxes_xyxy[:, :2]) >= MIN_SIDE_PX).all()


@pytest.mark.parametrize("seed", range(COUNT))
def test_seed_draws_the_scene_in_docs(seed: int) -> None:
    spec = rounded((RENDERS / f"{seed:06d}.scene.json").read_text("utf-8"))
    assert spec == rounded(json.dumps(dice(seed, spec["attempt"]).as_json()))
    shown = json.loads((RENDERS / f"{seed:06d}.json").read_text("utf-8"))["shapes"]
    drawn = [thing["label"] for thing in spec["things"] if thing["label"] is not None]
    assert sorted(shape["label"] for shape in shown) == sorted(drawn)
