"""A dataset of drawn shapes, small enough to train on in a test."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from training.config import TrainConfig
from training.run_folder import HOLD_OUT_LIST, TRAIN_LIST, RunRecord, write_metrics, write_names

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


RECORD = RunRecord(
    dataset="PHOTOS",
    dataset_fingerprint="0" * 64,
    class_names=("disc", "square"),
    config=TrainConfig(epochs=3),
    commit=None,
    library_versions={"torch": "2.14.0"},
    weights="0 of 286 tensors from nothing",
    continued_from=None,
)


def write_run(
    folder: Path, *, aps: Sequence[float] = (0.1, 0.3, 0.2), hold_out: Sequence[str] = ("x.png",), **record: Any
) -> Path:
    """Write what a run of 20 images leaves behind after epochs with these APs, of 4 and then 10 s a piece."""
    folder.mkdir(parents=True)
    replace(RECORD, **record).write(folder)
    write_names(folder / TRAIN_LIST, [f"{number}.png" for number in range(20)])
    write_names(folder / HOLD_OUT_LIST, hold_out)
    rest = {"AP50": 0.5, "AP75": 0.25, "f1": 0.6, "threshold": 0.45, "learning_rate": 1e-3, "loss": 0.7}
    epochs = [
        {"epoch": number, "AP": ap, **rest, "images_per_s": 2.0 if number > 1 else 5.0, "per_class_ap": {"disc": ap}}
        for number, ap in enumerate(aps, 1)
    ]
    write_metrics(folder, epochs)
    return folder
