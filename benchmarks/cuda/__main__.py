"""Parity with the CPU and speed of the torch engine on a GPU: `python -m benchmarks.cuda`.

It prints five Markdown tables, row by row as they are measured: the machine, the start with the golden check, parity
with eager fp32 on the CPU, batches, and waiting requests. It needs only torch, torchvision, NumPy, Pillow and pydantic,
in any installed version.

The exit status is 0, or 1 if a row fails or parity is beyond its limits, or 2 without the device. `--device cpu` runs
the same code on the CPU, to try the command.
"""

import argparse
import asyncio
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.cuda import machine
from benchmarks.cuda.bench import ON_CPU, SEEDED, VARIANTS, Bench, Model, load, tf32
from benchmarks.cuda.parity import CLEAR_SCORE, compare
from benchmarks.cuda.tables import Report
from benchmarks.cuda.waiting import BatchingEngine, saturate
from benchmarks.serving import SIDE_PX, photos
from model_store import store
from model_store.cpu import usable_cores
from model_store.detector import Detector, open_detector
from model_store.devices import choose_device
from model_store.errors import DeviceNotAvailable, ModelError
from rendersight import images


def machine_facts(bench: Bench, report: Report) -> None:
    """Print the hardware and library versions, and the cost of the work around the network."""
    report.table("Machine", "what", "here")
    report.row("device", measure=lambda: [machine.gpu(bench.device) if bench.is_cuda else "none: the CPU"])
    report.row("processor", measure=lambda: [f"{machine.processor()}, {usable_cores()} cores usable"])
    report.row("versions", measure=lambda: [machine.versions()])
    report.row("torch's defaults", measure=lambda: [machine.cuda_defaults()])
    photo = torch.from_numpy(bench.pictures(1)[0].copy())
    report.row(
        "decoding a photo on one thread, ms (counted with waiting requests alone)",
        measure=lambda: [_spread(bench.timed(lambda: images.decode_photo(bench.files[0])))],
    )
    report.row(
        "copying its pixels to the device, ms (counted everywhere)",
        measure=lambda: [_spread(bench.timed(lambda: photo.clone().to(bench.device)))],
    )


def start(bench: Bench, report: Report) -> None:
    """Print the service's start report for each model."""
    report.table("Start: load, warm up, golden check", "model", "precision", "s", "outcome")
    for model, variant in itertools.product(bench.models, bench.variants):
        report.row(model.name, variant, measure=partial(_start_of, bench, model, variant))


def _start_of(bench: Bench, model: Model, variant: str) -> list[str]:
    precision = VARIANTS[variant].precision
    began_s = time.perf_counter()
    with tf32(allowed=VARIANTS[variant].tf32):
        try:
            open_detector(model.ref, store_root=store.DEFAULT_ROOT, device=bench.device, engine=f"torch-{precision}")
        except ModelError as error:
            outcome = f"refused: {error}"
        else:
            outcome = "ready"
    return [f"{time.perf_counter() - began_s:.2f}", outcome]


def parity(bench: Bench, report: Report) -> None:
    """Print the parity of each variant with the reference, photo by photo and with all photos in one batch."""
    report.table(
        f"Parity with eager fp32 on the CPU, objects with a score above {CLEAR_SCORE}",
        *("model", "precision", "batch", "objects", "found again", "new"),
        *("score: mean change", "largest", "box, px: mean change", "largest", "limits"),
    )
    for model, variant, batch in itertools.product(bench.models, bench.variants, (1, len(bench.files))):
        report.row(
            model.name, variant, str(batch), measure=partial(_parity_of, bench, report, model, variant, batch=batch)
        )


def _parity_of(bench: Bench, report: Report, model: Model, variant: str, *, batch: int) -> list[str]:
    pictures = bench.pictures(len(bench.files))
    with bench.engine(model, variant) as engine:
        starts = range(0, len(pictures), batch)
        found = [one for first in starts for one in engine.detect(pictures[first : first + batch])]
    result = compare(bench.reference(model), found)
    if result.is_within(VARIANTS[variant].limits):
        verdict = "within"
    else:
        verdict = "**beyond the limits**" if result.clear else "**nothing to compare**"
        report.faults.append(f"{model.name} {variant} in batches of {batch}: {verdict.strip('*')}")
    counts = (str(count) for count in (result.clear, result.again, result.new))
    return [*counts, *_mean_and_max(result.score_changes), *_mean_and_max(result.box_changes_px), verdict]


def _mean_and_max(values: NDArray[np.float32]) -> tuple[str, str]:
    return (f"{values.mean():.2g}", f"{values.max():.2g}") if len(values) else ("–", "–")


def batches(bench: Bench, report: Report) -> None:
    """Print the time of an engine call, from pixels to detections."""
    report.table(
        f"Batches of photos of {SIDE_PX} × {SIDE_PX} px: pixels in, detections out, copies counted, decoding not",
        *("model", "precision", "batch", "ms a batch", "ms an image", "images/s", "peak memory, MB"),
    )
    for model, variant, size in itertools.product(bench.models, bench.variants, bench.options.batches):
        report.row(model.name, variant, str(size), measure=partial(_batch_of, bench, model, variant, size=size))


def _batch_of(bench: Bench, model: Model, variant: str, *, size: int) -> list[str]:
    pictures = bench.pictures(size)
    with bench.engine(model, variant) as engine:
        if bench.is_cuda:
            torch.cuda.reset_peak_memory_stats(bench.device)
        taken_ms = bench.timed(lambda: engine.detect(pictures))
        peak = f"{torch.cuda.max_memory_allocated(bench.device) / 1e6:.0f}" if bench.is_cuda else "–"
    an_image_ms = statistics.median(taken_ms) / size
    return [_spread(taken_ms), f"{an_image_ms:.3g}", f"{1000 / an_image_ms:.3g}", peak]


def requests(bench: Bench, report: Report) -> None:
    """Print throughput and latency with the service's scheduler: image by image, and with waiting images as a batch."""
    options = bench.options
    report.table(
        f"Waiting requests, {options.concurrency} at a time through the service's scheduler, {options.decoders} "
        "decoders: JPEG in, detections out",
        *("model", "precision", "engine", "requests/s", "p50, ms", "p99, ms", "images a batch"),
    )
    for model, variant, most in itertools.product(bench.models, bench.variants, sorted({1, max(options.batches)})):
        how = "single, as served" if most == 1 else f"batched, up to {most}"
        report.row(model.name, variant, how, measure=partial(_requests_of, bench, model, variant, most=most))


def _requests_of(bench: Bench, model: Model, variant: str, *, most: int) -> list[str]:
    with bench.engine(model, variant) as engine:
        batching = BatchingEngine(engine, most)
        try:
            detector = Detector(model.info, engine if most == 1 else batching)
            latencies_ms, seconds = asyncio.run(
                saturate(
                    detector,
                    bench.files,
                    concurrency=bench.options.concurrency,
                    decoders=bench.options.decoders,
                    seconds=bench.options.seconds,
                )
            )
        finally:
            batching.close()
    latencies_ms.sort()
    p50, p99 = (latencies_ms[int(share * (len(latencies_ms) - 1))] for share in (0.5, 0.99))
    mean_size = statistics.mean(batching.sizes) if batching.sizes else 1
    return [f"{len(latencies_ms) / seconds:.3g}", f"{p50:.3g}", f"{p99:.3g}", f"{mean_size:.1f}"]


def _spread(values_ms: Sequence[float]) -> str:
    return f"{statistics.median(values_ms):.3g} ({min(values_ms):.3g} to {max(values_ms):.3g})"


SECTIONS = (machine_facts, start, parity, batches, requests)


def main(words: Sequence[str] | None = None) -> int:
    """Print the tables and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cuda", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu (default: cuda)")
    parser.add_argument(
        "--model", nargs="+", default=["dice", SEEDED], help=f"releases, files of state dicts, or {SEEDED}"
    )
    parser.add_argument("--precision", nargs="+", choices=VARIANTS, help="default: all that the device supports")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16], help="images per batch")
    parser.add_argument("--repeats", type=int, default=10, help="number of timed runs")
    parser.add_argument("--concurrency", type=int, default=32, help="requests at a time (default: 32)")
    parser.add_argument("--decoders", type=int, default=2, help="decoding threads (default: 2, as in the service)")
    parser.add_argument("--seconds", type=float, default=3, help="duration of each load")
    parser.add_argument("--min-size", type=int, help="length of a photo's shorter side, px, for a quick try")
    parser.add_argument(
        "--budget", type=float, default=300, help="seconds after which no row is started (default: 300)"
    )
    options = parser.parse_args(words)
    report = Report(options.budget)
    try:
        device = choose_device(options.device)
    except DeviceNotAvailable as error:
        print(f"{error}; torch is {torch.__version__}; --device cpu runs the same on the CPU", file=sys.stderr)
        return 2
    variants = options.precision or (VARIANTS if device != "cpu" else ON_CPU)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            models = [load(name, Path(scratch), min_size=options.min_size) for name in options.model]
        except ModelError as error:
            parser.error(str(error))
        bench = Bench(device, models, list(variants), photos(), options)
        for section in SECTIONS:
            section(bench, report)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
