"""What every framework serves here: the notebook's network in eager fp32, or a stand-in that costs nothing."""

import os
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

MODEL = "BENCHMARK_MODEL"
PORT = "BENCHMARK_PORT"
"""Environment variables: frameworks start processes of their own, whose arguments are not ours to choose."""

CONSTANT = "constant"
"""The model that answers without looking, for the cost of the servers themselves; the photo is decoded all the same."""

_THRESHOLD = 0.5

Answer = dict[str, Any]


def load(model: str) -> Callable[[BinaryIO], Answer]:
    """Return what turns an image file into an answer; a release's name or a bare state dict's file, or `CONSTANT`."""
    if model == CONSTANT:
        return _constant
    return _eager(model)


def from_environment() -> Callable[[BinaryIO], Answer]:
    """Return `load` of the model that the environment names."""
    return load(os.environ[MODEL])


def _constant(file: BinaryIO) -> Answer:
    height, width, _ = np.asarray(Image.open(file).convert("RGB")).shape  # the pixels that a network would get
    return {"detections": [{"box": [0, 0, width, height], "label": "object", "score": 1.0}]}


def _eager(model: str) -> Callable[[BinaryIO], Answer]:
    import torch  # noqa: PLC0415 - seconds
    from torchvision.transforms.functional import to_tensor  # noqa: PLC0415

    from model_store.network import load_network  # noqa: PLC0415
    from model_store.store import DEFAULT_ROOT  # noqa: PLC0415

    loaded = load_network(model, store_root=DEFAULT_ROOT)
    network = loaded.network.eval()
    names = loaded.card.class_names

    def detect(file: BinaryIO) -> Answer:
        pixels = to_tensor(Image.open(file).convert("RGB"))
        with torch.no_grad():
            (answer,) = network([pixels])
        kept = answer["scores"] > _THRESHOLD
        columns = [answer[key][kept].tolist() for key in ("boxes", "labels", "scores")]
        rows = zip(*columns, strict=True)
        return {"detections": [{"box": box, "label": names[label - 1], "score": score} for box, label, score in rows]}

    return detect
