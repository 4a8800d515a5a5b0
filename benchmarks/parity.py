"""Differences between an exported ONNX file and eager fp32: `python -m benchmarks.parity dice`.

The pictures are made by code from the renders in docs/renders: 1 x 1 to 4,000 px, portrait and landscape, without an
object, with one and with many. Every picture that differs is printed. The exit status is 1 if the file misses a limit.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import openvino as ov

from model_store import store
from model_store.engines.torch import TorchEngine
from model_store.network import load_network
from rendersight.annotations.dataset import load_pixels
from rendersight.detections import Detections
from rendersight.flags import positive
from rendersight.images import RgbImage
from training.data.dataset import read_dataset
from training.releasing.export import export_onnx

RENDERS = Path(__file__).parent.parent / "docs" / "renders"

MAX_BOX_PX = 0.01
"""Largest accepted distance of a box's edge, px of the network's input."""

MAX_SCORE = 1e-4
"""Largest accepted difference of a score."""

MIN_SAME = 0.995
"""Smallest accepted share of pictures with the same number of objects above `FLOOR`."""

FLOOR = 0.05

_EDGES = (
    (1, 1),
    (1, 4000),
    (4000, 1),
    (2, 3),
    (7, 5),
    (4000, 3000),
    (3000, 4000),
    (4000, 4000),
    (640, 640),
    (80, 4000),
)
"""Heights and widths, px, of the first pictures of each kind."""

Detect = Callable[[RgbImage], Detections]


@dataclass(frozen=True)
class Picture:
    """A picture and what it shows."""

    name: str
    pixels: RgbImage


@dataclass(frozen=True)
class Difference:
    """The largest differences in one picture.

    Attributes:
        picture: its name, with its size.
        expected: number of objects above `FLOOR` in eager fp32.
        found: number of objects above `FLOOR` in the file.
        box_px: largest distance of an edge among objects in both, px of the network's input.
        score: largest difference of a score among objects in both.
    """

    picture: str
    expected: int
    found: int
    box_px: float
    score: float

    @property
    def is_alike(self) -> bool:
        """Whether the picture keeps every limit."""
        return self.found == self.expected and self.box_px <= MAX_BOX_PX and self.score <= MAX_SCORE

    def __str__(self) -> str:
        return (
            f"{self.picture}: {self.expected} objects, {self.found} in the file; "
            f"boxes differ by {self.box_px:.4f} px, scores by {self.score:.6f}"
        )


def pictures(count: int, *, seed: int = 0) -> Iterator[Picture]:
    """Yield seeded pictures: in turn without an object, with one object, with many, and whole renders."""
    data = read_dataset(RENDERS)
    renders = [load_pixels(image) for image in data.images]
    cutouts = [
        pixels[int(y0) : int(y1) + 1, int(x0) : int(x1) + 1]
        for image, pixels in zip(data.images, renders, strict=True)
        for x0, y0, x1, y1 in image.boxes_xyxy
    ]
    kinds = ("none", "one", "many", "render")
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        kind = kinds[number % len(kinds)]
        height, width = _size(rng, number // len(kinds))
        if kind == "render":
            pixels = cv2.resize(renders[rng.integers(len(renders))], (width, height), interpolation=cv2.INTER_AREA)
        else:
            objects = {"none": 0, "one": 1, "many": int(rng.integers(5, 60))}[kind]
            pixels = _composed(rng, height, width, [cutouts[rng.integers(len(cutouts))] for _ in range(objects)])
        yield Picture(f"{number} {kind} {width} x {height}", np.asarray(pixels, np.uint8))


def _size(rng: np.random.Generator, number: int) -> tuple[int, int]:
    if number < len(_EDGES):
        return _EDGES[number]
    longer = int(np.exp(rng.uniform(np.log(40), np.log(4000))))
    shorter = max(1, int(longer * rng.uniform(0.3, 1)))
    return (longer, shorter) if rng.random() < 0.5 else (shorter, longer)  # noqa: PLR2004


def _composed(rng: np.random.Generator, height: int, width: int, objects: Sequence[RgbImage]) -> RgbImage:
    """Paste objects onto a smooth or noisy ground at random sizes; those that do not fit are left out."""
    coarse = rng.integers(0, 256, (*rng.integers(1, 12, 2), 3), np.uint8)
    ground = np.array(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    if rng.random() < 0.5:  # noqa: PLR2004
        ground = np.clip(ground + rng.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)
    for cutout in objects:
        side = int(min(height, width) * rng.uniform(0.04, 0.25))
        if side < 1:
            continue
        y, x = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
        ground[y : y + side, x : x + side] = cv2.resize(cutout, (side, side), interpolation=cv2.INTER_AREA)
    return ground


def onnx_runtime(path: Path, *, threads: int) -> Detect:
    """Return a function that runs a file with ONNX Runtime on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda pixels: Detections.of(*session.run(None, {"image": pixels}))


def openvino(path: Path, *, threads: int) -> Detect:
    """Return a function that runs a file with OpenVINO on the CPU, in float32."""
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    model = ov.Core().compile_model(path, "CPU", config)

    def detect(pixels: RgbImage) -> Detections:
        answer = model([pixels])
        return Detections.of(*(answer[name] for name in ("boxes", "labels", "scores")))

    return detect


RUNTIMES: dict[str, Callable[..., Detect]] = {"onnxruntime": onnx_runtime, "openvino": openvino}


def difference(name: str, expected: Detections, found: Detections, scale_xyxy: Sequence[float]) -> Difference:
    """Compare two sets of detections in one picture; each object is compared with the nearest one of its class.

    Args:
        name: name of the picture.
        expected: detections of eager fp32, px of the picture.
        found: detections of the file.
        scale_xyxy: factors from px of the picture to px of the network's input.
    """
    expected, found = expected.above(FLOOR), found.above(FLOOR)
    if not (len(expected) and len(found)):
        return Difference(name, len(expected), len(found), 0.0, 0.0)
    distance = (np.abs(found.boxes_xyxy[:, None] - expected.boxes_xyxy) * np.array(scale_xyxy)).max(axis=2)
    scores = np.abs(found.scores[:, None] - expected.scores)
    # boxes of one class may coincide; then the scores tell them apart
    cost = np.where(found.labels[:, None] == expected.labels, distance + scores, np.inf)
    pairs = [(found_at, int(row.argmin())) for found_at, row in enumerate(cost) if np.isfinite(row.min())]
    paired = tuple(np.array(pairs, int).reshape(-1, 2).T)
    is_whole = len({at for _, at in pairs}) == len(found)
    box_px, score = (float(values[paired].max(initial=0)) for values in (distance, scores))
    return Difference(name, len(expected), len(found), box_px if is_whole else np.inf, score)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare a file with eager fp32, and print every picture that differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parity", description=__doc__)
    parser.add_argument("model", help="a release, or the file of a state dict")
    parser.add_argument("--onnx", type=Path, help="file to compare (default: a new export of the model)")
    parser.add_argument("--runtime", choices=list(RUNTIMES), default="onnxruntime")
    parser.add_argument("--count", type=positive, default=500, help="number of pictures (default: 500)")
    parser.add_argument("--threads", type=positive, default=1, help="threads of the runtime (default: 1)")
    parser.add_argument("--store", type=Path, default=store.DEFAULT_ROOT)
    options = parser.parse_args(arguments)
    loaded = load_network(options.model, store_root=options.store)
    eager, rule = TorchEngine(loaded.network, "cpu"), loaded.facts.input
    with tempfile.TemporaryDirectory() as scratch:
        path = options.onnx or Path(scratch) / "model.onnx"
        if options.onnx is None:
            export_onnx(loaded, path)
        detect = RUNTIMES[options.runtime](path, threads=options.threads)
    rows = []
    for picture in pictures(options.count):
        height, width = picture.pixels.shape[:2]
        resized_h, resized_w = rule.resized_hw(height, width)
        (expected,) = eager.detect([picture.pixels])
        scale = [resized_w / width, resized_h / height] * 2
        rows.append(difference(picture.name, expected, detect(picture.pixels), scale))
        if not rows[-1].is_alike:
            print(rows[-1], flush=True)
    return _report(rows, options.runtime)


def _report(rows: Sequence[Difference], runtime: str) -> int:
    same = [row for row in rows if row.found == row.expected]
    share = len(same) / len(rows)
    box_px, score = max(row.box_px for row in same), max(row.score for row in same)
    counts = [row.expected for row in rows]
    print(
        f"{runtime}, {len(rows)} pictures: {counts.count(0)} without an object, {counts.count(1)} with one, "
        f"{sum(count > 1 for count in counts)} with more; {sum(counts)} objects"
    )
    print(f"the same number of objects above {FLOOR}: {len(same)} ({share:.1%}; accepted: {MIN_SAME:.1%})")
    print(f"largest difference of a box: {box_px:.4f} px of the network's input (accepted: {MAX_BOX_PX})")
    print(f"largest difference of a score: {score:.6f} (accepted: {MAX_SCORE})")
    return int(share < MIN_SAME or box_px > MAX_BOX_PX or score > MAX_SCORE)


if __name__ == "__main__":
    sys.exit(main())
