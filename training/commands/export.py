"""The verb `export`: write a detector in a format that runs without our packages."""

import argparse
from pathlib import Path

from model_store import store
from rendersight.flags import joined
from rendersight.photos import find_photos
from training.commands import flags
from training.console import say


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments to the parser."""
    parser.description = (
        "Write a detector as one ONNX file or as a folder for OpenVINO Model Server. The image goes in as it is; "
        "resizing, normalisation and suppression are inside. docs/export.md has examples that run it."
    )
    flags.add_model(parser)
    parser.add_argument("--format", choices=("onnx", "openvino"), required=True, help="the format to write")
    parser.add_argument(
        "--out", type=Path, required=True, help="file (onnx) or folder (openvino) to write, which does not exist"
    )
    parser.add_argument(
        "--quantise",
        type=Path,
        nargs="+",
        default=[],
        metavar="PHOTOS",
        help="onnx: write int8, with ranges that ONNX Runtime's tools find on at most 100 of these photos or renders",
    )
    parser.add_argument("--store", type=Path, default=store.DEFAULT_ROOT, help="folder of the model store")


def run(options: argparse.Namespace) -> None:
    """Export the detector."""
    from training.records.loading import load_model
    from training.releasing import export

    is_onnx = options.format == "onnx"
    if options.quantise and not is_onnx:
        raise export.ExportError("--quantise is for --format onnx; `accelerate` prepares int8 for OpenVINO")
    check = export.check_new if is_onnx else export.check_new_folder
    check(options.out)
    photos = find_photos(options.quantise, stems_differ=False) if options.quantise else []
    loaded = load_model(options.model, store_root=options.store, class_names=options.labels, min_size=options.min_size)
    if is_onnx:
        export.export_onnx(loaded, options.out, calibration=photos)
    else:
        export.export_openvino(loaded, options.out)
    say(f"classes, from label 1: {joined(loaded.info.class_names)}")
    say(f"recommended score threshold: {loaded.info.score_threshold:g}")
    say(f"written as {options.format}: {options.out}")
