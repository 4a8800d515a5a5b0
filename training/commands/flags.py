"""Arguments that several commands share, and functions that parse their values."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from model_store import store
from rendersight.annotations import ReadOptions
from rendersight.annotations.formats import FORMATS
from rendersight.flags import count, names, positive, score
from rendersight.flags import tiles as tile_choice
from rendersight.tiles import ACCEPTED

if TYPE_CHECKING:
    from model_store.engines import Engine
    from model_store.engines.tiled import TiledEngine
    from model_store.engines.torch import TorchEngine
    from model_store.network import LoadedNetwork
    from model_store.store import Release

__all__ = [
    "DATASET",
    "WEIGHTS",
    "add_machine",
    "add_model",
    "add_reading",
    "add_release_json",
    "add_tiles",
    "count",
    "maybe_named",
    "maybe_named_folder",
    "named_folder",
    "names",
    "open_model",
    "positive",
    "print_release",
    "reading_of",
    "score",
    "tiled",
]


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `open_model` reads."""
    parser.add_argument(
        "model", help="a release (dice, dice@6 or its folder), a run folder, or the file of a state dict"
    )
    parser.add_argument("--labels", type=names, help="class names of a bare state dict, in order, separated by commas")
    parser.add_argument(
        "--min-size",
        type=positive,
        help="shorter side of the input of a bare state dict, px (default: that of its architecture)",
    )


def open_model(options: argparse.Namespace) -> "tuple[LoadedNetwork, TorchEngine]":
    """Load the network chosen by the arguments of `add_model`, on the device chosen by those of `add_machine`."""
    from model_store.devices import choose_device
    from model_store.engines.torch import TorchEngine
    from training.records.loading import load_model

    loaded = load_model(options.model, store_root=options.store, class_names=options.labels, min_size=options.min_size)
    return loaded, TorchEngine(loaded.network, choose_device(options.device))


def add_tiles(parser: argparse.ArgumentParser) -> None:
    """Add the argument that `tiled` reads."""
    parser.add_argument(
        "--tiles",
        type=tile_choice,
        default="off",
        metavar="TILES",
        help="look for small objects in overlapping tiles of each image, besides the whole image: "
        f"{ACCEPTED} (default: off)",
    )


def tiled(options: argparse.Namespace, loaded: "LoadedNetwork", engine: "Engine") -> "TiledEngine":
    """Return an engine that looks into the tiles chosen by the argument of `add_tiles`."""
    from model_store.engines.tiled import TiledEngine

    rule, network = loaded.facts.input, loaded.options
    return TiledEngine(engine, options.tiles, resized_hw=rule.resized_hw, one_label_iou=network.one_label_iou)


DATASET = "folder of images and their labels, or a file that describes them; for the formats see docs/datasets.md"
"""Help text for a dataset argument."""


WEIGHTS = "initial weights: coco, imagenet, none, a release, or the file of a state dict"
"""Help text for an argument that names initial weights."""


def add_reading(parser: argparse.ArgumentParser, *, format_flag: str = "--format", labels: bool = True) -> None:
    """Add the arguments that `reading_of` reads.

    Args:
        parser: the parser.
        format_flag: name of the argument for the format.
        labels: also add `--labels`; False if `add_model` adds it.
    """
    group = parser.add_argument_group("how the dataset is read")
    group.add_argument(
        format_flag, dest="format", choices=FORMATS, help="format of the label files (default: recognised)"
    )
    if labels:
        group.add_argument(
            "--labels",
            type=names,
            help="class names in order, comma-separated; quote a name that has a comma (default: the dataset's)",
        )
    group.add_argument(
        "--negatives",
        action="store_true",
        help="images without a label file show no object; otherwise they are left out",
    )
    group.add_argument(
        "--ignore-unread", action="store_true", help="continue without label files and photos that cannot be read"
    )
    group.add_argument(
        "--pixel-origin",
        type=int,
        choices=(0, 1),
        help="0: coordinates are pixel edges counted from 0; 1: they number the pixels from 1, the last one included "
        "(default: the format's rule)",
    )
    group.add_argument(
        "--with-difficult",
        action="store_true",
        help="boxes flagged difficult are objects; otherwise they are ignored, as in VOC's evaluation",
    )


def reading_of(options: argparse.Namespace) -> ReadOptions:
    """Return how to read the dataset, by the arguments of `add_reading`."""
    return ReadOptions(
        format=options.format,
        class_names=options.labels or (),
        negatives=options.negatives,
        ignore_unread=options.ignore_unread,
        pixel_origin=options.pixel_origin,
        with_difficult=options.with_difficult,
    )


def add_machine(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for the device and the model store."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--store", type=Path, default=store.DEFAULT_ROOT, help="folder of the model store")


def add_release_json(parser: argparse.ArgumentParser) -> None:
    """Add the argument that prints the new release as JSON."""
    parser.add_argument("--json", action="store_true", help="print the release's name, version and folder as JSON")


def print_release(release: "Release") -> None:
    """Print a release's name, version and folder as JSON, for scripts."""
    manifest = release.manifest
    content = {"release": release.ref, "name": manifest.name, "version": manifest.version}
    print(json.dumps({**content, "folder": str(release.folder)}))


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
