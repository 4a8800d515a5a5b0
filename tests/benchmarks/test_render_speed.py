"""Facts of rendered photos: clipped ones, empty ones, and how large the objects are."""

from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.render_speed import facts_of
from rendersight.annotations import AnnotatedImage
from training.data.dataset import LabelledImages


def photo(path: Path, *, level: int, side: int | None) -> AnnotatedImage:
    """Write a grey photo of 100 px with a square object."""
    Image.fromarray(np.full((100, 100, 3), level, np.uint8)).save(path)
    boxes = np.array([[0, 0, side, 1]], np.float32) if side else np.zeros((0, 4), np.float32)
    return AnnotatedImage(path.name, path, None, (100, 100), boxes, ("a",) * len(boxes))


def test_counts_clipped_and_empty_photos(tmp_path: Path) -> None:
    pictures = (
        photo(tmp_path / "dark.png", level=100, side=20),
        photo(tmp_path / "clipped.png", level=255, side=60),
        photo(tmp_path / "empty.png", level=100, side=None),
    )
    facts = facts_of(LabelledImages(pictures, ("a",)))
    assert facts.startswith("1 of 3 photos have more than 5% clipped pixels, 1 have no labelled object")
    assert "2 objects" in facts
    assert "0.220 to 0.580" in facts


def test_no_objects_at_all(tmp_path: Path) -> None:
    facts = facts_of(LabelledImages((photo(tmp_path / "empty.png", level=0, side=None),), ("a",)))
    assert "0 objects" in facts
