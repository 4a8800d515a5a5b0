"""The flags that verbs share, and the values that flags take."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from model_store import store
from rendersight.annotations.formats import FORMATS
from rendersight.flags import count, names, positive, score

if TYPE_CHECKING:
    from model_store.engines.torch import TorchEngine
    from model_store.network import LoadedNetwork

__all__ = [
    "DATASET",
    "add_format",
    "add_machine",
    "add_model",
    "add_release_json",
    "count",
    "maybe_named",
    "maybe_named_folder",
    "named_folder",
    "names",
    "open_model",
    "positive",
    "score",
]


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add what `open_model` takes."""
    parser.add_argument("model", help="a release (dice, dice@2, a folder), a run's folder, or a state dict's file")
    parser.add_argument("--labels", type=names, help="class names in order, for a bare state dict")


def open_model(options: argparse.Namespace) -> "tuple[LoadedNetwork, TorchEngine]":
    """Load the network that `add_model` asked for, on the device that `add_machine` asked for."""
    from model_store.devices import choose_device
    from model_store.engines.torch import TorchEngine
    from training.records.loading import load_model

    loaded = load_model(options.model, store_root=options.store, class_names=options.labels)
    return loaded, TorchEngine(loaded.network, choose_device(options.device))


DATASET = "folder of images and their labels (LabelMe, COCO, Pascal VOC, YOLO), a COCO JSON, or a YOLO data.yaml"
"""What a dataset is on the command line."""


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add what to read a dataset as."""
    parser.add_argument("--format", choices=FORMATS, help="what to read it as (default: what it looks like)")


def add_machine(parser: argparse.ArgumentParser) -> None:
    """Add the device and the model store."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--store", type=Path, default=store.DEFAULT_ROOT, help="the model store's folder")


def add_release_json(parser: argparse.ArgumentParser) -> None:
    """Add whether the release that was made is told as JSON."""
    parser.add_argument("--json", action="store_true", help="print the release's name, version and folder as JSON")


def named_folder(text: str) -> tuple[str, Path]:
    """Take NAME=FOLDER."""
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=FOLDER")
    return name, Path(folder)


def maybe_named(text: str) -> tuple[str, Path]:
    """Split NAME=PATH; a path that exists as it stands has no name, even with an equals sign in it."""
    name, equals, path = text.partition("=")
    return (name, Path(path)) if name and equals and path and not Path(text).exists() else ("", Path(text))


def maybe_named_folder(text: str) -> tuple[str, Path]:
    """Take [NAME=]FOLDER; the folder's own name is the default."""
    name, folder = maybe_named(text)
    return name or folder.resolve().name, folder
