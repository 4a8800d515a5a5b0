"""Small objects in large photos, with tiles and without: `python -m benchmarks.tiles dice --data FOLDER`.

Each frame has 12 megapixels. Labelled pictures are set into it so small that their objects have 12 to 25 px. `sahi`
runs the same engine tile by tile; install it beside this project's requirements to compare: `pip install sahi`. The
last rows measure the pictures at their own size: objects larger than a tile must not be lost.
"""

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.parity import RENDERS
from benchmarks.servers import ROOT
from model_store import store
from model_store.cpu import usable_cores
from model_store.detector import Detector, open_detector
from model_store.engines import ENGINES
from rendersight.annotations import AnnotatedImage
from rendersight.annotations.dataset import load_pixels
from rendersight.detections import Detections
from rendersight.flags import positive
from rendersight.flags import tiles as tile_choice
from rendersight.images import RgbImage
from rendersight.tiles import TileChoice, cut, merge, plan
from training.data.dataset import LabelledImages, read_dataset
from training.measuring.evaluation import evaluate

FRAME_WH = (4000, 3000)
CELLS_XY = (6, 4)
"""Columns and rows of a frame; each cell shows one picture."""

OBJECT_PX = (12.0, 25.0)
"""Smallest and largest side of a picture's median object, px of the frame."""

Detect = Callable[[RgbImage], Detections]
_MIB = 1024


@dataclass(frozen=True)
class Frame:
    """A labelled picture, at any size."""

    pixels: RgbImage
    truth: AnnotatedImage


def frames(data: LabelledImages, count: int, *, seed: int = 0) -> Iterator[Frame]:
    """Yield seeded frames with small copies of the pictures of a data set, in turn."""
    pictures = [image for image in data.images if len(image.labels)]
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        first = number * CELLS_XY[0] * CELLS_XY[1]
        shown = [pictures[(first + i) % len(pictures)] for i in range(CELLS_XY[0] * CELLS_XY[1])]
        yield _frame(rng, f"frame {number}", shown)


def _frame(rng: np.random.Generator, name: str, pictures: Sequence[AnnotatedImage]) -> Frame:
    width, height = FRAME_WH
    cell_w, cell_h = width // CELLS_XY[0], height // CELLS_XY[1]
    coarse = rng.integers(60, 200, (6, 8, 3), np.uint8)
    ground = np.array(cv2.resize(coarse, FRAME_WH, interpolation=cv2.INTER_LINEAR), np.uint8)
    boxes: list[NDArray[np.float32]] = []
    labels: list[str] = []
    for cell, picture in enumerate(pictures):
        pixels = load_pixels(picture)
        sides = np.sqrt((picture.boxes_xyxy[:, 2:] - picture.boxes_xyxy[:, :2]).prod(axis=1))
        scale = rng.uniform(*OBJECT_PX) / float(np.median(sides))
        scale = min(scale, cell_w / pixels.shape[1], cell_h / pixels.shape[0])
        size = max(1, int(pixels.shape[1] * scale)), max(1, int(pixels.shape[0] * scale))
        x = cell % CELLS_XY[0] * cell_w + int(rng.integers(0, cell_w - size[0] + 1))
        y = cell // CELLS_XY[0] * cell_h + int(rng.integers(0, cell_h - size[1] + 1))
        ground[y : y + size[1], x : x + size[0]] = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        factors = np.array(size * 2, np.float32) / np.array([pixels.shape[1], pixels.shape[0]] * 2, np.float32)
        boxes.append((picture.boxes_xyxy * factors + (x, y, x, y)).astype(np.float32))
        labels += picture.labels
    return Frame(ground, AnnotatedImage(name, None, None, FRAME_WH, np.concatenate(boxes), tuple(labels)))


def tiled(detector: Detector, tiles: TileChoice) -> Detect:
    """Return a function that looks at a photo as the service does: its views spread over the streams."""
    rule, one_label_iou = detector.info.input, detector.info.one_label_iou
    pool = ThreadPoolExecutor(detector.engine.parallel)

    def detect(pixels: RgbImage) -> Detections:
        height, width = pixels.shape[:2]
        windows = plan(height, width, tiles, rule.resized_hw)
        views = list(pool.map(lambda view: detector.detect([view])[0], cut(pixels, windows)))
        return merge(views, windows, one_label_iou=one_label_iou)

    return detect


def sahi(detector: Detector, slice_px: int | None) -> Detect:
    """Return a function that runs the engine through `sahi`, with its own rules for merging.

    Args:
        detector: the model.
        slice_px: side of a tile, px; None takes the tiles that `auto` plans.
    """
    from sahi.models.base import DetectionModel  # noqa: PLC0415 - optional
    from sahi.predict import get_sliced_prediction  # noqa: PLC0415
    from sahi.prediction import ObjectPrediction  # noqa: PLC0415
    from sahi.utils.compatibility import fix_full_shape_list, fix_shift_amount_list  # noqa: PLC0415

    info = detector.info

    class Model(DetectionModel):  # type: ignore[misc]
        def load_model(self) -> None:
            pass

        def perform_inference(self, image: RgbImage) -> None:
            self._original_predictions = detector.detect([image])[0]

        def _create_object_prediction_list_from_original_predictions(
            self, shift_amount_list: Any = None, full_shape_list: Any = None
        ) -> None:
            shifts, shapes = fix_shift_amount_list(shift_amount_list), fix_full_shape_list(full_shape_list)
            found: Detections = self._original_predictions
            first = found.boxes_xyxy.tolist(), found.labels.tolist(), found.scores.tolist()
            self._object_prediction_list_per_image = [
                [
                    ObjectPrediction(
                        bbox=box,
                        category_id=label,
                        category_name=info.class_names[label - 1],
                        score=score,
                        shift_amount=shifts[0],
                        full_shape=shapes[0] if shapes else None,
                    )
                    for box, label, score in zip(*first, strict=True)
                ]
            ]

    model = Model(confidence_threshold=info.score_floor, device="cpu")

    def detect(pixels: RgbImage) -> Detections:
        tile_wh, overlap_xy = [slice_px, slice_px], [0.2, 0.2]
        if slice_px is None:
            height, width = pixels.shape[:2]
            windows = plan(height, width, "auto", info.input.resized_hw)
            if not len(windows):
                return detector.detect([pixels])[0]
            sides = (windows[0, 2:] - windows[0, :2]).tolist()
            starts = [np.unique(windows[:, axis]) for axis in (0, 1)]
            steps = [at[1] - at[0] if len(at) > 1 else side for at, side in zip(starts, sides, strict=True)]
            tile_wh = sides
            overlap_xy = [1 - float(step) / side for step, side in zip(steps, sides, strict=True)]
        result = get_sliced_prediction(
            pixels,
            model,
            slice_width=tile_wh[0],
            slice_height=tile_wh[1],
            overlap_width_ratio=overlap_xy[0],
            overlap_height_ratio=overlap_xy[1],
            verbose=0,
        )
        found = result.object_prediction_list
        return Detections.of(
            [item.bbox.to_xyxy() for item in found],
            [item.category.id for item in found],
            [item.score.value for item in found],
        ).by_score()

    return detect


WAYS: dict[str, Callable[[Detector], Detect]] = {
    "whole photo": lambda detector: tiled(detector, "off"),
    "tiles=auto": lambda detector: tiled(detector, "auto"),
    "tiles=64": lambda detector: tiled(detector, 64),
    "sahi, tiles of auto": lambda detector: sahi(detector, None),
    "sahi, 512 px": lambda detector: sahi(detector, 512),
}
OWN_SIZE: dict[str, Callable[[Detector], Detect]] = {
    "own size, whole": lambda detector: tiled(detector, "off"),
    "own size, tiles=4": lambda detector: tiled(detector, 4),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one row for each way; each way runs in a process of its own, whose peak memory is printed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tiles", description=__doc__)
    parser.add_argument("model", help="a release")
    parser.add_argument("--data", type=Path, default=RENDERS, help="labelled pictures (default: docs/renders)")
    parser.add_argument("--frames", type=positive, default=10, help="number of frames (default: 10)")
    parser.add_argument("--tiles", type=tile_choice, help="measure this choice too: auto, off or a number")
    parser.add_argument("--engine", choices=("auto", *ENGINES), default="auto")
    parser.add_argument("--cores", type=positive, default=usable_cores())
    parser.add_argument("--own-size", type=positive, default=10_000, help="pictures to measure at their own size")
    parser.add_argument("--ways", nargs="+", choices=(*WAYS, *OWN_SIZE), default=[*WAYS, *OWN_SIZE])
    parser.add_argument("--store", type=Path, default=store.DEFAULT_ROOT)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one is not None:
        print(json.dumps(measure(options.one, options)))
        return 0
    ways = [*options.ways, *([f"tiles={options.tiles}"] if options.tiles is not None else [])]
    if importlib.util.find_spec("sahi") is None and any(way.startswith("sahi") for way in ways):
        print("sahi is not installed, so its rows are left out; to compare: pip install sahi", file=sys.stderr)
        ways = [way for way in ways if not way.startswith("sahi")]
    print(f"{'':22} {'AP50':>7} {'AP':>7} {'views':>6} {'ms/Mpx':>8} {'MiB':>6}")
    for way in dict.fromkeys(ways):
        given = sys.argv[1:] if arguments is None else list(arguments)
        command = [sys.executable, "-m", "benchmarks.tiles", *given, "--one", way]
        done = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S603
        row = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{way:22} {row['AP50']:7.4f} {row['AP']:7.4f} {row['views']:6.1f} {row['ms']:8.1f} {row['mib']:6.0f}",
            flush=True,
        )
    return 0


def measure(way: str, options: argparse.Namespace) -> dict[str, float]:
    """Return the figures of one way: AP50, AP, views of a photo, ms a megapixel, and the peak memory in MiB."""
    detector = open_detector(
        options.model, store_root=options.store, device="cpu", engine=options.engine, cores=options.cores
    )
    seen: list[int] = []
    counted = Detector(detector.info, _Counting(detector.engine, seen))
    data = read_dataset(options.data, class_names=detector.info.class_names)
    makers = WAYS | OWN_SIZE
    detect = makers[way](counted) if way in makers else tiled(counted, tile_choice(way.removeprefix("tiles=")))
    if way in OWN_SIZE:
        shown: Iterator[Frame] = (Frame(load_pixels(image), image) for image in data.images[: options.own_size])
    else:
        shown = frames(data, options.frames)
    found, truths, taken_s, pixels = [], [], 0.0, 0
    for frame in shown:
        begun_s = time.perf_counter()
        found.append(detect(frame.pixels))
        taken_s += time.perf_counter() - begun_s
        pixels += frame.pixels.shape[0] * frame.pixels.shape[1]
        truths.append(frame.truth)
    figures = evaluate(LabelledImages(tuple(truths), data.class_names), found).figures
    return {
        "AP50": figures["AP50"],
        "AP": figures["AP"],
        "views": len(seen) / len(truths),
        "ms": 1000 * taken_s / (pixels / 1e6),
        "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MIB,
    }


class _Counting:
    """An engine that notes each image that it sees."""

    def __init__(self, engine: Any, seen: list[int]) -> None:
        self.name, self.device, self.parallel = engine.name, engine.device, engine.parallel
        self._engine, self._seen = engine, seen

    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        self._seen.extend(1 for _ in images)
        found: list[Detections] = self._engine.detect(images)
        return found

    def detect_on_every_lane(self, image: RgbImage) -> list[Detections]:
        found: list[Detections] = self._engine.detect_on_every_lane(image)
        return found


if __name__ == "__main__":
    sys.exit(main())
