"""Accuracy and time of exported files beside our own engines: `python -m benchmarks.exported dice`.

The int8 file is quantised by ONNX Runtime's own tools with at most 100 photos or renders of the calibration folder.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.parity import RENDERS, Detect, onnx_runtime
from model_store import store
from model_store.cpu import usable_cores
from model_store.detector import open_detector
from model_store.engines import Engine
from model_store.network import load_network
from rendersight.annotations.dataset import load_pixels
from rendersight.detections import Detections
from rendersight.flags import positive
from rendersight.images import RgbImage
from rendersight.photos import find_photos
from training.data.dataset import LabelledImages, read_dataset
from training.measuring.evaluation import evaluate
from training.releasing.export import export_onnx


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one row for each engine and each file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exported", description=__doc__)
    parser.add_argument("model", help="a release")
    parser.add_argument("--calibration", type=Path, nargs="+", required=True, help="photos or renders, or folders")
    parser.add_argument("--data", type=Path, default=RENDERS, help="labelled images to measure on")
    parser.add_argument("--cores", type=positive, default=usable_cores(), help="cores for each image")
    parser.add_argument("--store", type=Path, default=store.DEFAULT_ROOT)
    options = parser.parse_args(arguments)
    loaded = load_network(options.model, store_root=options.store)
    data = read_dataset(options.data, class_names=loaded.info.class_names)
    pixels = [load_pixels(image) for image in data.images]
    calibration = find_photos(options.calibration, stems_differ=False)
    print(f"cores: {options.cores}; images: {len(pixels)} of {options.data}")
    print(f"{'':32} {'mAP':>7} {'AP50':>7} {'ms':>7} {'MB':>6}")
    with tempfile.TemporaryDirectory() as scratch:
        for name, photos in (("ONNX Runtime, fp32", []), ("ONNX Runtime, int8", calibration)):
            path = Path(scratch) / f"{name}.onnx"
            export_onnx(loaded, path, calibration=photos)
            size = path.stat().st_size / 1e6
            _print_row(name, onnx_runtime(path, threads=options.cores), data, pixels, size)
    prepared = loaded.release.manifest.engines if loaded.release else {}
    for name in (*prepared, "torch-fp32"):
        detector = open_detector(
            options.model, store_root=options.store, device="cpu", engine=name, cores=options.cores
        )
        _print_row(f"our {name}", partial(_detect, detector.engine), data, pixels, None)


def _detect(engine: Engine, image: RgbImage) -> Detections:
    (found,) = engine.detect([image])
    return found


def _print_row(
    name: str, detect: Detect, data: LabelledImages, pixels: Sequence[RgbImage], size_mb: float | None
) -> None:
    detect(pixels[0])  # the first image allocates memory
    found, times_ms = [], []
    for image in pixels:
        begun = time.perf_counter()
        found.append(detect(image))
        times_ms.append(1000 * (time.perf_counter() - begun))
    figures = evaluate(data, found).figures
    size = "" if size_mb is None else f"{size_mb:.1f}"
    print(
        f"{name:32} {figures['AP']:7.4f} {figures['AP50']:7.4f} {statistics.median(times_ms):7.1f} {size:>6}",
        flush=True,
    )


if __name__ == "__main__":
    main()
