"""A dataset of drawn shapes, small enough to train on in a test, and a run on it that all tests share."""

import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
import torch
from openvino import opset13 as op
from PIL import Image, ImageDraw

from model_store import store
from model_store.store import Release
from tests.model_store.conftest import (  # noqa: F401 - fixtures
    noise,
    random_network,
    tiny_cache,
    tiny_graphs,
    tiny_network,
    tiny_options,
    tiny_release,
    tiny_store,
)
from training.config import TrainConfig
from training.learning import run
from training.records.checkpoint import BEST
from training.records.run_folder import (
    HOLD_OUT_LIST,
    TRAIN_LIST,
    WORK,
    RunRecord,
    read_metrics,
    write_metrics,
    write_names,
)
from training.releasing.publish import ReleaseTexts, publish
from training.releasing.work_folder import WorkFolder

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
        document = {"version": "5.5.0", "shapes": shapes, "imagePath": f"photo_{number:02d}.png", "imageData": None}
        (folder / f"photo_{number:02d}.json").write_text(json.dumps(document))
    return folder


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten photos, two of them empty."""
    return draw_dataset(tmp_path_factory.mktemp("shapes"), count=10)


# 7 images in batches of 3: two processes share the last batch of 1 image, and 3 held-out images
CONFIG = TrainConfig(
    architecture="fasterrcnn_mobilenet_v2_fpn",
    weights="none",
    min_size=96,
    max_size=96,
    rois_per_image=32,
    epochs=2,
    batch_size=3,
    hold_out=3,
    warmup_steps=2,
    rotate90=0.5,
    precision="fp32",
)
STEPS = 3  # of an epoch


def never() -> bool:
    return False


def plain_bar(items: Iterable[Any], **_: Any) -> Iterable[Any]:
    return items


def run_context(**changes: Any) -> run.RunContext:
    context = run.RunContext(
        device="cpu", workers=0, store_root=Path(), say=lambda _: None, bar=plain_bar, stop_asked=never
    )
    return replace(context, **changes)


def figures(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics without the value that depends on the clock."""
    return [{key: value for key, value in line.items() if key != "images_per_s"} for line in read_metrics(folder)]


@cache
def _start_openvino() -> None:
    """Let OpenVINO count the cores while all are there: it keeps the number for the process, for other tests too."""
    value = op.parameter([1], ov.Type.f32)
    ov.compile_model(ov.Model([op.relu(value)], [value]), "CPU")


@contextmanager
def on_one_core() -> Iterator[None]:
    """Keep a training on one core: its sums round alike everywhere, and threads do not wait for each other."""
    _start_openvino()
    threads = torch.get_num_threads()
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else set()  # Linux alone
    if cores:
        worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
        os.sched_setaffinity(0, {sorted(cores)[worker % len(cores)]})
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if cores:
            os.sched_setaffinity(0, cores)


@pytest.fixture(scope="module", autouse=True)
def one_core() -> Iterator[None]:
    """Every test here; networks and pictures are small."""
    with on_one_core():
        yield


@dataclass(frozen=True)
class Finished:
    """A run that nothing interrupted, what it said, and how long it took; not to be changed."""

    folder: Path
    said: tuple[str, ...]
    seconds: float


@pytest.fixture(scope="session")
def whole(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    def bar(items: Iterable[Any], *, desc: str, **_: Any) -> Iterable[Any]:
        if desc == "hold-out":
            time.sleep(0.6)  # rounds to a second that is left
        return items

    folder = tmp_path_factory.mktemp("runs") / "whole"
    said: list[str] = []
    began = time.monotonic()
    with on_one_core():
        run.start(shapes, folder, CONFIG, class_names=None, context=run_context(say=said.append, bar=bar))
    return Finished(folder, tuple(said), time.monotonic() - began)


@pytest.fixture(scope="session")
def finished(whole: Finished) -> Path:
    """The folder of `whole`."""
    return whole.folder


RECORD = RunRecord(
    dataset="PHOTOS",
    dataset_fingerprint="0" * 64,
    class_names=("disc", "square"),
    config=TrainConfig(epochs=3),
    commit=None,
    library_versions={"torch": "2.14.0"},
    weights="random weights",
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


TINY_ADAPT = {
    "epochs": 1,
    "batch_size": 3,
    "rois_per_image": 16,
    "crop_px": 64,
    "frozen_stages": 4,
    "precision": "fp32",
}


@pytest.fixture(scope="session")
def store_of_discs(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the release `discs@1`; not to be changed, copy it."""
    root = tmp_path_factory.mktemp("discs")
    with on_one_core():
        run.start(
            shapes,
            root / "run",
            CONFIG.model_copy(update={"epochs": 1}),
            class_names=("disc", "square"),
            context=run_context(),
        )
        weights = torch.load(root / "run" / BEST, weights_only=True)
        weights["roi_heads.box_predictor.cls_score.weight"] *= 30
        weights["roi_heads.box_predictor.cls_score.bias"] = torch.tensor([0.0, 3.0, -1.0])
        torch.save(weights, root / "run" / BEST)
        publish(
            root / "run",
            "discs",
            store_root=root / "store",
            texts=ReleaseTexts("Finds drawn shapes.", "drawn shapes", "MIT"),
            dataset=None,
            also_measure=[],
            with_photos=True,
            work=WorkFolder(root / "run" / WORK, lambda _: None),
            bar=plain_bar,
        )
    return root / "store"


@pytest.fixture(scope="session")
def discs(store_of_discs: Path) -> Release:
    """The release `discs@1`."""
    return store.find(store_of_discs, "discs")


@pytest.fixture(scope="session")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photos of another place, without labels."""
    folder = draw_dataset(tmp_path_factory.mktemp("place") / "Our Hall", count=6, seed=5)
    for path in folder.glob("*.json"):
        path.unlink()
    return folder


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four labelled photos of that place."""
    return draw_dataset(tmp_path_factory.mktemp("few") / "few", count=4, seed=6)


@pytest.fixture(scope="session")
def adapt_preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preset for tiny networks."""
    path = tmp_path_factory.mktemp("preset") / "tiny.toml"
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in TINY_ADAPT.items()))
    return path
