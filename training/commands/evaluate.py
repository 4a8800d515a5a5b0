"""The verb `evaluate`: measure a detector on labelled images."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rendersight.annotations import ReadOptions
from training.commands import flags
from training.console import bar_of, say
from training.torchrun import this_process

if TYPE_CHECKING:
    from training.data.dataset import LabelledImages


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments to the parser."""
    parser.description = (
        "Print the COCO figures, AP by class and the best threshold. Write the detections as COCO JSON."
    )
    flags.add_model(parser)
    parser.add_argument("dataset", type=Path, help=flags.DATASET)
    flags.add_reading(parser, labels=False)
    parser.add_argument(
        "--names", type=Path, help="evaluate only the images listed in this file, such as a hold_out.txt"
    )
    parser.add_argument("--split", help="evaluate only this split of the dataset, such as test")
    parser.add_argument(
        "--box-margin",
        type=flags.score,
        default=0.0,
        help="widen each true box by this share, as in training (default: 0)",
    )
    flags.add_tiles(parser)
    parser.add_argument("--one-class", action="store_true", help="merge all classes into one; keep all detections")
    parser.add_argument("--out", type=Path, help="folder for the results (default: runs/evaluate/MODEL-on-DATASET)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    flags.add_machine(parser)


def run(options: argparse.Namespace) -> None:
    """Evaluate the detector; under torchrun each process takes its share of the images, and the first one writes."""
    from model_store.engines.torch import TorchEngine
    from rendersight.annotations import AnnotatedImage
    from rendersight.detections import Detections
    from training.learning.distributed import device_of, joined
    from training.measuring.evaluation import as_one_class, detect_all, evaluate
    from training.records.loading import load_model
    from training.records.run_folder import RUN, RunError, check_folder
    from training.reports.report_folder import DETECTIONS, write_evaluation

    if options.out and (options.out / RUN).exists():
        raise RunError(
            f"{options.out} holds a run, whose report would be overwritten; choose another folder with --out"
        )
    with joined(this_process(), device=options.device) as world:
        device = device_of(world, options.device)
        loaded = world.together(
            lambda: load_model(
                options.model, store_root=options.store, class_names=options.labels, min_size=options.min_size
            )
        )
        world.check_same(f"weights in {options.model}", loaded.info.sha256)
        name = f"{loaded.info.name}-{loaded.info.version}-on-{options.dataset.resolve().name}"
        out = options.out or Path("runs/evaluate") / (name + ("-one-class" if options.one_class else ""))
        world.first(lambda: check_folder(out))
        known = None if options.one_class else loaded.info.class_names
        data = world.together(
            lambda: read_listed(
                options.dataset, known, options.names, reading=flags.reading_of(options), split=options.split
            )
        ).widened(options.box_margin)
        world.check_same(f"images and labels in {options.dataset}", data.fingerprint())
        engine = flags.tiled(options, loaded, TorchEngine(loaded.network, device))
        world.share_cores()

        def detect(images: Sequence[AnnotatedImage]) -> list[Detections]:
            return detect_all(engine, images, progress=bar_of("images"))

        found = world.share(data.images, detect)
    if not world.is_first:
        return
    if options.one_class:
        data, found = as_one_class(data, found)
    result = evaluate(data, found)
    write_evaluation(out, data, found, result)
    print(json.dumps(result.as_json(), indent=2) if options.json else result.table())
    say(f"detections: {out / DETECTIONS}")


def read_listed(
    folder: Path,
    class_names: Sequence[str] | None,
    names: Path | None,
    *,
    reading: ReadOptions | None = None,
    split: str | None = None,
) -> "LabelledImages":
    """Read a dataset, or only the images that `names` lists and that belong to `split`.

    Raises:
        AnnotationError: files cannot be used, or a listed name is not in the folder.
        RunError: the list cannot be read.
    """
    from training.data.dataset import read_dataset
    from training.records.run_folder import read_names

    data = read_dataset(folder, class_names=class_names, reading=reading)
    data = data.of_split(split) if split else data
    return data.select(read_names(names)) if names else data
