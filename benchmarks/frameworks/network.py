"""The model served by every framework: the notebook's network in eager fp32, or a stand-in that costs nothing."""

import os
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

MODEL = "BENCHMARK_MODEL"
PORT = "BENCHMARK_PORT"
"""Environment variables, because frameworks start processes whose arguments cannot be chosen."""

CONSTANT = "constant"
"""Name of the stand-in, which decodes the photo but runs no network; it shows the cost of the servers themselves."""

_THRESHOLD = 0.5


def load(model: str) -> Callable[[BinaryIO], dict[str, Any]]:
    """Return a function from image file to answer; `model` is a release, a bare state dict's file, or `CONSTANT`."""
    if model == CONSTANT:
        return _constant
    return _eager(model)


def from_environment() -> Callable[[BinaryIO], dict[str, Any]]:
    """Load the model that the environment names."""
    return load(os.environ[MODEL])


def _constant(file: BinaryIO) -> dict[str, Any]:
    height, width, _ = np.asarray(Image.open(file).convert("RGB")).shape  # decode the pixels, as for a network
    return {"detections": [{"box": [0, 0, width, height], "label": "object", "score": 1.0}]}


def _eager(model: str) -> Callable[[BinaryIO], dict[str, Any]]:
    import torch  # noqa: PLC0415 - takes seconds to import
    from torchvision.transforms.functional import to_tensor  # noqa: PLC0415

    from model_store.network import load_network  # noqa: PLC0415
    from model_store.store import DEFAULT_ROOT  # noqa: PLC0415

    loaded = load_network(model, store_root=DEFAULT_ROOT)
    network = loaded.network.eval()
    names = loaded.info.class_names

    def detect(file: BinaryIO) -> dict[str, Any]:
        pixels = to_tensor(Image.open(file).convert("RGB"))
        with torch.no_grad():
            (answer,) = network([pixels])
        kept = answer["scores"] > _THRESHOLD
        columns = [answer[key][kept].tolist() for key in ("boxes", "labels", "scores")]
        rows = zip(*columns, strict=True)
        return {"detections": [{"box": box, "label": names[label - 1], "score": score} for box, label, score in rows]}

    return detect
