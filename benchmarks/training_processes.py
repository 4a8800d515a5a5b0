"""Speed and losses of training with one process and with several: `python -m benchmarks.training_processes`.

It draws pictures of discs and squares and trains the small network on them with torchrun: in fp32, in bf16, and on
pictures of mixed sizes, each first with one process.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.servers import ROOT
from rendersight.annotations.formats import labelme
from training.records.run_folder import read_metrics

HELD_OUT = 8
SETTINGS = ("architecture=fasterrcnn_mobilenet_v2_fpn", "weights=none", "batch_size=4", f"hold_out={HELD_OUT}")
CASES = {"fp32": ("fp32", False), "bf16": ("bf16", False), "fp32, mixed shapes": ("fp32", True)}


def draw(folder: Path, *, count: int, size: int, mixed: bool) -> None:
    """Write square pictures with LabelMe JSON; if `mixed`, each side is 2/3 to 1 times `size`."""
    rng = np.random.default_rng(0)
    for number in range(count):
        width, height = (int(rng.integers(size * 2 // 3, size + 1)) if mixed else size for _ in range(2))
        image = Image.fromarray(rng.integers(90, 140, (height, width, 3), dtype=np.uint8))
        pen = ImageDraw.Draw(image)
        shapes = []
        for label in rng.permutation(["disc", "square"])[: rng.integers(1, 3)]:
            side = int(rng.integers(size // 5, size // 3))
            x, y = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
            colour = tuple(int(value) for value in rng.integers(0, 256, 3))
            (pen.ellipse if label == "disc" else pen.rectangle)((x, y, x + side - 1, y + side - 1), fill=colour)
            shapes.append(labelme.Rectangle(str(label), (x, y, x + side, y + side)))
        name = f"{number:03d}"
        image.save(folder / f"{name}.png")
        text = labelme.to_json(shapes, image_name=f"{name}.png", size_wh=image.size)
        (folder / f"{name}.json").write_text(text)


def train(dataset: Path, out: Path, *, processes: int, precision: str, size: int, epochs: int) -> list[dict[str, Any]]:
    """Train with a number of processes and return the metrics of each epoch."""
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    words += ["--nproc-per-node", str(processes), "-m", "training", "train", str(dataset), "--out", str(out)]
    words += ["--device", "cpu", "--workers", "0", "--epochs", str(epochs)]
    for setting in (*SETTINGS, f"precision={precision}", f"min_size={size}", f"max_size={size}"):
        words += ["--set", setting]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    subprocess.run(words, cwd=ROOT, env=environment, check=True, capture_output=True)  # noqa: S603
    return read_metrics(out)


def largest_difference(epochs: Iterable[dict[str, Any]], expected: Iterable[dict[str, Any]]) -> float:
    """Return the largest difference of an epoch's loss, as a fraction of the expected loss."""
    return max(abs(float(own["loss"] / other["loss"]) - 1) for own, other in zip(epochs, expected, strict=True))


def main() -> None:
    """Print a line for each case and number of processes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_processes", description=__doc__)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--images", type=int, default=40, help="pictures to train on")
    parser.add_argument("--size", type=int, default=320, help="side of the pictures and of the network's input, px")
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.cases:
            precision, mixed = CASES[name]
            dataset = Path(scratch) / name
            dataset.mkdir()
            draw(dataset, count=options.images + HELD_OUT, size=options.size, mixed=mixed)
            first: list[dict[str, Any]] = []
            for processes in options.processes:
                out = Path(scratch) / f"{name} by {processes}"
                sizes = {"size": options.size, "epochs": options.epochs}
                epochs = train(dataset, out, processes=processes, precision=precision, **sizes)
                first = first or epochs
                speeds = [epoch["images_per_s"] for epoch in epochs[1:]]  # the first epoch warms up
                print(
                    f"{name:<20} {processes} processes: {statistics.median(speeds):6.2f} images/s, losses differ by "
                    f"{largest_difference(epochs, first):.3%} at most",
                    flush=True,
                )


if __name__ == "__main__":
    main()
