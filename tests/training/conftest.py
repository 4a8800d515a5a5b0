"""A dataset of drawn shapes, small enough to train on in a test."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.model_store.conftest import (  # noqa: F401 - fixtures
    noise,
    random_network,
    tiny_network,
    tiny_options,
    tiny_release,
    tiny_store,
)

COLOURS = {"disc": (220, 40, 40), "square": (40, 60, 220)}


def draw_dataset(folder: Path, *, count: int, seed: int = 0, size: int = 96) -> Path:
    """Write photos of one or two coloured shapes with LabelMe JSON; every fifth is empty."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        ground = rng.integers(90, 140, (size, size, 3), dtype=np.uint8)
        image = Image.fromarray(ground)
        pen = ImageDraw.Draw(image)
        shapes = []
        for label in [] if number % 5 == 4 else rng.permutation(list(COLOURS))[: rng.integers(1, 3)]:
            side = int(rng.integers(24, 40))
            x, y = (int(v) for v in rng.integers(0, size - side, 2))
            draw = pen.ellipse if label == "disc" else pen.rectangle
            draw((x, y, x + side - 1, y + side - 1), fill=COLOURS[str(label)])
            points = [[x, y], [x + side, y + side]]
            shapes.append({"label": str(label), "points": points, "shape_type": "rectangle"})
        image.save(folder / f"photo_{number:02d}.png")
        if shapes:
            document = {"version": "5.5.0", "shapes": shapes, "imagePath": f"photo_{number:02d}.png", "imageData": None}
            (folder / f"photo_{number:02d}.json").write_text(json.dumps(document))
    return folder


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten photos, two of them empty."""
    return draw_dataset(tmp_path_factory.mktemp("shapes"), count=10)
