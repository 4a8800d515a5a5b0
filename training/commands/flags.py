"""Arguments that several commands share, and functions that parse their values."""

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
    """Add the arguments that `open_model` reads."""
    parser.add_argument("model", help="a release (dice, dice@6, a folder), a run's folder, or a state dict's file")
    parser.add_argument("--labels", type=names, help="class names in order, for a bare state dict")


def open_model(options: argparse.Namespace) -> "tuple[LoadedNetwork, TorchEngine]":
    """Load the network chosen by the arguments of `add_model`, on the device chosen by those of `add_machine`."""
    from model_store.devices import choose_device
    from model_store.engines.torch import TorchEngine
    from training.records.loading import load_model

    loaded = load_model(options.model, store_root=options.store, class_names=options.labels)
    return loaded, TorchEngine(loaded.network, choose_device(options.device))


DATASET = "folder of images and their labels (LabelMe, COCO, Pascal VOC, YOLO), a COCO JSON, or a YOLO data.yaml"
"""Help text for a dataset argument."""


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names the format of a dataset."""
    parser.add_argument("--format", choices=FORMATS, help="what to read it as (default: what it looks like)")


def add_machine(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for the device and the model store."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--store", type=Path, default=store.DEFAULT_ROOT, help="the model store's folder")


def add_release_json(parser: argparse.ArgumentParser) -> None:
    """Add the argument that prints the new release as JSON."""
    parser.add_argument("--json", action="store_true", help="print the release's name, version and folder as JSON")


def named_folder(text: str) -> tuple[str, Path]:
    """Parse NAME=FOLDER into the name and the folder."""
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=FOLDER")
    return name, Path(folder)


def maybe_named(text: str) -> tuple[str, Path]:
    """Parse [NAME=]PATH; the text of an existing path has no name, even if it contains an equals sign."""
    name, equals, path = text.partition("=")
    return (name, Path(path)) if name and equals and path and not Path(text).exists() else ("", Path(text))


def maybe_named_folder(text: str) -> tuple[str, Path]:
    """Parse [NAME=]FOLDER; the name defaults to the folder's own name."""
    name, folder = maybe_named(text)
    return name or folder.resolve().name, folder
